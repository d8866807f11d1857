"""`load`: a network from nothing but a file of weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from csmri_ext.errors import InputError, unknown
from csmri_ext.models.description import read_description
from csmri_ext.models.nasn import NasN
from csmri_ext.models.torch_files import read_checkpoint
from csmri_ext.models.weight_files import first_difference, load_weights, shipped_remark
from csmri_ext.models.zoo import MODELS
from csmri_ext.plugins import plugins

SEARCHED = "nasn"  # a NasN whose genotype stands among its overrides


def load(path: str | os.PathLike[str], model: str | None = None) -> nn.Module:
    """Build a network from a file of its weights.

    Parameters
    ----------
    path
        ``.safetensors`` as ``csmri train`` writes it, a checkpoint of a run (``last.ckpt``), or a file of
        ``torch.save`` that others published. Nothing in it is executed: objects other than tensors are refused.
    model
        Name of the network, for files that do not say it: ``ista_net_plus`` and ``unet_fastmri`` read the files of
        their authors, any other name a state dict of ours. A file that says it must agree.

    Returns
    -------
        ``model(kspace, mask, sens_maps=None) -> image``, in evaluation mode.

    Raises
    ------
    InputError
        A file that is damaged, does not say which network it is for, or does not fit it; the first weight that differs
        is named.
    OSError
        A file that does not exist or cannot be read.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        description = read_description(path)
        network = _network(path, description.architecture, description.overrides, model)
        load_weights(network, path)
        return network.eval()
    plugin = plugins().get(model or "")
    reader = None if plugin is None else plugin.read
    if reader is not None and path.suffix != ".ckpt":
        published = reader(path).eval()
        if getattr(published, "peak", 1.0) is None:
            published.peak = 1.0  # type: ignore[assignment]  # trained on images in [0, 1]; data come in any unit
        return published
    settings, state = read_checkpoint(path)
    overrides = {key: value for key, value in settings.items() if key != "name"}
    network = _network(path, str(settings.get("name", "")), overrides, model)
    _assign(network, state, path)
    return network.eval()


def build(name: str, overrides: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a network with random weights: a model of ours, one of a plugin, or ``nasn`` with a genotype.

    Parameters
    ----------
    name
        See above.
    overrides
        Parameters of its constructor.

    Raises
    ------
    InputError
        No network of this name; the nearest ones are suggested.
    TypeError, ValueError
        Overrides that the network does not have, or that do not fit together.
    """
    if name == SEARCHED:
        return NasN(**(overrides or {}))
    if name in MODELS:
        return MODELS[name](**(overrides or {}))
    others = plugins()
    if name not in others:
        raise unknown("network", name, [*MODELS, *others], shipped_remark)
    return others[name].create(name, **(overrides or {}))


def _network(path: Path, said: str, overrides: Mapping[str, Any], wanted: str | None) -> nn.Module:
    name = said or wanted
    if not name:
        raise InputError(f"{path} does not say which network its weights are for: give its name (--model NAME)")
    if wanted is not None and wanted != name:
        raise InputError(f"{path} holds weights of {name}, not of {wanted}")
    try:
        return build(name, overrides)
    except InputError as error:
        raise InputError(f"{path} holds weights of a network that is not known here: {error}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be built as {name}: {error}") from error


def _assign(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    difference = first_difference(network.state_dict(), state)
    if difference:
        raise InputError(f"{path}: weights of another model: {difference}")
    network.load_state_dict(dict(state))
