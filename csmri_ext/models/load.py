"""`load`: a network from nothing but a file of weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from csmri_ext.errors import InputError, unknown
from csmri_ext.models.description import read_description
from csmri_ext.models.nasn import NasN
from csmri_ext.models.options import require_counts
from csmri_ext.models.stored_names import differences, named_as
from csmri_ext.models.weight_files import assign, read_weights, shipped_remark
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
        Name of the network, for files that do not say it. ``ista_net_plus``, ``unet_fastmri`` and ``e2e_varnet`` read
        the files of their authors; every name a state dict of the network as `build` makes it, before whose names
        wrappers may have put something (``module.``, ``model.``). A file that says its network must agree.

    Returns
    -------
        ``model(kspace, mask, sens_maps=None) -> image``, in evaluation mode.

    Raises
    ------
    InputError
        A file that is damaged, does not say which network it is for, or does not fit it; what differs is named.
    OSError
        A file that does not exist or cannot be read.
    """
    path = Path(path)
    description = read_description(path)
    if not description.architecture and model is not None:
        published = _published(path, model)
        if published is not None:
            return published
    network = _network(path, description.architecture, description.overrides, model)
    assign(network, read_weights(path), path, description.architecture or model or "")
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
    known = {SEARCHED: NasN, **MODELS}
    if name in known:
        require_counts(known[name], overrides or {})
        return known[name](**(overrides or {}))
    others = plugins()
    if name not in others:
        raise unknown("network", name, [*MODELS, *others], shipped_remark)
    return others[name].create(name, **(overrides or {}))


def _network(path: Path, said: str, overrides: Mapping[str, Any], wanted: str | None) -> nn.Module:
    name = said or wanted
    if not name:
        raise InputError(
            f"{path} does not say which network its weights are for: give its name (--model NAME, or NAME={path.name} "
            f"in --methods){_suggestion(path)}"
        )
    if wanted is not None and wanted != name:
        raise InputError(f"{path} holds weights of {name}, not of {wanted}")
    try:
        return build(name, overrides)
    except InputError as error:
        raise InputError(f"{path} holds weights of a network that is not known here: {error}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be built as {name}: {error}") from error


def _suggestion(path: Path) -> str:
    """Say which networks, as their names stand for them, have just these weights."""
    state, fitting = read_weights(path), []
    for name, plugin in plugins().items():
        if plugin.read is not None:
            with suppress(InputError):
                plugin.read(path)
                fitting.append(name)
    with torch.device("meta"):
        for name in (*MODELS, *plugins()):
            with suppress(Exception):  # somebody else's network may not be built so
                own = build(name).state_dict()
                if name not in fitting and not differences(own, named_as(own, state)):
                    fitting.append(name)
    first = next(iter(state))
    if fitting:
        return f"; its weights fit {', '.join(fitting)}"
    return f"; they fit none that is known as its name stands for it; the first is {first} {tuple(state[first].shape)}"


def _published(path: Path, name: str) -> nn.Module | None:
    """Read a file as the authors of a network publish it; None where there is no such form, or the names are ours."""
    plugin = plugins().get(name)
    if plugin is None or plugin.read is None:
        return None
    try:
        network = plugin.read(path).eval()
    except InputError as error:
        with torch.device("meta"):
            own = build(name).state_dict()
        if own.keys() & named_as(own, read_weights(path)).keys():
            return None
        raise InputError(f"{error}: neither a file of the authors of {name} nor a state dict of ours") from error
    if getattr(network, "peak", 1.0) is None:
        network.peak = 1.0  # type: ignore[assignment]  # trained on images in [0, 1]; data come in any unit
    return network
