"""Reconstruct a file, or a folder of files, with one method: ``csmri recon IN OUT --method NAME``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from csmri_ext.bridge import FileFormatError
from csmri_ext.bridge.atomic import clear_leftovers
from csmri_ext.bridge.bart_files.cfl import data_file
from csmri_ext.bridge.load import Files
from csmri_ext.bridge.mask_file import is_mask_file
from csmri_ext.commands.image_writers import WRITERS, checked_ending, output_file, writer_for
from csmri_ext.commands.machine import checked_device
from csmri_ext.commands.parser import ArgumentParser, main_of
from csmri_ext.commands.plugin_option import add_plugin_option, load_plugins
from csmri_ext.commands.reading import add_reading_options, reading_of
from csmri_ext.commands.reconstruct_file import FileReconstruction
from csmri_ext.commands.shared_options import (
    add_bart_weights_option,
    add_common_options,
    add_device_option,
    add_jobs_option,
    add_option,
    add_slices_option,
)
from csmri_ext.commands.values import acceleration, center_fraction, positive, seed, shard, weight
from csmri_ext.errors import InputError
from csmri_ext.outputs import require_apart, written_as
from csmri_ext.progress import log
from csmri_ext.recon.bart_networks import of_bart_weights
from csmri_ext.recon.bart_path import bart_path
from csmri_ext.recon.methods import (
    OF_BART_WEIGHTS,
    Method,
    get,
    is_file_of_weights,
    listing,
    of_weights,
    require_trained,
)
from csmri_ext.recon.network_method import FILES_OF_WEIGHTS
from csmri_ext.recon.problem import TV_ITERATIONS, TV_WEIGHT
from csmri_ext.recon.result_record import settings_of, what_differs
from csmri_ext.recon.sampling import Sampling, sampling_grid
from csmri_ext.report.provenance import command_line, file_sha256

PROGRAM = "csmri recon"


def argument_parser(program: str = PROGRAM) -> ArgumentParser:
    """Options of the command."""
    parser = ArgumentParser(
        program,
        "IN OUT",
        description="Reconstruct k-space: undersampled files as they are, fully sampled ones after --mask.",
        epilog=listing(),
    )
    add = parser.add_argument
    add("input", metavar="IN", help="k-space (.cfl .h5 .npy .mat ...) or images (.nii .png ...), or a folder of them")
    add(
        "output",
        metavar="OUT",
        help=f"images, by extension: {', '.join(WRITERS)}; none: .cfl, as BART names its files. Or a folder",
    )
    add_option(
        add,
        "--method",
        before=["--methods"],
        metavar="NAME",
        help="any method of csmri compare (default: tv), see below",
    )
    add("--weights", metavar="FILE", help="run the network of this file")
    add_bart_weights_option(add, several=False)
    add("--model", metavar="NAME", help="which network --weights FILE is of, where the file does not say it")
    add_plugin_option(add)
    add("--untrained", action="store_true", help="run a network that has no weights, with random ones")
    add(
        "--adapt",
        action="store_true",
        help="first fit the network to the samples of this file, judged by samples held back: better images, slower",
    )
    add(
        "--adapt-steps",
        type=positive,
        default=60,
        metavar="N",
        help="with --adapt: stop after N steps (default: %(default)s)",
    )
    add("--adapt-seconds", type=weight, metavar="S", help="with --adapt: stop after S seconds (default: no limit)")
    add(
        "--mirrored",
        action="store_true",
        help="take the mean of what the network makes of the data and of their mirror images, one reconstruction each",
    )
    add(
        "--error-map",
        metavar="FILE",
        help="also write an estimate of the error of every pixel to FILE, of the same kinds as OUT",
    )
    add_option(
        add,
        "--mask",
        before=["--masks"],
        metavar="KIND|FILE",
        help="undersample fully sampled data with this kind of mask, or the mask of a file",
    )
    add_option(
        add,
        "--acceleration",
        before=["--accelerations"],
        type=acceleration,
        metavar="R",
        help="with --mask: acceleration (default: 4)",
    )
    add(
        "--center-fraction",
        type=center_fraction,
        metavar="F",
        help="with --mask: fully sampled centre (default: 0.32 / R)",
    )
    add("--seed", type=seed, metavar="S", help="with --mask: seed (default: the file name, as in fastMRI)")
    add(
        "--sens-maps",
        metavar="FILE",
        help="coil sensitivities (.cfl .npy .npz .mat .h5); default: the file's own, or estimated",
    )
    add("--bart", action="store_true", help="take coil sensitivities from bart ecalib")
    add_slices_option(add)
    add("--tv-weight", type=weight, default=TV_WEIGHT, metavar="W", help="regularization weight (default: %(default)s)")
    add(
        "--tv-iterations",
        type=positive,
        default=TV_ITERATIONS,
        metavar="N",
        help="as bart pics -i (default: %(default)s)",
    )
    add("--overwrite", action="store_true", help="replace results that other settings made")
    add(
        "--full",
        action="store_true",
        help="keep the whole matrix where the file asks for a crop, as fastMRI's files do",
    )
    add_device_option(add)
    add_jobs_option(add)
    folder = parser.add_argument_group(
        "folders",
        "Every file below IN, to the same name below OUT; the same command goes on where it was stopped.",
    )
    folder.add_argument("--format", metavar=".EXT", help="extension of the results (default: .h5)")
    folder.add_argument(
        "--shard",
        type=shard,
        metavar="I/N",
        help="do part I of N of the files (default: as SLURM or torchrun numbers the processes)",
    )
    add_reading_options(parser)
    add_common_options(parser)
    return parser


# Words that decide nothing about the pixels of a result: where it lies, how fast it comes, how much is told.
_NOT_SETTINGS = {
    "input", "output", "method", "model", "weights", "bart_weights", "plugin", "error_map",
    "device", "jobs", "format", "shard", "overwrite", "quiet", "debug",
}  # fmt: skip


def _recon(arguments: list[str], program: str) -> int:
    args = argument_parser(program).parse_args(arguments)
    load_plugins(args.plugin)
    method = _method(args)
    for option in ("adapt", "mirrored"):
        if getattr(args, option):
            method.network_for(f"--{option}")  # refused before anything is read
    bart = bart_path(args.bart, [method])
    args.device = checked_device(args.device)
    grid = _grid(args.mask, args.acceleration, args.center_fraction)
    command = command_line(program, arguments)
    settings = settings_of(method, {key: word for key, word in vars(args).items() if key not in _NOT_SETTINGS})
    settings |= _named_by_hash(args)
    files = Files({**reading_of(args).options, "sens_maps": args.sens_maps})

    folder = Path(args.input).is_dir()
    files = files.of_many() if folder else files
    console = Console(quiet=True) if folder else log()  # a folder has a progress of its own, of its files

    reconstruct = FileReconstruction(args, method, grid, files, bart, command, settings, console)

    def difference(source: Path, result: Path) -> str | None:
        return what_differs(source, result, settings)

    if folder:
        from csmri_ext.recon.folder import reconstruct_folder

        for option in ("sens_maps", "error_map"):
            if getattr(args, option):
                raise InputError(f"--{option.replace('_', '-')} goes with one file, not with a folder")
        ending = checked_ending(args.format or ".h5", f"--format {args.format}")
        return reconstruct_folder(
            Path(args.input),
            Path(args.output),
            ending,
            reconstruct,
            args.shard,
            args.device,
            difference=difference,
            overwrite=args.overwrite,
            read=_files_read(args),
        )
    for option in ("format", "shard"):
        if getattr(args, option) is not None:
            raise InputError(f"--{option} goes with a folder, and {args.input} is none")
    output = output_file(args.output)
    results = [output, *([output_file(args.error_map)] if args.error_map else [])]
    for result in results:
        writer_for(result, Path(args.input))  # a name that cannot be written says so before anything is compared
        require_apart(written_as(result), _files_read(args))
    if output.resolve() == results[-1].resolve() and args.error_map:
        raise InputError(f"{output}: --error-map needs a name of its own, beside that of the image")
    if not args.overwrite:
        for result in results:
            _require_same_settings(result, Path(args.input), difference)
    clear_leftovers(output.parent, name=output.name)
    sys.stdout.write(reconstruct(args.input, output) + "\n")
    return 0


def _require_same_settings(output: Path, source: Path, difference: Callable[[Path, Path], str | None]) -> None:
    """Refuse to replace a file that other settings, or somebody else, made; one that is cut off may be replaced."""
    if not output.is_file():
        return
    try:
        reason = difference(source, output)
    except FileFormatError:
        return
    if reason:
        raise InputError(f"{output} is there already ({reason}). Choose another OUT, or replace it with --overwrite")


def _method(args: argparse.Namespace) -> Method:
    """Find the method: by name, or the network of a file of weights."""
    if args.bart_weights is not None:
        if args.model or args.weights or args.method not in (None, *OF_BART_WEIGHTS):
            raise InputError("--bart-weights FILE is a method of its own: leave out --method, --weights, --model")
        (method,) = of_bart_weights([args.bart_weights]).values()
        if args.method not in (None, method.name):
            raise InputError(f"--bart-weights {args.bart_weights}: weights of {method.name}, not of {args.method}")
        return method
    if args.method is not None and (args.model or args.weights):
        raise InputError("--weights FILE is a method of its own: leave out --method, or say --model NAME")
    if args.weights is None:
        return require_trained(get(args.model, "model") if args.model else get(args.method or "tv"), args.untrained)
    if not is_file_of_weights(args.weights):
        raise InputError(f"--weights {args.weights}: expected a file that ends in {', '.join(FILES_OF_WEIGHTS)}")
    word = f"{args.model}={args.weights}" if args.model else args.weights
    return of_weights([word])[word]


def _files_read(args: argparse.Namespace) -> dict[str, list[Path]]:
    """Files beside the input, by what they are, as `require_apart` takes them."""
    files = {"--sens-maps": args.sens_maps, "--weights": args.weights, "--bart-weights": args.bart_weights}
    files["--mask"] = args.mask if args.mask and is_mask_file(args.mask) else None
    return {f"what {option} reads": [Path(file)] for option, file in files.items() if file}


def _named_by_hash(args: argparse.Namespace) -> dict[str, str]:
    """Name files of masks and sensitivities by their content: they may change and keep their names."""
    files = {"sens_maps": args.sens_maps, "mask": args.mask if args.mask and is_mask_file(args.mask) else None}
    found = {name: data_file(Path(file)) for name, file in files.items() if file}
    return {name: f"{file.name}, sha256 {file_sha256(file)[:16]}" for name, file in found.items() if file.is_file()}


def _grid(kind: str | None, acceleration: float | None, fraction: float | None) -> list[Sampling]:
    """Give the mask setting that was asked for; empty where none was."""
    if kind is None:
        if acceleration is not None or fraction is not None:
            raise InputError("--acceleration and --center-fraction go with --mask KIND")
        return []
    if is_mask_file(kind) and (acceleration is not None or fraction is not None):
        raise InputError(f"--acceleration and --center-fraction go with a kind of mask, not with the file {kind}")
    return sampling_grid(
        [kind], [4.0 if acceleration is None else acceleration], None if fraction is None else [fraction]
    )


main = main_of(_recon, PROGRAM)

if __name__ == "__main__":
    sys.exit(main())
