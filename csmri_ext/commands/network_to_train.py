"""Which network ``csmri train`` trains, with which options, and from which weights it starts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from csmri_ext.commands.model_options import typed
from csmri_ext.errors import InputError, blaming_input, one_line, unknown

if TYPE_CHECKING:
    from torch import nn

SEARCHED = "nasn"  # what a network with the cell of --genotype is called


def chosen_network(args: argparse.Namespace) -> tuple[str, dict[str, Any], str]:
    """Find the network, and see that it can be built, that --init has weights for it and --freeze leaves some.

    Returns
    -------
        Its name; what differs from what the name stands for; and what the user should know of the start, or nothing.

    Raises
    ------
    InputError, OSError
        Nothing is written before.
    """
    from csmri_ext.recon import methods

    name, overrides = _named(args)
    known = [each for each in methods.names() if methods.get(each).network is not None]
    if name not in (SEARCHED, *known):
        raise unknown("model", name, known, methods.readiness)
    import torch

    with torch.device("meta"):  # without memory, so that what does not fit is told before the images are made
        overrides = _with_options(name, overrides, args.set)
        note = _take_over_mu(args, name, overrides) if args.init else ""
        network = _built(name, overrides, args.set)
    if args.init:
        from csmri_ext.models.start_weights import start_weights

        note = start_weights(network, args.init, name).told(args.init, note)
    _freeze(network, name, args.freeze)
    return name, overrides, note


def created(name: str, overrides: dict[str, Any], init: str | None, frozen: Sequence[str]) -> nn.Module:
    """Build the network, load what fits of the weights to start from, and freeze what shall stay."""
    from csmri_ext.models import build, load_fitting_weights

    network = build(name, overrides)
    if init:
        load_fitting_weights(network, init, name)
    _freeze(network, name, frozen)
    return network


def _named(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    from csmri_ext.models import read_description, read_genotype

    if args.genotype:
        if args.model:
            raise InputError("--genotype makes its own model: leave out --model")
        with blaming_input():
            return SEARCHED, {"genotype": read_genotype(args.genotype)}
    if args.model is not None:
        return args.model, {}
    if not args.init:
        raise InputError("what shall be trained? --model NAME (csmri info lists them), or --genotype FILE")
    described = read_description(args.init)
    if not described.architecture:
        raise InputError(f"{args.init} does not say which network its weights are for: give --model NAME")
    return described.architecture, described.overrides


def _with_options(name: str, overrides: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    from csmri_ext.models.options import options_of

    constructor, advice = _constructor(name, overrides), ""
    options = options_of(constructor)
    if isinstance(constructor, partial) and constructor.args and "genotype" not in options:
        advice = "; its name says its genotype: --model nasn --set genotype=NAME, or --genotype FILE, has another"
    return overrides | typed(words, options, name, advice)


def _constructor(name: str, overrides: dict[str, Any]) -> Any:
    from csmri_ext.models.zoo import MODELS

    return MODELS[name] if name in MODELS else type(_built(name, overrides, ()))


def _built(name: str, overrides: dict[str, Any], words: Sequence[str]) -> nn.Module:
    import torch

    from csmri_ext.models import build

    try:
        try:
            return build(name, overrides)
        except (InputError, MemoryError):
            raise
        except Exception:  # its constructor may compute with numbers, which the device meta has not
            with torch.device("cpu"):
                return build(name, overrides)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # whatever the options of a network make its constructor do
        raise InputError(f"{name} with {', '.join(words) or 'these options'}: {one_line(error)}") from error


def _take_over_mu(args: argparse.Namespace, name: str, overrides: dict[str, Any]) -> str:
    """Give the network the mu of the file to start from, unless --set says one; tell it."""
    from csmri_ext.models.options import options_of
    from csmri_ext.models.start_weights import mu_of

    if any(word.startswith("mu=") for word in args.set) or "mu" not in options_of(_constructor(name, overrides)):
        return ""
    mu, told = mu_of(args.init, learns=bool(overrides.get("trainable_mu")))
    if mu is None:
        return told
    try:
        _built(name, overrides | {"mu": mu}, args.set)
    except InputError as error:
        overrides.pop("mu", None)
        return f"mu of the file is left out ({error.__cause__ or error})"
    overrides["mu"] = mu
    return told


def _freeze(network: nn.Module, name: str, frozen: Sequence[str]) -> None:
    for part in frozen:
        inside = [p for key, p in network.named_parameters() if key == part or key.startswith(f"{part}.")]
        if not inside:
            parts = [key for key, _ in network.named_children()]
            raise InputError(f"--freeze {part}: {name} has no part of this name; it has {', '.join(parts)}")
        for parameter in inside:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise InputError("--freeze leaves nothing to train")
