"""``csmri search``: find a cell for NasN in one's own images, or in the phantom."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from csmri_ext.bridge.atomic import clear_leftovers
from csmri_ext.bridge.folder_lock import working_alone
from csmri_ext.commands.image_options import (
    add_image_options,
    chosen_images,
    described_reading,
    marks_of_images,
    require_room,
)
from csmri_ext.commands.machine import checked_device
from csmri_ext.commands.model_options import add_set_option, typed
from csmri_ext.commands.next_steps import after_search
from csmri_ext.commands.parser import ArgumentParser, main_of
from csmri_ext.commands.reading import add_reading_options
from csmri_ext.commands.shared_options import (
    add_common_options,
    add_device_option,
    add_mask_options,
    add_option,
)
from csmri_ext.commands.values import amount, coils, count, penalty, positive, probability, seed, side, weight
from csmri_ext.data import (
    Augmentation,
    Images,
    Masks,
    Measurement,
    UndersampledImages,
    split_by_volume,
)
from csmri_ext.data.images import first_filled
from csmri_ext.errors import InputError, blaming_input, unknown
from csmri_ext.models.genotypes import Genotype
from csmri_ext.models.options import fields_of
from csmri_ext.outputs import require_free
from csmri_ext.progress import INTERVAL, log, remaining
from csmri_ext.search.derive import COMPARISONS
from csmri_ext.search.folder import MARKS, WRITTEN, SearchFolder
from csmri_ext.search.run import Report, run
from csmri_ext.search.search import OPTIMIZERS, PAPER, Search, SearchSettings
from csmri_ext.search.supernet import SPACES


def argument_parser(program: str) -> ArgumentParser:
    """Options of the command; those of `SearchSettings` have the same names and defaults."""
    recipe = SearchSettings()
    parser = ArgumentParser(
        program,
        description="Search for the cell of NasN by gradients: weights learn from one half of the volumes, the "
        "strengths of the candidate operations from the other. The same command again continues where it was stopped.",
    )
    add = parser.add_argument
    add("--out", type=Path, default=Path("search"), metavar="DIR", help="cell, drawings, curves and checkpoint")
    add_image_options(add, volumes=60)
    add("--size", type=side, default=96, metavar="N", help="rows and columns of random sections; 0: whole images")
    add_mask_options(add, ["random"], [4.0, 8.0])
    add_option(
        add,
        "--steps-per-epoch",
        before=["--steps"],
        type=positive,
        metavar="N",
        help="slices of each half in an epoch (default: those of the smaller half)",
    )
    add("--coils", type=coils, nargs="+", default=[1], metavar="N", help="simulated coils, mixed; files keep theirs")
    add("--phase", type=probability, default=0.0, metavar="P", help="probability of a random smooth phase")
    add("--echo-shift", type=amount, default=0.0, metavar="X", help="largest shift of the echo, in samples")
    add("--noise", nargs=2, type=amount, default=[0.0, 0.0], metavar=("LOW", "HIGH"), help="noise relative to the peak")
    add("--paper", action="store_true", help="space and rates of the NasN paper where no option says otherwise")
    add_set_option(add, "settings of the search that have no option here: momentum=0.95 clip=3")
    add("--space", default=recipe.space, metavar="NAME", help=f"candidate operations: {', '.join(SPACES)}")
    add("--nodes", type=positive, default=recipe.nodes, metavar="N", help="nodes of the cell")
    add("--cells", type=positive, default=recipe.cells, metavar="N", help="cells of the super-network")
    add("--cascades", type=positive, default=recipe.cascades, metavar="N", help="cascades of the super-network")
    add("--channels", type=positive, default=recipe.channels, metavar="N", help="channels of a node")
    add("--epochs", type=positive, default=recipe.epochs, metavar="N", help="stop after so many epochs")
    add(
        "--patience",
        type=positive,
        default=recipe.patience,
        metavar="N",
        help="stop when the cell has not changed for so many epochs",
    )
    add(
        "--warm-up",
        type=count,
        default=recipe.warm_up,
        metavar="N",
        help="epochs at the beginning in which only the weights learn (default: a fifth of --epochs, at most 5)",
    )
    add("--optimizer", default=recipe.optimizer, choices=OPTIMIZERS, help="optimizer of the weights")
    add(
        "--learning-rate",
        type=weight,
        default=recipe.learning_rate,
        metavar="X",
        help="of the weights, at the beginning",
    )
    add(
        "--final-learning-rate",
        type=weight,
        default=recipe.final_learning_rate,
        metavar="X",
        help="of the weights, at the end",
    )
    add(
        "--alpha-learning-rate",
        type=weight,
        default=recipe.alpha_learning_rate,
        metavar="X",
        help="of the strengths (alphas)",
    )
    add(
        "--alpha-weight-decay",
        type=penalty,
        default=recipe.alpha_weight_decay,
        metavar="X",
        help="of the strengths (alphas)",
    )
    add(
        "--second-order",
        action="store_true",
        help="gradients of the strengths through one step of the weights, as DARTS; four times as slow",
    )
    add(
        "--compare",
        default=recipe.compare,
        choices=COMPARISONS,
        help="how the edges of a node are ranked when the cell is read off",
    )
    add(
        "--seed",
        type=seed,
        default=recipe.seed,
        metavar="S",
        help="of the first weights, the halves, sections and masks",
    )
    add_device_option(add)
    add_reading_options(parser)
    add_common_options(parser)
    return parser


def _search(argv: Sequence[str], program: str) -> int:
    parser = argument_parser(program)
    if "--paper" in argv:
        parser.set_defaults(**PAPER)
    args = parser.parse_args(argv)
    device = checked_device(args.device)
    settings = _settings(args)
    search = Search(settings, device)
    console = log()
    require_room(args, args.out, WRITTEN)
    images = chosen_images(args, console, coils=args.coils != [1])
    if len(images.parts) < 2:
        raise InputError("one volume: the search needs at least two, one for the weights and one for the alphas")
    for_weights, for_alphas = _halves(images, args)
    steps = len(for_weights)
    require_free(args.out, WRITTEN, MARKS)
    with working_alone(args.out):
        clear_leftovers(args.out, recursive=True)
        folder = SearchFolder(
            args.out, _description(args, images, steps), described_reading(args), marks_of_images(args)
        )
        resumed = folder.resume(search)
        at = f"epoch {len(search.history) + 1}, step {search.done + 1}" if resumed else "the beginning"
        console.print(
            f"{len(images)} slices of {len(images.parts)} volumes, {steps} steps in an epoch; from {at}",
            highlight=False,
        )
        with _progress(console, settings, steps) as report:
            genotype = run(search, for_weights, for_alphas, folder, report=report)
    why = f"unchanged for {search.unchanged} epochs" if search.unchanged >= settings.patience else "all epochs are over"
    print_cell = Console(highlight=False, soft_wrap=True).print
    print_cell(f"after {len(search.history)} epochs ({why}):", *_lines(genotype), sep="\n", markup=False)
    print_cell(f"\n{after_search(args.out / 'genotype.json', args)}", markup=False)
    return 0


def _settings(args: argparse.Namespace) -> SearchSettings:
    if args.space not in SPACES:
        raise unknown("search space", args.space, SPACES)
    names = {field.name for field in fields(SearchSettings)}
    chosen = {name: value for name, value in vars(args).items() if name in names}
    return SearchSettings(**chosen | typed(args.set, fields_of(SearchSettings()), "the search"))


def _halves(images: Images, args: argparse.Namespace) -> tuple[UndersampledImages, UndersampledImages]:
    """Disjoint halves by volume, with as many samples each."""
    halves = split_by_volume(images, (1, 1), args.seed)
    steps = min(map(len, halves)) if args.steps_per_epoch is None else args.steps_per_epoch
    ny, nx = first_filled(images, range(len(images)))[1].shape[-2:]
    with blaming_input():
        masks = Masks(tuple(args.masks), tuple(args.accelerations))
        masks.require_drawable([(ny, nx)], [args.size], 0)
        measurement = Measurement(
            tuple(args.coils), phase=args.phase, echo_shift=args.echo_shift, noise=tuple(args.noise)
        )
    for_weights, for_alphas = (
        UndersampledImages(
            half,
            masks,
            size=args.size or None,
            augmentation=Augmentation(mirror=True),
            measurement=measurement,
            length=steps,
            seed=2 * args.seed + number,
        )
        for number, half in enumerate(halves)
    )
    return for_weights, for_alphas


def _description(args: argparse.Namespace, images: Images, steps: int) -> list[str]:
    """Everything about the data that must be the same when a search goes on."""
    accelerations = " ".join(f"{r:g}" for r in args.accelerations)
    options = [f"size {args.size}", f"masks {' '.join(args.masks)}", f"accelerations {accelerations}"]
    if args.coils != [1] or args.phase or args.echo_shift or args.noise[1]:
        noise = " ".join(f"{x:g}" for x in args.noise)
        coils = " ".join(map(str, args.coils))
        options.append(f"coils {coils}, phase {args.phase:g}, echo shift {args.echo_shift:g}, noise {noise}")
    parts = [f"{part.name}: {part.n_slices} slices" for part in images.parts]
    return [*options, f"steps {steps}", *parts]


@contextmanager
def _progress(console: Console, settings: SearchSettings, steps: int) -> Iterator[Report]:
    """Show a bar with losses on a terminal, and a line for every epoch anywhere."""
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn()]
    with Progress(*columns, TimeRemainingColumn(compact=True), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("search", total=settings.epochs * steps)
        told = begun = time.monotonic()
        first: int | None = None

        def report(search: Search, losses: tuple[float, float] | None) -> None:
            nonlocal told, first
            number = len(search.history)
            count = number * steps + search.done
            first = count if first is None else first
            if not console.is_terminal and time.monotonic() - told > INTERVAL and count > first:
                told = time.monotonic()
                left = remaining(told - begun, count - first, settings.epochs * steps - first)
                text = f"epoch {number + 1}, step {search.done} of {steps}, at most {left} left"
                console.print(text, highlight=False, soft_wrap=True)
            bar.update(task, completed=number * steps + search.done)
            if losses is not None:
                text = f"epoch {number + 1}, losses {losses[0]:.3f} and {losses[1]:.3f}"
                bar.update(task, description=f"{text}, cell unchanged for {search.unchanged}")
                return
            epoch = search.history[-1]
            line = f"epoch {number}: losses {epoch.weight_loss:.4f} and {epoch.alpha_loss:.4f}, unchanged for"
            cell = "; ".join(_lines(epoch.genotype)) if search.unchanged == 0 else ""
            console.print(f"{line} {search.unchanged}  {cell}", markup=False, highlight=False, soft_wrap=True)

        yield report


def _lines(genotype: Genotype) -> list[str]:
    """Every node as ``node 0 = sep_conv_3x3(C[k-2]) + skip(C[k-1])``."""
    names = ["C[k-2]", "C[k-1]", *(f"node {i}" for i in range(len(genotype)))]
    sums = (" + ".join(f"{operation}({names[source]})" for operation, source in node) for node in genotype)
    return [f"node {i} = {text}" for i, text in enumerate(sums)]


main = main_of(_search, "csmri search")
