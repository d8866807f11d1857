"""``csmri train --model NAME``: train a network on the phantom or on files, by one of the recipes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from csmri_ext.commands.image_options import PHANTOM, add_image_options, chosen_images
from csmri_ext.commands.parser import ArgumentParser, run_command
from csmri_ext.commands.values import positive, seed
from csmri_ext.data import Images, evenly_spaced, open_images, split_by_volume
from csmri_ext.errors import InputError, blaming_input, unknown

PROGRAM = "csmri train"


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run the command line and return its exit code: 0, 2 for bad input, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return run_command(lambda: _train(arguments, program), debug="--debug" in arguments)


def argument_parser(program: str = PROGRAM) -> ArgumentParser:
    """Options of the command."""
    parser = ArgumentParser(
        prog=program,
        allow_abbrev=False,
        description="Train a network. Killed or interrupted, the same command goes on from the last checkpoint.",
    )
    add = parser.add_argument
    add("--model", metavar="NAME", help="a network of csmri info (default with --genotype: nasn)")
    add("--genotype", metavar="FILE", help="train the NasN cell of this file, as csmri search writes it")
    add(
        "--set", nargs="+", type=_setting, default=[], metavar="NAME=VALUE",
        help="settings of the network that differ from the paper's: stages=5 width=16",
    )  # fmt: skip
    add("--init", type=Path, metavar="FILE", help="start from these weights (.safetensors) instead of random ones")
    add("--out", type=Path, metavar="DIR", help="folder of the run (default: runs/NAME)")
    add("--recipe", default=PHANTOM, metavar="NAME", help="ga-hqs, measured, nasn or phantom (default: %(default)s)")
    group = parser.add_argument_group("changes to the recipe")
    change = group.add_argument
    change("--steps", type=positive, metavar="N", help="optimiser steps")
    change("--batch-size", type=positive, metavar="N", help="slices per step")
    change("--learning-rate", type=float, metavar="X", help="of Adam")
    change("--loss", metavar="NAME", help="l1, mse, ssim or l1+ssim")
    change("--masks", nargs="+", metavar="KIND", help="mask kinds, mixed")
    change("--accelerations", nargs="+", type=float, metavar="R", help="accelerations, mixed")
    change("--sizes", nargs="+", type=int, metavar="N", help="rows and columns, one per epoch in turn; 0: whole images")
    change("--strip", type=int, metavar="N", help="rows of strips for masks of whole columns; 0: none")
    change("--coils", nargs="+", type=positive, metavar="N", help="numbers of simulated coils, mixed; 1: one coil")
    change("--true-maps", type=float, metavar="P", help="probability of true sensitivities instead of estimated ones")
    change("--phase", type=float, metavar="P", help="probability of a random smooth phase")
    change("--echo-shift", type=float, metavar="X", help="largest shift of the echo, in samples")
    change("--noise", nargs=2, type=float, metavar=("LOW", "HIGH"), help="noise relative to the peak, log-uniform")
    change("--target", metavar="NAME", help="what is learnt: combined (complex, by the maps) or rss")
    change("--ema", type=float, metavar="X", help="decay of the average of the weights; 0: none")
    group = parser.add_argument_group("images")
    image = group.add_argument
    add_image_options(image, volumes=400)
    image("--validation", nargs="+", metavar="PATH", help="validation files (default: 4 %% of the subjects)")
    image("--validation-slices", type=positive, default=18, metavar="N", help="slices validated (default: %(default)s)")
    group = parser.add_argument_group("machine")
    machine = group.add_argument
    machine("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to train (default: %(default)s)")
    machine("--devices", type=positive, default=1, metavar="N", help="processes or GPUs per node")
    machine("--nodes", type=positive, default=1, metavar="N", help="nodes of a cluster (docs/cluster.md)")
    machine(
        "--precision", default="32-true", metavar="P", help="32-true, bf16-mixed or 16-mixed (default: %(default)s)"
    )
    machine("--recompute", action="store_true", help="recompute activations in the backward pass: less memory")
    machine("--workers", type=int, default=0, metavar="N", help="processes that read ahead (default: %(default)s)")
    machine("--threads", type=positive, metavar="N", help="CPU threads (default: all cores)")
    add("--steps-per-epoch", type=positive, default=200, metavar="N", help="steps between checkpoints")
    add("--validate-every", type=positive, default=5, metavar="N", help="epochs between validations")
    add("--seed", type=seed, default=0, help="of weights, order, sections and masks (default: %(default)s)")
    add("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _train(arguments: list[str], program: str) -> int:
    args = argument_parser(program).parse_args(arguments)
    name, overrides = _network(args)
    if find_spec("lightning") is None:
        raise InputError('training needs Lightning: pip install "csmri_ext[train]"')
    import torch

    from csmri_ext.data import Masks, Measurement
    from csmri_ext.models import load_weights
    from csmri_ext.recon.methods import create_network
    from csmri_ext.training import LOSSES, RECIPES, Run, fit

    if args.recipe not in RECIPES:
        raise unknown("recipe", args.recipe, RECIPES)
    changed = {
        "strip": args.strip,
        "coils": args.coils and tuple(args.coils),
        "true_maps": args.true_maps,
        "phase": args.phase,
        "echo_shift": args.echo_shift,
        "noise": args.noise and tuple(args.noise),
        "target": args.target,
        "steps": args.steps,
        "batch_size": args.batch_size,
        "learning_rate": args.learning_rate,
        "loss": args.loss,
        "masks": args.masks and tuple(args.masks),
        "sizes": args.sizes and tuple(args.sizes),
        "ema": args.ema,
        "accelerations": args.accelerations and tuple(args.accelerations),
    }
    recipe = replace(RECIPES[args.recipe], **{key: value for key, value in changed.items() if value is not None})
    if recipe.loss not in LOSSES:
        raise unknown("loss", recipe.loss, LOSSES)
    with blaming_input():
        Masks(recipe.masks, recipe.accelerations)
        _check(name, overrides)
        Measurement(recipe.coils, recipe.true_maps, recipe.phase, recipe.echo_shift, recipe.noise, recipe.target)
    if args.threads:
        torch.set_num_threads(args.threads)
    train, validation = _images(args)
    run = Run(
        folder=args.out or Path("runs") / name,
        name=name,
        recipe=recipe,
        seed=args.seed,
        data=_described_data(args) + (f", from {args.init.name}" if args.init else ""),
        steps_per_epoch=args.steps_per_epoch,
        validate_every=args.validate_every,
        accelerator={"cuda": "gpu"}.get(args.device, args.device),
        devices=args.devices,
        nodes=args.nodes,
        precision=args.precision,
        recompute=args.recompute,
        workers=args.workers,
        overrides=overrides,
    )

    def network() -> Any:
        made = create_network(name, overrides)
        if args.init:
            load_weights(made, args.init)
        return made

    weights = fit(network, train, validation, run)
    sys.stdout.write(f"{weights}\n")
    return 0


def _network(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Name of the network, and what differs from its paper."""
    from csmri_ext.models import read_genotype
    from csmri_ext.recon import methods

    known = [name for name in methods.names() if methods.get(name).network is not None]
    if args.genotype:
        if args.model or args.set:
            raise InputError("--genotype makes its own model: leave out --model and --set")
        return "nasn", {"genotype": read_genotype(args.genotype)}
    if args.model is None:
        raise InputError("what shall be trained? --model NAME (csmri info lists them), or --genotype FILE")
    if args.model not in known:
        raise unknown("model", args.model, known)
    return args.model, dict(args.set)


def _setting(text: str) -> tuple[str, Any]:
    """Parse ``NAME=VALUE``; the value as JSON where it is, else as a word."""
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as stages=5")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _check(name: str, overrides: dict[str, Any]) -> None:
    """Build the network once without memory, so that settings it does not take are told before the images are made."""
    import torch

    from csmri_ext.recon.methods import create_network

    try:
        with torch.device("meta"):
            create_network(name, overrides)
    except TypeError as error:
        raise InputError(f"--set {' '.join(overrides)}: {error}") from error


def _images(args: argparse.Namespace) -> tuple[Images, list[Any]]:
    """Training and validation images of different subjects."""
    images = chosen_images(args, Console(stderr=True), workers=max(args.workers, 1))
    if args.validation:
        validation = open_images(args.validation, middle=args.middle)
    elif len(images.parts) < 2:
        raise InputError("one subject alone leaves none to validate: give --validation files")
    else:
        images, validation = split_by_volume(images, [0.96, 0.04], args.seed)
    return images, evenly_spaced(validation, args.validation_slices)


def _described_data(args: argparse.Namespace) -> str:
    if args.data == [PHANTOM]:
        return f"procedural phantom, {args.volumes} subjects from seed {args.phantom_seed}"
    return " ".join(Path(path).name for path in args.data)


if __name__ == "__main__":
    sys.exit(main())
