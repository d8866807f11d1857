"""Which published networks there are, and how each name is built. Nothing that needs torch loads before it is used."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from csmri_ext.errors import InputError, unknown

if TYPE_CHECKING:
    from csmri_ext.nn import Reconstructor


@dataclass(frozen=True)
class Entry:
    """One published network.

    Attributes
    ----------
    constructor
        ``module.Class`` in `baselines.networks`.
    description
        One line for tables and ``--help``.
    settings
        Parameters of the constructor that this name stands for.
    data_consistent
        Whether complete data come back complete, by the last step of the network or because its corrections vanish.
    """

    constructor: str
    description: str
    settings: dict[str, Any] = field(default_factory=dict)
    data_consistent: bool = True


ENTRIES: dict[str, Entry] = {
    "unet": Entry("unet.UNet", "U-net of the NasN paper (fastMRI's first release)", data_consistent=False),
    "unet_fastmri": Entry(
        "unet_fastmri.UNetFastMRI",
        "U-net of the GA-HQS paper (fastMRI's current one)",
        data_consistent=False,
    ),
    "dccnn3": Entry("dccnn.DCCNN", "DCCNN, 3 cascades of 3 residual blocks", {"blocks": 3}),
    "dccnn11": Entry("dccnn.DCCNN", "DCCNN, 3 cascades of 11 residual blocks", {"blocks": 11}),
    "modl3": Entry("dccnn.DCCNN", "MoDL of the NasN paper: DCCNN-3, shared weights", {"blocks": 3, "shared": True}),
    "modl11": Entry("dccnn.DCCNN", "MoDL of the NasN paper: DCCNN-11, shared weights", {"blocks": 11, "shared": True}),
    "modl": Entry("modl.MoDL", "MoDL of the GA-HQS paper: 10 stages, exact data step"),
    "rdn3": Entry("rdn.RDN", "recursive dilated network, 3 recursions", {"recursions": 3}),
    "rdn8": Entry("rdn.RDN", "recursive dilated network, 8 recursions", {"recursions": 8}),
    "ista_net": Entry("ista_net.ISTANet", "ISTA-Net, 9 stages of 32 features"),
    "ista_net_plus": Entry("ista_net.ISTANetPlus", "ISTA-Net+ of the GA-HQS paper, 8 stages of 64 features"),
    "miccan": Entry("miccan.MICCAN", "MICCAN, 5 U-nets with channel attention"),
    "hqs_net": Entry("hqs_net.HQSNet", "HQS-Net, 8 stages with a buffer of 5 images"),
    "e2e_varnet": Entry(
        "e2e_varnet.E2EVarNet",
        "fastMRI's end-to-end VarNet, 12 cascades, with its own sensitivities",
        data_consistent=False,
    ),
    "admm_csnet": Entry("admm_csnet.ADMMCSNet", "ADMM-CSNet, 10 iterations with a learned shrinkage"),
}


def names() -> list[str]:
    """Names of all published networks."""
    return list(ENTRIES)


def create(name: str, in_chans: int = 2, *, pretrained: bool = False, **overrides: Any) -> Reconstructor:
    """Build a published network.

    Parameters
    ----------
    name
        One of `names`.
    in_chans
        2: complex images as real and imaginary part; 1: real images, as several of the published networks.
    pretrained
        Load the weights that come with the package; else they are random.
    **overrides
        Parameters of the network's constructor.

    Returns
    -------
        ``model(kspace, mask, sens_maps=None) -> image``, see `csmri_ext.nn.Reconstructor`; in training mode.

    Raises
    ------
    InputError
        An unknown name (the nearest ones are suggested; of a model of csmri_ext it is said where it lives), or weights
        that are not shipped or do not fit the overrides.
    TypeError, ValueError
        Overrides that the network does not have, or that do not fit together.
    """
    if name not in ENTRIES:
        from csmri_ext.models import names as models
        from csmri_ext.models.weight_files import shipped_remark

        if name in models():
            raise InputError(f"{name} is a model of csmri_ext: csmri_ext.models.create({name!r}) makes it")
        raise unknown("network", name, ENTRIES, shipped_remark)
    from csmri_ext.models.options import require_counts

    entry = ENTRIES[name]
    module, class_name = entry.constructor.split(".")
    constructor = getattr(import_module(f"baselines.networks.{module}"), class_name)
    require_counts(constructor, overrides)
    model: Reconstructor = constructor(in_chans=in_chans, **(entry.settings | overrides))
    if pretrained:
        from csmri_ext.models.weight_files import load_shipped_weights

        load_shipped_weights(model, name)
    return model
