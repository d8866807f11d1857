"""``csmri reproduce EXPERIMENT --data DIR``: a published table again, from images to numbers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from csmri_ext import progress
from csmri_ext.bridge.mask_file import is_mask_file, read_mask
from csmri_ext.commands.machine import checked_device
from csmri_ext.commands.parser import ArgumentParser, main_of
from csmri_ext.commands.reading import add_reading_options, reading_of, readings, warn
from csmri_ext.commands.shared_options import (
    add_common_options,
    add_device_option,
    add_option,
    add_slices_option,
    add_workers_option,
)
from csmri_ext.commands.values import LONGEST_SIDE, positive, processes, seed, whole
from csmri_ext.errors import InputError, blaming_input, unknown
from csmri_ext.experiments.experiment import Experiment, ExperimentSetting, experiments
from csmri_ext.experiments.how_made import how_made
from csmri_ext.experiments.results_folder import NETWORKS, TABLE_FILE, WRITTEN, discard_earlier, require_room
from csmri_ext.outputs import require_writable
from csmri_ext.progress import spent, stage
from csmri_ext.recon import methods
from csmri_ext.recon.evaluate import Problems, evaluate
from csmri_ext.recon.problem import TV_WEIGHT
from csmri_ext.recon.sampling import Sampling
from csmri_ext.recon.shared_setup import Setup, grouped, where
from csmri_ext.report import provenance
from csmri_ext.report.completeness import completeness
from csmri_ext.report.rows import ChosenWeight
from csmri_ext.report.sheet import FORMATS
from csmri_ext.report.store import ROWS_FILE, Store

if TYPE_CHECKING:
    from csmri_ext.experiments.images import Prepared
    from csmri_ext.experiments.training import Training
    from csmri_ext.recon.methods import Method
    from csmri_ext.recon.volumes import Volume
    from csmri_ext.training import Recipe

PROGRAM = "csmri reproduce"
_WAY_OUT = "a mask with more lines around the echo helps: --mask FILE"
DESCRIPTION = """Train and test the networks of a published table on your images, and print both. Killed, the same
command goes on."""
PAPER, OURS = "paper", "ours"
SMALLEST = 16  # four halvings of a U-net
_side = whole(SMALLEST, LONGEST_SIDE)


def argument_parser(program: str = PROGRAM) -> ArgumentParser:
    """Options of the command."""
    told = f"experiments: {', '.join(experiments())}"
    parser = ArgumentParser(program, "EXPERIMENT --data DIR", description=DESCRIPTION, epilog=told)
    add = parser.add_argument
    add("experiment", metavar="EXPERIMENT", help="see below, and docs/reproduce.md")
    add("--data", type=Path, required=True, metavar="DIR", help="folder of fastMRI .h5 or of NIfTI files")
    add("--out", type=Path, metavar="DIR", help="folder of the results (default: reproduced/EXPERIMENT)")
    group = parser.add_argument_group("less than the paper")
    less = group.add_argument
    add_option(less, "--methods", before=["--networks"], metavar="A,B", help="only these networks of the table")
    amount = group.add_mutually_exclusive_group()
    amount.add_argument("--epochs", type=positive, metavar="N", help="passes over the training slices")
    amount.add_argument("--steps", type=positive, metavar="N", help="optimizer steps of each network")
    less("--volumes", type=positive, metavar="N", help="patients, of all three parts together")
    add_slices_option(less, before=["--middle", "--limit"])
    less("--size", type=_side, metavar="N", help="rows and columns (default: 320 for fastMRI, 256 for NIfTI)")
    less("--mask", metavar="A,B|FILE", help="only these masks of the table, as 'random 4x'; or a mask in their place")
    less("--acquisition", metavar="A,B", help="what the files call the scans to take, or 'all' (default: the paper's)")
    add(
        "--like",
        choices=(PAPER, OURS),
        default=PAPER,
        help="paper: its recipe; ours: phase, noise and several coils, whose data steps are conjugate gradients "
        "(recipe 'measured'; default: %(default)s)",
    )
    add(
        "--overwrite",
        action="store_true",
        help="replace an earlier run in the folder: its trainings, scores and figures",
    )
    add("--estimate", action="store_true", help="say how long it will take, and stop")
    group = parser.add_argument_group("machine")
    machine = group.add_argument
    add_device_option(machine)
    add_workers_option(machine)
    machine("--threads", type=processes, metavar="N", help="CPU threads (default: all cores)")
    machine("--steps-per-epoch", type=positive, default=200, metavar="N", help="steps between checkpoints")
    add("--seed", type=seed, default=0, metavar="S", help="of split, weights and training masks (default: %(default)s)")
    add_reading_options(parser)
    add_common_options(parser)
    return parser


def _reproduce(arguments: list[str], program: str) -> int:
    args = argument_parser(program).parse_args(arguments)
    known = experiments()
    if args.experiment not in known:
        raise unknown("experiment", args.experiment, known)
    experiment = _with_mask(_with_networks(known[args.experiment], args.methods), args.mask)
    if find_spec("lightning") is None:
        raise InputError('training needs Lightning: pip install "csmri_ext[train]"')
    args.device = checked_device(args.device)
    folder: Path = args.out or Path("reproduced") / args.experiment
    require_writable(folder)
    import torch

    from csmri_ext.experiments.images import files_below, prepare, volumes_of
    from csmri_ext.experiments.training import Training
    from csmri_ext.metrics import METRIC_VARIANT

    if args.threads:
        torch.set_num_threads(args.threads)
    require_room(files_below(args.data), folder)
    images = prepare(
        args.data,
        experiment,
        seed=args.seed,
        n_patients=args.volumes,
        slices=args.slices,
        size=args.size,
        acquisitions=_acquisitions(args.acquisition),
        coils=args.like == OURS,
        reading=reading_of(args),
    )
    volumes = volumes_of(images.test)
    recipe = _recipe(args, experiment, len(images.train))
    settings = {
        "experiment": args.experiment,
        "recipe": asdict(recipe) | {"masks": "of the setting", "accelerations": "of the setting"},
        "like": args.like,
        "seed": args.seed,
        "slices": args.slices,
        "split": images.describe(),
        "files": images.files,
        "mask seed": "file name",
    }
    with blaming_input():
        masks = _masks(experiment, volumes)
    store = Store(folder, settings, [volume.describe() for volume in volumes], masks)
    if args.overwrite and not args.estimate:
        discard_earlier(store)
    done = 0
    if not args.estimate or (folder / ROWS_FILE).exists():  # an estimate alone claims no folder
        folder.mkdir(parents=True, exist_ok=True)
        done = store.resume(or_else=", or replace it with --overwrite", also=WRITTEN)
    log = progress.log()
    told = readings(images.opened)
    for line in told:
        log.print(line, markup=False, highlight=False, soft_wrap=True)
    notes = [*experiment.notes, *told, *warn(images.opened)]
    counts = " + ".join(f"{len(names)} {part}" for part, names in images.describe().items())
    log.print(f"{experiment.title}: {counts} volumes, {done} results from before", markup=False, highlight=False)
    store.provenance |= {
        "command": provenance.command_line(program, arguments),
        **provenance.environment(None),
        "metric": METRIC_VARIANT,
        "published": {name: asdict(numbers) for name, numbers in experiment.networks.items()},
        "notes": notes,
        "planned": planned(experiment, volumes),
    }
    training = Training(
        folder / NETWORKS,
        recipe,
        args.seed,
        {"cuda": "gpu"}.get(args.device, args.device),
        args.workers,
        args.steps_per_epoch,
    )
    setup = Setup(device=args.device, workers=provenance.available_cores(), way_out=_WAY_OUT)
    log.print(_estimate(experiment, training, images, store, args.device), markup=False, highlight=False)
    if args.estimate:
        return 0
    store.write()
    try:
        run(experiment, training, images, volumes, setup, store, log)
    except KeyboardInterrupt as stop:
        store.provenance["stopped"] = {"at": provenance.now(), "by": str(stop) or "SIGINT"}
        raise
    finally:  # also after Ctrl-C or an error: what has finished is shown
        publish(experiment, training, images, volumes, store)
    return 0


def planned(experiment: Experiment, volumes: Sequence[Volume]) -> list[dict[str, Any]]:
    """Entries of ``provenance["planned"]``: the rows that this run is to make, by method and setting."""
    labels: dict[tuple[str, str, float | None], list[str]] = {}
    for setting in experiment.settings:
        for i, volume in enumerate(volumes):
            sampling = _sampling(setting, i)
            for name in (*experiment.methods, *experiment.networks):
                labels.setdefault((name, sampling.kind, sampling.acceleration), []).append(volume.label)
    return [
        {"method": name, "mask": mask, "acceleration": acceleration, "volumes": those}
        for (name, mask, acceleration), those in labels.items()
    ]


def _acquisitions(text: str | None) -> list[str] | None:
    """Names after ``--acquisition``; None: the experiment's; empty: all."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError("--acquisition names none; 'all' takes any")
    return [] if names == ["all"] else names


def _recipe(args: argparse.Namespace, experiment: Experiment, slices: int) -> Recipe:
    """Take the paper's recipe, or ours, with the steps that were asked for."""
    from csmri_ext.training import RECIPES

    recipe = RECIPES["measured" if args.like == OURS else experiment.recipe]
    if args.like == OURS and args.size:
        recipe = replace(recipe, sizes=(0,), strip=0)
    if args.epochs:
        recipe = replace(recipe, steps=-(-args.epochs * slices // recipe.batch_size))
    return replace(recipe, steps=args.steps or recipe.steps)


def _estimate(experiment: Experiment, training: Training, images: Prepared, store: Store, device: str) -> str:
    """Say how long the trainings and tests that are not done will take, by one step and one slice of each network."""
    from csmri_ext.experiments.estimate import measure

    recipe, slices = training.recipe, len(images.test)
    training_time = test_time = 0.0
    each = []
    for name in experiment.networks:
        pending = [
            setting for setting in experiment.settings if not training.weights(experiment, setting, name).is_file()
        ]
        tested = sum(row.slices for row in store.rows if row.method == name)
        left = slices * len(experiment.settings) - tested
        if not pending and not left:
            continue
        pace = measure(experiment, name, recipe, images.train[0].shape, device, real=images.real)
        own = pace.step * recipe.steps * len(pending)
        training_time, test_time = training_time + own, test_time + pace.slice * left
        each.append(f"{name} {spent(own)}")
    if not each:
        return "estimate: nothing left to train or to test with a network"
    return (
        f"estimate: {spent(training_time)} to train ({', '.join(each)}; {recipe.steps} steps each, less what a killed "
        f"training has done), {spent(test_time)} to test; methods without a network are not counted"
    )


def _with_mask(experiment: Experiment, path: str | None) -> Experiment:
    """Keep some of the table's masks, or put that of a file in their place."""
    if path is None:
        return experiment
    if not is_mask_file(path):
        if Path(path).exists() or Path(path).suffix:
            raise InputError(f"--mask {path}: not a file of a mask")
        known = {setting.title: setting for setting in experiment.settings}
        titles = _chosen(path, known, "--mask", "mask of this experiment")
        return replace(experiment, settings=tuple(known[title] for title in titles))
    acceleration = round(1 / float(read_mask(path).mean()), 2)
    return replace(experiment, settings=(ExperimentSetting(Path(path).name, (acceleration,), path),))


def _with_networks(experiment: Experiment, wanted: str | None) -> Experiment:
    if wanted is None:
        return experiment
    names = _chosen(wanted, experiment.networks, "--methods", "network of this experiment")
    return replace(experiment, networks={name: experiment.networks[name] for name in names})


def _chosen(wanted: str, known: Iterable[str], option: str, what: str) -> list[str]:
    """Split a list of names, each once; InputError where one is not known, or none is given."""
    names = list(dict.fromkeys(name.strip() for name in wanted.split(",") if name.strip()))
    for name in names:
        if name not in known:
            raise unknown(what, name, list(known))
    if not names:
        raise InputError(f"{option} names none; known: {', '.join(known)}")
    return names


def _masks(experiment: Experiment, volumes: Sequence[Volume]) -> list[dict[str, Any]]:
    return [
        _sampling(setting, i).describe(volume, None)
        for setting in experiment.settings
        for i, volume in enumerate(volumes)
    ]


def _sampling(setting: ExperimentSetting, number: int) -> Sampling:
    """Mask setting of test volume `number`."""
    acceleration = setting.accelerations[number % len(setting.accelerations)]
    return Sampling(setting.mask, acceleration, path=setting.path)


def run(
    experiment: Experiment,
    training: Training,
    images: Prepared,
    volumes: Sequence[Volume],
    setup: Setup,
    store: Store,
    log: Console,
) -> None:
    """Train and test whatever the store lacks, network by network; each finished volume is stored at once."""
    from csmri_ext.experiments.training import train

    methods.warm_up()
    for setting in experiment.settings:
        samplings = [_sampling(setting, i) for i in range(len(volumes))]
        for volume, sampling in zip(volumes, samplings, strict=True):
            fixed = ChosenWeight(TV_WEIGHT, "the NasN paper's")
            setup.weights[sampling, volume.label] = {"tv": fixed}
        pairs = list(zip(volumes, samplings, strict=True))
        for text in grouped([(where(*pair), setup.echo_note(*pair)) for pair in pairs]):
            log.print(f"note: {text}", markup=False, highlight=False, soft_wrap=True)
        for name in (*experiment.methods, *experiment.networks):
            pending = [
                (volume, sampling)
                for volume, sampling in pairs
                if store.find(name, sampling.kind, sampling.acceleration, volume.label) is None
            ]
            if not pending:
                continue
            if name in experiment.networks:
                log.print(f"training {name} at {setting.title}", markup=False, highlight=False)
                method: Method = train(training, experiment, setting, name, images)
            else:
                method = methods.get(name)
            with stage(f"{name}, {setting.title}", sum(len(v.slices) for v, _ in pending), log) as progress:
                problems = Problems(setup)
                for volume, sampling in pending:
                    row, image = evaluate(method, volume, sampling, problems, progress.advance)
                    store.add(row, image)
                    progress.line(f"{volume.label}, {sampling.title}, {name}: {row.psnr:.2f} dB, SSIM {row.ssim:.4f}")


def publish(
    experiment: Experiment, training: Training, images: Prepared, volumes: Sequence[Volume], store: Store
) -> None:
    """Write the figures and the table of what has finished, and print the table."""
    from csmri_ext.experiments.figures import draw_box_plots, draw_convergence, draw_panels, draw_sweep
    from csmri_ext.experiments.tables import print_experiment, write_table

    made = how_made(experiment, store.rows, store.provenance["masks"])
    store.provenance["notes"] = list(dict.fromkeys([*store.provenance["notes"], *made]))
    store.write()
    console = Console() if sys.stdout.isatty() else Console(width=180)
    missing = completeness(store.rows, store.provenance).headline()
    if missing:
        console.print(missing, style="bold", markup=False, highlight=False, soft_wrap=True)
    print_experiment(experiment, store.rows, images.format, console, real=images.real)
    for line in made:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    table = write_table(experiment, store.rows, images.format, store.folder / TABLE_FILE, real=images.real)
    figures = [
        draw_box_plots(store),
        draw_convergence(experiment, training, store.folder),
        *draw_sweep(experiment, store.rows, store.folder, real=images.real),
        *draw_panels(experiment, store, volumes, lambda i: [_sampling(setting, i) for setting in experiment.settings]),
    ]
    others = "".join(f", .{kind}" for kind in FORMATS[1:])
    shown = [table, store.folder / "results.json", store.folder / "results.csv"]
    for text in [*map(str, shown), *(f"{path}{others}" for path in filter(None, figures))]:
        console.print(text, markup=False, highlight=False, soft_wrap=True)


main = main_of(_reproduce, PROGRAM)

if __name__ == "__main__":
    sys.exit(main())
