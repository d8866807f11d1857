"""``csmri train --model NAME``: train a network on the phantom or on files, by one of the recipes."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csmri_ext.commands.image_options import (
    PHANTOM,
    add_image_options,
    chosen_images,
    described_reading,
    marks_of_images,
    open_and_tell,
    require_room,
)
from csmri_ext.commands.machine import checked_device, require_gpus
from csmri_ext.commands.model_options import add_set_option
from csmri_ext.commands.network_to_train import chosen_network, created
from csmri_ext.commands.next_steps import after_training, held_out
from csmri_ext.commands.parser import ArgumentParser, main_of
from csmri_ext.commands.plugin_option import add_plugin_option, load_plugins
from csmri_ext.commands.reading import add_reading_options
from csmri_ext.commands.shared_options import (
    add_common_options,
    add_device_option,
    add_mask_options,
    add_option,
    add_workers_option,
)
from csmri_ext.commands.values import (
    amount,
    coils,
    count,
    decay,
    positive,
    probability,
    processes,
    seed,
    share,
    side,
    weight,
)
from csmri_ext.data import Images, Masks, evenly_spaced, split_by_volume
from csmri_ext.data.images import first_filled
from csmri_ext.errors import InputError, blaming_input, unknown
from csmri_ext.progress import log
from csmri_ext.report.provenance import file_sha256

if TYPE_CHECKING:
    from csmri_ext.training import Recipe

PROGRAM = "csmri train"
UNSUPERVISED = "self-supervised"
SMALLEST = 16
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
CHANGES = (
    "steps", "batch_size", "learning_rate", "loss", "masks", "accelerations", "sizes", "strip", "coils", "true_maps",
    "cropped_maps", "phase", "echo_shift", "noise", "target", "loss_share", "splits", "ema",
)  # fmt: skip
"""Options that change the field of the same name in the recipe."""


def argument_parser(program: str = PROGRAM) -> ArgumentParser:
    """Options of the command."""
    parser = ArgumentParser(
        program,
        description="Train a network. Killed or interrupted, the same command goes on from the last checkpoint.",
    )
    add = parser.add_argument
    add_option(
        add,
        "--model",
        before=["--method"],
        metavar="NAME",
        help="one of the networks that csmri info lists (default with --genotype: nasn)",
    )
    add("--genotype", metavar="FILE", help="train the NasN cell of this file, as csmri search writes it")
    add(
        "--init",
        metavar="FILE",
        help="start from these weights and their mu; layers that do not fit stay random and are named",
    )
    add("--freeze", nargs="+", default=[], metavar="NAME", help="parts of the network that stay as they are")
    add_set_option(
        add,
        "options of the network, where they differ from what its name stands for: stages=4 replicas=16, or "
        "mu=0.06,0.07,0.5 (one number, or one for each cascade)",
    )
    add_plugin_option(add)
    add("--out", type=Path, metavar="DIR", help="folder of the run (default: runs/NAME)")
    add("--recipe", metavar="NAME", help="ga-hqs, measured, nasn, phantom or self-supervised (default: phantom)")
    add(
        "--self-supervised",
        action="store_true",
        help="learn from undersampled k-space without any reference (--data FILES); the same as that recipe",
    )
    group = parser.add_argument_group("changes to the recipe")
    change = group.add_argument
    change("--steps", type=positive, metavar="N", help="optimizer steps")
    change("--batch-size", type=positive, metavar="N", help="slices per step")
    change("--learning-rate", type=weight, metavar="X", help="learning rate of Adam")
    change("--loss", metavar="NAME", help="l1, mse, ssim or l1+ssim")
    add_mask_options(change)
    add_option(
        change,
        "--size",
        before=["--sizes"],
        dest="sizes",
        nargs="+",
        type=side,
        metavar="N",
        help="rows and columns of random sections, one size per epoch in turn; 0: whole images",
    )
    change("--strip", type=side, metavar="N", help="rows of strips for masks of whole columns; 0: none")
    change("--coils", nargs="+", type=coils, metavar="N", help="numbers of simulated coils, mixed; 1: one coil")
    change(
        "--true-maps", type=probability, metavar="P", help="probability of true sensitivities instead of estimated ones"
    )
    change(
        "--cropped-maps", type=probability, metavar="P", help="probability that estimated sensitivities are 0 in air"
    )
    change("--phase", type=probability, metavar="P", help="probability of a random smooth phase")
    change("--echo-shift", type=amount, metavar="X", help="largest shift of the echo, in samples")
    change("--noise", nargs=2, type=amount, metavar=("LOW", "HIGH"), help="noise relative to the peak, log-uniform")
    change("--target", metavar="NAME", help="what is learnt: combined (complex, by the maps) or rss")
    change(
        "--loss-share",
        type=share,
        metavar="F",
        help="self-supervised: share of the samples that the network has to predict",
    )
    change("--splits", type=count, metavar="N", help="self-supervised: fixed splits of each slice; 0: always new ones")
    change("--ema", type=decay, metavar="X", help="decay of the average of the weights; 0: none")
    group = parser.add_argument_group("images")
    image = group.add_argument
    add_image_options(image, volumes=400)
    image("--validation", nargs="+", metavar="PATH", help="validation files (default: 4 %% of the subjects)")
    image("--validation-slices", type=positive, default=18, metavar="N", help="slices validated (default: %(default)s)")
    group = parser.add_argument_group("machine")
    machine = group.add_argument
    add_device_option(machine, "auto")
    machine("--devices", type=processes, default=1, metavar="N", help="processes or GPUs per node")
    add_option(
        machine,
        "--nnodes",
        before=["--nodes"],
        dest="nodes",
        type=processes,
        default=1,
        metavar="N",
        help="machines of a cluster, as torchrun calls them; see docs/cluster.md",
    )
    machine("--precision", default=PRECISIONS[0], choices=PRECISIONS, help="of the numbers (default: %(default)s)")
    machine("--recompute", action="store_true", help="recompute activations in the backward pass: less memory")
    add_workers_option(machine)
    machine("--threads", type=processes, metavar="N", help="CPU threads (default: all cores)")
    add("--steps-per-epoch", type=positive, default=200, metavar="N", help="steps between checkpoints")
    add("--validate-every", type=positive, default=5, metavar="N", help="epochs between validations")
    add(
        "--seed", type=seed, default=0, metavar="S", help="of weights, order, sections and masks (default: %(default)s)"
    )
    add_reading_options(parser)
    add_common_options(parser)
    return parser


def _train(arguments: list[str], program: str) -> int:
    args = argument_parser(program).parse_args(arguments)
    load_plugins(args.plugin)
    args.device = checked_device(args.device)
    name, overrides, note = chosen_network(args)
    if find_spec("lightning") is None:
        raise InputError('training needs Lightning: pip install "csmri_ext[train]"')
    import torch

    from csmri_ext.training import Run, fit
    from csmri_ext.training.run_files import WRITTEN, weights_name
    from csmri_ext.training.self_supervised import LOSS

    recipe = _recipe(args)
    require_gpus(args.device, args.devices)
    if recipe.batch_size % (args.devices * args.nodes):
        raise InputError(
            f"--batch-size {recipe.batch_size} cannot be shared by {args.devices * args.nodes} processes "
            "(--devices times --nnodes): give a multiple of it"
        )
    if args.threads:
        torch.set_num_threads(args.threads)
    without_reference = recipe.loss == LOSS
    folder = args.out or Path("runs") / name
    require_room(args, folder, (*WRITTEN, weights_name(name)))
    train, validation, held = _scans(args) if without_reference else _images(args, coils=recipe.coils != (1,))
    if not without_reference:
        ny, nx = first_filled(train, range(len(train)))[1].shape[-2:]
        with blaming_input():
            Masks(recipe.masks, recipe.accelerations).require_drawable([(ny, nx)], recipe.sizes, recipe.strip)
    if note:
        sys.stderr.write(f"{note}\n")
    run = Run(
        folder=folder,
        name=name,
        recipe=recipe,
        seed=args.seed,
        data=_described_data(args),
        reading=described_reading(args),
        files=marks_of_images(args),
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
    weights = fit(lambda: created(name, overrides, args.init, args.freeze), train, validation, run)
    masks = () if without_reference else recipe.masks
    sys.stdout.write(f"{weights}\n{after_training(weights, held, masks, recipe.accelerations, args)}")
    return 0


def _recipe(args: argparse.Namespace) -> Recipe:
    """Take the recipe asked for, with what the user changes of it."""
    from csmri_ext.data import Measurement
    from csmri_ext.training import LOSSES, RECIPES
    from csmri_ext.training.self_supervised import LOSS

    if args.self_supervised and args.recipe not in (None, UNSUPERVISED):
        raise InputError(f"--self-supervised is the recipe {UNSUPERVISED}: leave out --recipe {args.recipe}")
    name = UNSUPERVISED if args.self_supervised else args.recipe or PHANTOM
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    changed = {key: getattr(args, key) for key in CHANGES}
    several: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in changed.items()
    }
    recipe = replace(RECIPES[name], **{key: value for key, value in several.items() if value is not None})
    if (recipe.loss == LOSS) != (name == UNSUPERVISED):
        raise InputError(f"loss {recipe.loss}: {LOSS} is the loss of --self-supervised, and its only one")
    if recipe.loss not in (LOSS, *LOSSES):
        raise unknown("loss", recipe.loss, LOSSES)
    small = [size for size in (*recipe.sizes, recipe.strip) if 0 < size < SMALLEST]
    if recipe.loss != LOSS and small:
        raise InputError(f"training images of {small[0]} rows: four halvings of a U-net need at least {SMALLEST}")
    with blaming_input():
        masks = Masks(recipe.masks, recipe.accelerations)
        if recipe.loss != LOSS:  # self-supervised training keeps the size of the scans
            masks.require_fit(recipe.sizes, strips=recipe.strip > 0)
        Measurement.of(recipe)
    return recipe


def _images(args: argparse.Namespace, *, coils: bool) -> tuple[Images, list[Any], list[str]]:
    """Training and validation images of different subjects, and the files of the latter."""
    images = chosen_images(args, log(), workers=max(args.workers, 1), coils=coils)
    if args.validation:
        validation = open_and_tell(args, args.validation, log(), coils=coils)
    elif len(images.parts) < 2:
        raise InputError("one subject alone leaves none to validate: give --validation files")
    else:
        images, validation = split_by_volume(images, [0.96, 0.04], args.seed)
    return images, evenly_spaced(validation, args.validation_slices), _held_files(args, validation)


def _scans(args: argparse.Namespace) -> tuple[Images, list[Any], list[str]]:
    """Training and validation scans, of different subjects where there are several, and the files of the latter."""
    from csmri_ext.data.scans import open_scans

    if args.data == [PHANTOM]:
        raise InputError("--self-supervised learns from k-space that was measured: give --data FILES")
    console = log()
    with blaming_input():
        scans = open_and_tell(args, args.data, console, open_scans)
        validation = open_and_tell(args, args.validation, console, open_scans) if args.validation else scans
    if not args.validation and len(scans.parts) > 1:  # of a single scan other samples are held back
        scans, validation = split_by_volume(scans, [0.96, 0.04], args.seed)
    return scans, evenly_spaced(validation, args.validation_slices), _held_files(args, validation)


def _held_files(args: argparse.Namespace, validation: Images) -> list[str]:
    if args.validation:
        return list(args.validation)
    return [] if args.data == [PHANTOM] else held_out(args.data, (part.name for part in validation.parts))


def _described_data(args: argparse.Namespace) -> str:
    """Say in one line what is learnt from."""
    if args.data == [PHANTOM]:
        told = f"procedural phantom, {args.volumes} subjects from seed {args.phantom_seed}"
    else:
        told = " ".join(Path(path).name for path in args.data)
    if args.init:
        told += f", from {Path(args.init).name}"
        if Path(args.init).is_file():
            told += f" (sha256 {file_sha256(Path(args.init))[:16]})"
    return told + (f", {' '.join(args.freeze)} frozen" if args.freeze else "")


main = main_of(_train, PROGRAM)

if __name__ == "__main__":
    sys.exit(main())
