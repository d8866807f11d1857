"""Compare reconstruction methods on the same undersampled data: ``csmri compare [FILES...]``.

Writes ``results.json``, ``results.csv``, ``report.html``, ``images/*.png`` and every reconstruction as ``.cfl``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from csmri_ext.bridge.load import Files
from csmri_ext.commands.machine import bart_path, checked_device
from csmri_ext.commands.parser import ArgumentParser, run_command
from csmri_ext.commands.plugin_option import add_plugin_option, load_plugins
from csmri_ext.commands.reading import add_reading_options, files_of, readings, teller, warn
from csmri_ext.commands.values import positive, seed, weight_or_auto
from csmri_ext.errors import BAD_INPUT, InputError, one_line
from csmri_ext.progress import stage
from csmri_ext.recon.evaluate import Problems, Setup, evaluate
from csmri_ext.recon.inputs import inspect, open_volumes, phantom_volumes
from csmri_ext.recon.methods import Method, choose, listing, warm_up
from csmri_ext.recon.problem import TV_ITERATIONS
from csmri_ext.recon.regularization import has_reference, number_of_trials, tune, untuned
from csmri_ext.recon.sampling import Sampling, sampling_grid, samplings_of
from csmri_ext.recon.volumes import Volume
from csmri_ext.report import provenance
from csmri_ext.report.provenance import shareable
from csmri_ext.report.rows import ChosenWeight, Comparison
from csmri_ext.report.store import Store, require_writable
from csmri_ext.report.table import print_tables

PROGRAM = "csmri compare"


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run the command line and return its exit code: 0, 2 for bad input, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return run_command(lambda: _compare(arguments, program), debug="--debug" in arguments)


def argument_parser(program: str = PROGRAM) -> ArgumentParser:
    """Options of the command."""
    parser = ArgumentParser(
        prog=program,
        allow_abbrev=False,
        description="Undersample, reconstruct with several methods, measure, and write a report. "
        "Without FILES a procedural phantom is used.",
        epilog=listing(),
    )
    add = parser.add_argument
    add(
        "files",
        nargs="*",
        metavar="FILES",
        help="k-space or images (.h5 .cfl .nii .png .npy .mat ...), or folders of them",
    )
    add(
        "--methods",
        metavar="A,B,C",
        help="methods to compare, and files of weights: tv,nasn_knee,runs/mine/nasn.safetensors "
        "(default: all that run without training)",
    )
    add_plugin_option(add)
    add("--untrained", action="store_true", help="run networks of --methods that have no weights, with random ones")
    add("--bart", action="store_true", help="also run BART's methods, and take coil sensitivities from bart ecalib")
    add(
        "--mask",
        nargs="+",
        default=["equispaced_fraction"],
        metavar="KIND|FILE",
        help="kinds of mask, or files of masks (default: %(default)s)",
    )
    add("--acceleration", nargs="+", type=float, default=[4.0, 8.0], metavar="R", help="accelerations (default: 4 8)")
    add(
        "--center-fraction",
        nargs="+",
        type=float,
        metavar="F",
        help="fully sampled centre, one value or one for each acceleration (default: 0.32 / R)",
    )
    add("--slices", type=positive, metavar="N", help="take N slices from the middle of each volume (default: all)")
    add("--seed", type=seed, help="seed of the masks (default: the file name, as in fastMRI)")
    add(
        "--tv-weight",
        type=weight_or_auto,
        default=None,
        metavar="auto|W",
        help="weight of the TV term (default: auto, tuned)",
    )
    add(
        "--wavelet-weight",
        type=weight_or_auto,
        default=None,
        metavar="auto|W",
        help="weight of the wavelet term (default: auto, tuned)",
    )
    add(
        "--tv-iterations",
        type=positive,
        default=TV_ITERATIONS,
        metavar="N",
        help="iteration budget, as bart pics -i (default: %(default)s)",
    )
    add(
        "--tune-on",
        nargs="+",
        default=[],
        metavar="FILE",
        help="tune weights on these, not on FILES with the reported one left out",
    )
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where methods that can choose run")
    add("--workers", type=positive, help="slices solved at the same time (default: the number of cores)")
    add("--out", default="comparison", metavar="DIR", help="output folder (default: %(default)s)")
    add("--report-slices", type=positive, metavar="N", help="slices of each volume to show (default: 3, or 1 of many)")
    add("--resume", action="store_true", help="keep the finished rows of an earlier run with the same settings")
    add("--sens-maps", metavar="FILE", help="coil sensitivities of all FILES (default: the files' own, or estimated)")
    add_reading_options(parser)
    add("--debug", action="store_true", help="show the traceback of an error")
    return parser


@dataclass
class Plan:
    """What runs on what.

    Attributes
    ----------
    methods, volumes, grid
        Every method on every volume at every mask setting of the grid (or at the volume's own mask).
    validation
        Volumes that the weights are tuned on; empty to tune on `volumes`, leaving one out.
    setup
        What all of them share.
    fixed_weights
        Regularisation weight by family where the user gave one, None where it is tuned.
    masks
        One description per volume and setting, for the provenance.
    read, heard
        How the files were read, and what is doubtful about them.
    failed
        Files that cannot be used, and why.
    """

    methods: list[Method]
    volumes: list[Volume]
    grid: list[Sampling]
    validation: list[Volume]
    setup: Setup
    fixed_weights: dict[str, float | None]
    masks: list[dict[str, Any]]
    read: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def leave_out(self, file: Path, error: Exception) -> None:
        """Go on without a file of several that cannot be used; it is named at the end."""
        self.failed.append((shareable(file), one_line(error)))

    def keep(self, usable: Sequence[Volume]) -> None:
        """Go on with these volumes."""
        kept = {id(volume) for volume in usable}
        self.volumes = [volume for volume in self.volumes if id(volume) in kept]
        self.validation = [volume for volume in self.validation if id(volume) in kept]
        labels = {volume.label for volume in self.volumes}
        self.masks = [mask for mask in self.masks if mask["volume"] in labels]

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the numbers of a row besides its method, mask, acceleration and volume."""
        sources = {
            self.setup.maps_source(volume, sampling)
            for volume in self.volumes
            for sampling in samplings_of(volume, self.grid)
        } - {None}
        return {
            "mask seed": "file name" if self.setup.seed is None else self.setup.seed,
            "weights tuned on": [f"{volume.label}, sha256 {volume.sha256}" for volume in self.validation]
            or "the inputs",
            **{f"{family} weight": weight or "auto" for family, weight in self.fixed_weights.items()},
            "iterations": self.setup.iterations,
            "device": self.setup.device,
            "coil sensitivities": sorted(str(source) for source in sources),
        }


def make_plan(args: argparse.Namespace) -> Plan:
    """Open the inputs and decide what runs on what; everything that is wrong with names and numbers fails here."""
    methods = choose(args.methods, bart=args.bart, untrained=args.untrained)
    grid = sampling_grid(args.mask, args.acceleration, args.center_fraction)
    setup = Setup(
        seed=args.seed,
        bart=bart_path(args.bart, methods),
        iterations=args.tv_iterations,
        device=checked_device(args.device),
        workers=args.workers or provenance.available_cores(),
    )
    failed: list[tuple[str, str]] = []

    def leave_out(file: Path, error: Exception) -> None:
        failed.append((shareable(file), one_line(error)))

    if args.files:
        files = files_of(args)
        tuned_on = open_volumes(args.tune_on, None, files, leave_out)
        with_maps = Files({**files.options, "sens_maps": args.sens_maps})
        volumes, validation = open_volumes(args.files, args.slices, with_maps, leave_out), tuned_on
    else:
        volumes, validation = phantom_volumes(args.seed or 0, args.slices)
    for volume in validation:
        if not has_reference(volume):
            raise InputError(f"--tune-on {volume.source}: it is undersampled, so weights cannot be tuned on it")
    masks = [sampling.describe(volume, args.seed) for volume in volumes for sampling in samplings_of(volume, grid)]
    weights = {"tv": args.tv_weight, "wavelet": args.wavelet_weight}
    return Plan(methods, volumes, grid, validation, setup, weights, masks, failed=failed)


def _compare(arguments: list[str], program: str) -> int:
    args = argument_parser(program).parse_args(arguments)
    if "" in (args.out, *args.files, *args.tune_on):
        raise InputError("an empty file name (a variable of the shell that is not set?)")
    log = Console(stderr=True)
    load_plugins(args.plugin)
    plan = make_plan(args)
    folder = Path(args.out)
    require_writable(folder)
    from csmri_ext.metrics import METRIC_VARIANT  # scikit-image takes a second to load; errors above come at once

    everything = [*plan.volumes, *plan.validation]
    with stage("reading", sum(len(volume.slices) for volume in everything), log) as reading:
        plan.keep(inspect(everything, reading.advance, plan.leave_out))
    if not plan.volumes:
        raise InputError("none of FILES can be used")
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(folder, plan.settings, [volume.describe() for volume in plan.volumes], plan.masks)
    if args.resume:
        finished = store.resume()
        require_same_weights(plan, store)
        log.print(f"resuming: {finished} finished rows in {folder}", markup=False, highlight=False, soft_wrap=True)
    else:
        store.discard_earlier()
    told = notes(plan, args.files)
    if args.files:
        acquisitions = [(volume.label, volume.acquisition) for volume in plan.volumes]
        plan.read, plan.heard = readings(acquisitions), warn(acquisitions, teller(log))
    for note in told:
        log.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    store.provenance |= {
        "command": provenance.command_line(program, arguments),
        **provenance.environment(plan.setup.bart),
        "metric": METRIC_VARIANT,
        "seed": "mask seeded by file name, as in fastMRI" if args.seed is None else args.seed,
        "notes": notes(plan, args.files),
        "networks": [method.network.facts() for method in plan.methods if method.network is not None],
    }
    try:
        choose_weights(plan, store, log)
        run(plan, store, log)
    finally:  # also after Ctrl-C or an error: what has finished is kept, and shown
        if store.rows:
            publish(plan, store, args.report_slices)
    for file, reason in plan.failed:
        sys.stderr.write(f"failed: {file}: {reason}\n")
    return BAD_INPUT if plan.failed else 0


def notes(plan: Plan, files: Sequence[str]) -> list[str]:
    """Say what a reader of the results has to know: which data had a mask of their own, which are simulated."""
    texts = [] if files else ["no FILES given: the data are a procedural phantom"]
    own = [volume.label for volume in plan.volumes if volume.acquisition.mask is not None]
    if own:
        texts.append(
            f"{_some(own)}: undersampled by the scanner; reconstructed with the mask of the data, "
            "--mask and --acceleration do not apply"
        )
    without = [volume.label for volume in plan.volumes if volume.acquisition.target is None]
    if without:
        texts.append(f"{_some(without)}: no fully sampled reference, so no image metric; see the k-space residual")
    texts += [f"{m.name}: untrained, its weights are random" for m in plan.methods if not m.trained]
    texts += plan.read + plan.heard
    texts += [f"{file}: left out, {reason}" for file, reason in plan.failed]
    reasons = {str(volume.acquisition.attrs["note"]) for volume in plan.volumes if volume.acquisition.attrs.get("note")}
    return texts + sorted(reasons)


def require_same_weights(plan: Plan, store: Store) -> None:
    """Refuse to add to rows of a network whose weights have changed since.

    Raises
    ------
    InputError
        Names the network.
    """
    networks = {method.name: method.network for method in plan.methods if method.network is not None}
    for row in store.rows:
        network = networks.get(row.method)
        if network is not None and row.details.get("weights") != network.weights:
            raise InputError(
                f"--resume: {row.method} has other weights now ({network.weights}) than in the finished rows "
                f"({row.details.get('weights')}); choose another --out"
            )


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels) if len(labels) <= 5 else f"{', '.join(labels[:4])} and {len(labels) - 4} more"


def choose_weights(plan: Plan, store: Store, log: Console) -> None:
    """Fill in the regularisation weights: as given, as an earlier run chose them, or tuned now."""
    families = list(dict.fromkeys(method.weight for method in plan.methods if method.weight is not None))
    for volume in plan.volumes:
        for sampling in samplings_of(volume, plan.grid):
            usual = {family: untuned(plan.fixed_weights[family]) for family in families}
            plan.setup.weights[sampling, volume.label] = usual
    judged = [volume for volume in plan.volumes if has_reference(volume)]
    jobs = [
        (family, sampling)
        for family in families
        for sampling in plan.grid
        if judged and plan.fixed_weights[family] is None and not store.tuned(family, sampling.title)
    ]
    one_at_a_time = replace(plan.setup, workers=1)
    trials = sum(number_of_trials(family, plan.validation or judged) for family, _ in jobs)
    with stage("choosing weights", trials, log) as progress:

        def tune_one(job: tuple[str, Sampling]) -> tuple[dict[str, ChosenWeight], list[dict[str, Any]]]:
            return tune(*job, judged, plan.validation, Problems(one_at_a_time), lambda: progress.advance(1))

        with ThreadPoolExecutor(plan.setup.workers) as pool:
            try:
                for (family, sampling), (chosen, table) in zip(jobs, pool.map(tune_one, jobs), strict=True):
                    store.keep_tuning(family, sampling.title, chosen, table)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    for (sampling, label), weights in plan.setup.weights.items():
        for family in families:
            weights[family] = store.tuned(family, sampling.title).get(label, weights[family])


def run(plan: Plan, store: Store, log: Console) -> None:
    """Compute every row that the store lacks, and store it as soon as it is finished."""
    pending = [
        (volume, sampling, method)
        for volume in plan.volumes
        for sampling in samplings_of(volume, plan.grid)
        for method in plan.methods
        if store.find(method.name, sampling.kind, sampling.acceleration, volume.label) is None
    ]
    warm_up()
    problems = Problems(plan.setup)
    with stage("reconstructing", sum(len(volume.slices) for volume, _, _ in pending), log) as progress:
        for volume, sampling, method in pending:
            progress.describe(f"{method.name}, {sampling.title}, {volume.label}")
            row, image = evaluate(method, volume, sampling, problems, progress.advance)
            store.add(row, image)
            quality = "" if row.psnr is None else f"PSNR {row.psnr:.2f} dB, SSIM {row.ssim:.4f}, "
            progress.line(f"{volume.label}, {sampling.title}, {method.name}: {quality}{row.seconds:.1f} s")


def publish(plan: Plan, store: Store, slices_shown: int | None) -> None:
    """Write the report of the finished rows and print the table."""
    from csmri_ext.recon.panels import build_panels
    from csmri_ext.report.page import write_report

    store.provenance["bart_argv"] = provenance.bart_arguments(store.rows)
    store.write()
    panels = build_panels(store, plan.volumes, plan.setup.seed, slices_shown, plan.grid)
    page = write_report(store.folder, Comparison(store.rows, panels, store.provenance))
    console = Console() if sys.stdout.isatty() else Console(width=160)
    print_tables(store.rows, store.provenance["metric"], console)
    for line in plan.read:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"report: {page}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
