"""Weights that others published: their names become ours, their values stay.

Files are read by `csmri_ext.models.torch_files`, which builds tensors and nothing else.

ISTA-Net+ of the public PyTorch repository was trained on real images in [0, 1] with the zero frequency of k-space at
index 0. Our k-space is centred; ``F^H M F`` is the same operator in both conventions (`csmri_ext.physics.fourier`), so
only a mask has to be moved: ``torch.fft.fftshift(mask, (-2, -1))``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from torch import Tensor, nn

from baselines.networks.e2e_varnet import E2EVarNet
from baselines.networks.ista_net import ISTANetPlus
from baselines.networks.unet_fastmri import UNetFastMRI
from csmri_ext.errors import InputError
from csmri_ext.models.stored_names import differences
from csmri_ext.models.weight_files import read_weights
from csmri_ext.nn.learned_number import with_axes_of

_ISTA_NET_PLUS = {
    "lambda_step": "step",
    "soft_thr": "threshold",
    "conv_D": "embed.weight",
    "conv1_forward": "transform.0.weight",
    "conv2_forward": "transform.2.weight",
    "conv1_backward": "inverse.0.weight",
    "conv2_backward": "inverse.2.weight",
    "conv_G": "project.weight",
}

_FIRST = "fcs.0.conv_D"


def load_ista_net_plus(path: str | os.PathLike[str]) -> ISTANetPlus:
    """Read ISTA-Net+ for MRI as its authors published it: ``module.fcs.{stage}.lambda_step``, ``.conv_D`` ...

    Parameters
    ----------
    path
        State dict, any number of stages and features; its names behind ``module.``, another word, or nothing.

    Returns
    -------
        The network in evaluation mode, without input scaling (``peak=None``): k-space must be that of an image in
        [0, 1].

    Raises
    ------
    InputError
        A file that cannot be read; or whose names and shapes are not those of one ISTA-Net+: the first that differs is
        named.
    """
    state = read_weights(path)
    prefix = _before(state, _FIRST, "module.")
    features = _expect(path, state, f"{prefix}{_FIRST}", ndim=4)
    before = f"{prefix}fcs."
    stages = len({name.removeprefix(before).split(".")[0] for name in state if name.startswith(before)})
    model = ISTANetPlus(features.shape[1], stages, features.shape[0], peak=None)
    published = {
        f"{before}{stage}.{theirs}": f"stages.{stage}.{ours}"
        for stage in range(stages)
        for theirs, ours in _ISTA_NET_PLUS.items()
    }
    assign(model, state, path, published)
    return model.eval()


def load_unet_fastmri(path: str | os.PathLike[str]) -> UNetFastMRI:
    """Read a U-net of fastMRI: a state dict, or a checkpoint of its training.

    Parameters
    ----------
    path
        State dict with ``down_sample_layers.0.layers.0.weight`` ..., any number of levels and features, one channel in
        and out (magnitude images) or two; or behind ``unet.``, as a Lightning checkpoint has them, or another word.

    Returns
    -------
        The network in evaluation mode. With one channel it does what fastMRI's own evaluation does: magnitude of the
        zero-filled image, mean 0 and standard deviation 1, clipped to [-6, 6].

    Raises
    ------
    InputError
        As `load_ista_net_plus`.
    """
    state = read_weights(path)
    wanted = "down_sample_layers.0.layers.0.weight"
    prefix = _before(state, wanted, "")
    first = _expect(path, state, f"{prefix}{wanted}", ndim=4)
    levels = {
        name.split(".")[prefix.count(".") + 1] for name in state if name.startswith(f"{prefix}down_sample_layers.")
    }
    chans, in_chans = first.shape[:2]
    if in_chans not in (1, 2):
        raise InputError(f"{path}: a U-net for {in_chans} channels; supported are 1 (magnitude) and 2 (complex)")
    model = UNetFastMRI(in_chans, chans, len(levels), magnitude=in_chans == 1)
    assign(model, state, path, {f"{prefix}{name}": f"layers.{name}" for name in model.layers.state_dict()})
    return model.eval()


def load_e2e_varnet(path: str | os.PathLike[str]) -> E2EVarNet:
    """Read fastMRI's end-to-end VarNet: a state dict, or a checkpoint of its training.

    Parameters
    ----------
    path
        State dict with ``sens_net.norm_unet.unet...``, ``cascades.0.dc_weight``, ``cascades.0.model.unet...``, any
        number of cascades, levels and features; or behind ``varnet.``, as a Lightning checkpoint has them, or another
        word. The constant ``cascades.0.zero`` of earlier releases may be there.

    Returns
    -------
        The network in evaluation mode, on k-space as it is (``as_published``).

    Raises
    ------
    InputError
        As `load_ista_net_plus`.
    """
    state = read_weights(path)
    wanted = "cascades.0.model.unet.down_sample_layers.0.layers.0.weight"
    prefix = _before(state, wanted, "")
    # beside the network a checkpoint has the window of the SSIM loss
    state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    state = {name: value for name, value in state.items() if not re.fullmatch(r"cascades\.\d+\.zero", name)}
    chans, in_chans = _expect(path, state, wanted, 4).shape[:2]
    sens_chans = len(_expect(path, state, "sens_net.norm_unet.unet.down_sample_layers.0.layers.0.weight", ndim=4))
    if in_chans not in (1, 2):
        raise InputError(f"{path}: U-nets for {in_chans} channels; supported are 2 (complex) and 1 (real)")

    def count(before: str) -> int:
        return len({name[len(before) :].split(".")[0] for name in state if name.startswith(before)})

    model = E2EVarNet(
        in_chans,
        cascades=count("cascades."),
        chans=chans,
        pools=count("cascades.0.model.unet.down_sample_layers."),
        sens_chans=sens_chans,
        sens_pools=count("sens_net.norm_unet.unet.down_sample_layers."),
        as_published=True,
    )
    assign(model, with_axes_of(model.state_dict(), state), path, {name: name for name in model.state_dict()})
    return model.eval()


def assign(
    model: nn.Module, state: Mapping[str, Tensor], path: str | os.PathLike[str], published: Mapping[str, str]
) -> None:
    """Copy weights into a model, after checking that all of them are there and fit.

    Parameters
    ----------
    model
        Receives the weights.
    state
        The weights by their published names.
    path
        Where they come from, for messages.
    published
        Published name to the model's name, in the order in which differences are reported.

    Raises
    ------
    InputError
        Names the first weight that is missing, left over, or of another shape; the model is then unchanged.
    """
    ours = model.state_dict()
    difference = differences({theirs: ours[name] for theirs, name in published.items()}, state)
    if difference:
        raise InputError(f"{path}: weights of another network: {difference}")
    model.load_state_dict({name: state[theirs] for theirs, name in published.items()})


def _before(state: Mapping[str, Tensor], wanted: str, otherwise: str) -> str:
    """Return what stands before the first name that ends so."""
    found = [name.removesuffix(wanted) for name in state if name.endswith(wanted)]
    return found[0] if found else otherwise


def _expect(path: str | os.PathLike[str], state: Mapping[str, Tensor], name: str, ndim: int) -> Tensor:
    """Return the weight from which the size of the network is read."""
    if name not in state:
        first = next(iter(state))
        raise InputError(f"{path}: weight {name} is missing; the first one is {first} {tuple(state[first].shape)}")
    if state[name].ndim != ndim:
        raise InputError(f"{path}: weight {name} has shape {tuple(state[name].shape)}, expected {ndim} axes")
    return state[name]
