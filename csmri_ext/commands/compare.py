"""Compare reconstruction methods on the same undersampled data: ``csmri compare [FILES...]``.

Writes ``results.json``, ``results.csv``, ``report.html``, ``images/*.png`` and every reconstruction as ``.cfl``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from csmri_ext import progress
from csmri_ext.bridge.first_few import first_few
from csmri_ext.bridge.mask_file import is_mask_file
from csmri_ext.commands.machine import checked_device
from csmri_ext.commands.parser import ArgumentParser, main_of
from csmri_ext.commands.plugin_option import add_plugin_option, load_plugins, plugin_files
from csmri_ext.commands.reading import add_reading_options, reading_of, readings, warn
from csmri_ext.commands.shared_options import (
    add_bart_weights_option,
    add_common_options,
    add_device_option,
    add_jobs_option,
    add_option,
    add_slices_option,
)
from csmri_ext.commands.values import acceleration, center_fraction, positive, seed, weight_or_auto
from csmri_ext.errors import BAD_INPUT, InputError
from csmri_ext.outputs import existing, require_apart, require_writable
from csmri_ext.recon.comparison import Plan, add_error_maps, choose_weights, run
from csmri_ext.recon.inputs import files_of, inspect
from csmri_ext.recon.methods import listing
from csmri_ext.recon.planning import Request, make_plan
from csmri_ext.recon.trained_for import training_note
from csmri_ext.report import provenance, report_files
from csmri_ext.report import store as results
from csmri_ext.report.report_files import PLACES, remove_report
from csmri_ext.report.rows import Comparison
from csmri_ext.report.seeds import over_seeds
from csmri_ext.report.statistics import as_provenance, paired_differences
from csmri_ext.report.store import Store
from csmri_ext.report.summary import summarise
from csmri_ext.report.table import print_tables

PROGRAM = "csmri compare"


def argument_parser(program: str = PROGRAM) -> ArgumentParser:
    """Options of the command."""
    parser = ArgumentParser(
        program,
        "[FILES...]",
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
    add_option(
        add,
        "--methods",
        before=["--method"],
        metavar="A,B,C",
        help="methods to compare, and files of weights: tv,nasn_knee,runs/mine/nasn.safetensors "
        "(default: all that run without training)",
    )
    add_plugin_option(add)
    add("--untrained", action="store_true", help="run networks of --methods that have no weights, with random ones")
    add("--bart", action="store_true", help="also run BART's methods, and take coil sensitivities from bart ecalib")
    add_bart_weights_option(add, several=True)
    add_option(
        add,
        "--mask",
        before=["--masks"],
        nargs="+",
        default=Request.masks,
        metavar="KIND|FILE",
        help="kinds of mask, or files of masks",
    )
    add_option(
        add,
        "--acceleration",
        before=["--accelerations"],
        nargs="+",
        type=acceleration,
        default=Request.accelerations,
        metavar="R",
        help="accelerations",
    )
    add(
        "--center-fraction",
        nargs="+",
        type=center_fraction,
        metavar="F",
        help="fully sampled centre, one value or one for each acceleration (default: 0.32 / R)",
    )
    add_slices_option(add)
    add("--seed", type=seed, metavar="S", help="seed of the masks (default: the file name, as in fastMRI)")
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
        default=Request.iterations,
        metavar="N",
        help="iteration budget, as bart pics -i (default: %(default)s)",
    )
    add(
        "--tune-on",
        nargs="+",
        default=[],
        metavar="FILE",
        help="tune the weights of tv and wavelets on these (default: on FILES, each time without the one reported)",
    )
    add_device_option(add)
    add_jobs_option(add)
    add("--out", default="comparison", metavar="DIR", help="output folder (default: %(default)s)")
    add("--report-slices", type=positive, metavar="N", help="slices of each volume to show (default: 3, or 1 of many)")
    add(
        "--panels",
        choices=PLACES,
        default="auto",
        help="images inside the page, or in files beside it that load when shown (default: inside while they fit)",
    )
    add(
        "--error-maps",
        action="store_true",
        help="estimate the error of every pixel: errors/*.cfl and a figure of the report; seven times as long",
    )
    add("--skip-empty", action="store_true", help="leave out slices that are zero everywhere instead of the whole file")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with an earlier run in DIR (this is the default)")
    again.add_argument("--overwrite", action="store_true", help="replace an earlier run in DIR")
    add("--sens-maps", metavar="FILE", help="coil sensitivities of all FILES (default: the files' own, or estimated)")
    add_reading_options(parser)
    add_common_options(parser)
    return parser


def request_of(args: argparse.Namespace) -> Request:
    """Return what the options ask for, as values."""
    return Request(
        files=args.files,
        methods=args.methods,
        untrained=args.untrained,
        bart=args.bart,
        bart_weights=args.bart_weights,
        masks=args.mask,
        accelerations=args.acceleration,
        center_fractions=args.center_fraction,
        slices=args.slices,
        seed=args.seed,
        fixed_weights={"tv": args.tv_weight, "wavelet": args.wavelet_weight},
        iterations=args.tv_iterations,
        device=checked_device(args.device),
        workers=args.jobs or provenance.available_cores(),
        tune_on=args.tune_on,
        reading=reading_of(args),
        sens_maps=args.sens_maps,
    )


def _compare(arguments: list[str], program: str) -> int:
    args = argument_parser(program).parse_args(arguments)
    log = progress.log()
    load_plugins(args.plugin)
    plan = make_plan(request_of(args))
    folder = Path(args.out)
    require_writable(folder)
    ours = [*existing(folder, (*results.WRITTEN, *report_files.WRITTEN)), *report_files.report_files(folder)]
    require_apart(ours, _read(args, plan), f"choose another --out than {folder}, where it would be replaced or removed")
    from csmri_ext.metrics import METRIC_VARIANT  # scikit-image takes a second to load; errors above come at once

    everything = [*plan.volumes, *plan.validation]
    if args.skip_empty:
        plan.leave_out_empty()
    with progress.stage("reading", sum(len(volume.slices) for volume in everything), log) as reading:
        plan.keep(inspect(everything, reading.advance, plan.failed))
    if not plan.volumes:
        raise InputError("none of FILES can be used")
    plan.describe_masks()
    left_out = plan.left_out
    if not plan.pairs():
        raise InputError("; ".join(left_out))
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(folder, plan.settings, [volume.describe() for volume in plan.volumes], plan.masks)
    if args.overwrite and store.discard_earlier():
        remove_report(folder)
    finished = _take_over(store, "--resume: " if args.resume else "")
    require_same_weights(plan, store)
    if finished:
        log.print(f"resuming: {finished} finished rows in {folder}", markup=False, highlight=False, soft_wrap=True)
    told = notes(plan, args.files)
    told += [f"left out: {text}" for text in left_out]
    told += [f"{row.method} on {row.volume}: its images were cut off, so it is done again" for row in store.damaged]
    if args.files:
        acquisitions = [(volume.label, volume.acquisition) for volume in plan.volumes]
        plan.read, plan.heard = readings(acquisitions), warn(acquisitions)
    for note in told:
        log.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    store.provenance |= {
        "command": provenance.command_line(program, arguments),
        **provenance.environment(plan.setup.bart),
        "metric": METRIC_VARIANT,
        "seed": "mask seeded by file name, as in fastMRI" if args.seed is None else args.seed,
        "notes": told + plan.read + plan.heard,
        "networks": [method.network.facts() for method in plan.methods if method.network is not None],
        "planned": plan.planned,
    }
    try:
        choose_weights(plan, store, log)
        run(plan, store, log)
        if args.error_maps:
            add_error_maps(plan, store, log)
    except KeyboardInterrupt as stop:
        store.provenance["stopped"] = {"at": provenance.now(), "by": str(stop) or "SIGINT"}
        if store.rows:
            settle(plan, store)  # before the drawing, which a second signal or the end of the job may cut short
        raise
    finally:  # also after Ctrl-C or an error: what has finished is kept, and shown
        if store.rows:
            publish(plan, store, args.report_slices, args.panels)
    for what, why in plan.failed:
        sys.stderr.write(f"failed: {what}: {why}\n")
    for _, why in plan.failed_rows:
        sys.stderr.write(f"error: {why}\n")
    return BAD_INPUT if plan.failed or plan.failed_rows else 0


def _read(args: argparse.Namespace, plan: Plan) -> dict[str, list[Path]]:
    """Everything that is read, by what it is, as `require_apart` takes it."""
    networks = [method.network for method in plan.methods if method.network is not None]
    return {
        "an input": files_of(args.files),
        "what --tune-on reads": files_of(args.tune_on),
        "what --sens-maps reads": [Path(args.sens_maps)] if args.sens_maps else [],
        "what --mask reads": [Path(word) for word in args.mask if is_mask_file(word)],
        "what --bart-weights reads": [Path(file) for file in args.bart_weights],
        "the weights of a method": [network.file for network in networks if network.file is not None],
        "what --plugin reads": plugin_files(args.plugin),
    }


def _take_over(store: Store, asked: str) -> int:
    try:
        return store.resume(or_else=", or replace it with --overwrite", also=report_files.WRITTEN)
    except InputError as error:
        raise InputError(f"{asked}{error}") from error


def notes(plan: Plan, files: Sequence[str]) -> list[str]:
    """Say what a reader of the results has to know: which data had a mask of their own, which are simulated."""
    from csmri_ext.physics import mask_kinds

    texts = [] if files else ["no FILES given: the data are a procedural phantom"]
    own = [volume.label for volume in plan.volumes if volume.acquisition.mask is not None]
    if own:
        texts.append(
            f"{', '.join(first_few(own, 5))}: undersampled by the scanner; reconstructed with the mask of the data, "
            "--mask and --acceleration do not apply"
        )
    without = [volume.label for volume in plan.volumes if volume.acquisition.target is None]
    if without:
        names = ", ".join(first_few(without, 5))
        texts.append(f"{names}: no fully sampled reference, so no image metric; see the k-space residual")
    texts += [f"{m.name}: untrained, its weights are random" for m in plan.methods if not m.trained]
    pairs = plan.pairs()
    applied = {sampling for _, sampling in pairs}
    unfamiliar = training_note(
        plan.methods,
        sorted({sampling.kind for sampling in applied if sampling.kind in mask_kinds()}),
        sorted({sampling.acceleration for sampling in applied if sampling.acceleration is not None}),
        max(volume.acquisition.n_coils for volume in plan.volumes),
    )
    texts += [unfamiliar] if unfamiliar else []
    texts += plan.setup.notes(pairs, plan.methods)
    empty = [f"{len(volume.skipped)} of {volume.label}" for volume in plan.volumes if volume.skipped]
    texts += [f"empty slices left out: {', '.join(first_few(empty, 5))}"] if empty else []
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
                f"{row.method} has other weights now ({network.weights}) than in the finished rows "
                f"({row.details.get('weights')}); choose another --out, or replace them with --overwrite"
            )


def settle(plan: Plan, store: Store) -> None:
    """Write the rows of everybody, with what failed and what is missing."""
    store.provenance["failed"] = [{"what": what, "why": why} for what, why in (*plan.failed, *plan.failed_rows)]
    store.refresh()
    store.provenance["bart_argv"] = provenance.bart_arguments(store.rows)
    store.write()


def publish(plan: Plan, store: Store, slices_shown: int | None, place: str) -> None:
    """Write the report of the finished rows and print the table."""
    from csmri_ext.recon.panels import build_panels
    from csmri_ext.report.page import write_report
    from csmri_ext.report.viewer import size_words

    settle(plan, store)
    groups = summarise(store.rows, store.provenance["planned"])
    seeds = over_seeds(groups, store.provenance.get("networks") or [])
    store.provenance["statistics"] = as_provenance(groups, paired_differences(groups)) | {
        "seeds": [asdict(one) for one in seeds]
    }
    store.write()
    panels = build_panels(store, plan.volumes, plan.setup.seed, slices_shown, plan.grid)
    page = write_report(store.folder, Comparison(store.rows, panels, store.provenance, place))
    console = Console() if sys.stdout.isatty() else Console(width=160)
    print_tables(store.rows, store.provenance["metric"], console, store.provenance)
    for line in plan.read:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"report: {page}{size_words(page)}", markup=False, highlight=False, soft_wrap=True)


main = main_of(_compare, PROGRAM)

if __name__ == "__main__":
    sys.exit(main())
