"""Models by name: constructors with the settings of the papers, and shipped weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from csmri_ext.errors import InputError, unknown
from csmri_ext.models.ga_hqs import GAHQS
from csmri_ext.models.hqs import HQS
from csmri_ext.models.nasn import NasN
from csmri_ext.models.options import require_counts
from csmri_ext.models.weight_files import load_shipped_weights, shipped_remark, shipped_settings
from csmri_ext.nn import Reconstructor
from csmri_ext.plugins import plugins

MODELS: dict[str, Callable[..., Reconstructor]] = {
    "ga_hqs": GAHQS,
    "a_hqs": partial(HQS, accelerated=True),
    "hqs": HQS,
    "ga_hqs_baseline1": partial(GAHQS, accelerated=False),
    "ga_hqs_baseline2": partial(GAHQS, fusion="cse"),
    "ga_hqs_baseline3": partial(GAHQS, denoiser="unet"),
    "nasn_knee": partial(NasN, "knee"),
    "nasn_brain": partial(NasN, "brain"),
    "nasn_space_b": partial(NasN, "space_b"),
    "nasn_2nodes": partial(NasN, "2nodes"),
    "nasn_4nodes": partial(NasN, "4nodes"),
    "nasn_phantom": partial(NasN, "phantom"),  # ours
    "nasn_magnitude": partial(NasN, "knee"),  # other weights
}


def names() -> list[str]:
    """Names of all models."""
    return list(MODELS)


def create(name: str, pretrained: bool = False, **overrides: Any) -> Reconstructor:
    """Build a model.

    Parameters
    ----------
    name
        One of `names`.
    pretrained
        Load the weights that come with the package, ``csmri_ext/weights/NAME.safetensors``; else they are random. The
        model is then of the size that was trained, where its card says that it differs from the paper's.
    **overrides
        Parameters of the constructor (`HQS`, `GAHQS`, `NasN`) that shall differ from the paper's, ``in_chans`` among
        them.

    Returns
    -------
        ``model(kspace, mask, sens_maps=None) -> image``, in training mode.

    Raises
    ------
    InputError
        An unknown name (the nearest ones are suggested; of a network of another package it is said where it lives), or
        weights that are not shipped or do not fit the overrides.
    TypeError, ValueError
        Overrides that the model does not have, or that do not fit together.
    """
    if name not in MODELS:
        if name in plugins():
            home, function = plugins()[name].home
            call = f"csmri_ext.models.build({name!r})" if function is None else f"{home}.{function}({name!r})"
            raise InputError(f"{name} is no model of csmri_ext but a network of {home}: {call} makes it")
        raise unknown("model", name, MODELS, shipped_remark)
    require_counts(MODELS[name], overrides)
    model = MODELS[name](**{**(shipped_settings(name) if pretrained else {}), **overrides})
    if pretrained:
        load_shipped_weights(model, name)
    return model
