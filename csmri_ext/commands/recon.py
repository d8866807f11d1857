"""Reconstruct a file, or a folder of files, with one method: ``csmri recon IN OUT --method NAME``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from csmri_ext import __version__
from csmri_ext.bridge import Acquisition, load, write_cfl, write_reconstructions
from csmri_ext.bridge.atomic import clear_leftovers, replacing
from csmri_ext.bridge.bart_files.header import N_DIMS
from csmri_ext.bridge.fourier import center_crop
from csmri_ext.bridge.records import KEY, Record, as_json, h5_attributes, npy_line
from csmri_ext.commands.machine import bart_path, checked_device
from csmri_ext.commands.parser import ArgumentParser, run_command
from csmri_ext.commands.plugin_option import add_plugin_option, load_plugins
from csmri_ext.commands.values import positive, seed, shard, weight
from csmri_ext.errors import InputError, naming
from csmri_ext.recon.evaluate import Problems, Setup
from csmri_ext.recon.inputs import central
from csmri_ext.recon.methods import Method, get, is_file_of_weights, listing, of_weights, require_trained
from csmri_ext.recon.network_method import FILES_OF_WEIGHTS
from csmri_ext.recon.problem import TV_ITERATIONS, TV_WEIGHT
from csmri_ext.recon.result_record import Settings, make_record, settings_of, what_differs
from csmri_ext.recon.sampling import OWN_MASK, Sampling, sampling_grid
from csmri_ext.recon.volumes import Volume
from csmri_ext.report.provenance import available_cores, command_line, shareable
from csmri_ext.report.rows import ChosenWeight

PROGRAM = "csmri recon"


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run the command line and return its exit code: 0, 2 for bad input, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return run_command(lambda: _recon(arguments, program), debug="--debug" in arguments)


def argument_parser(program: str = PROGRAM) -> ArgumentParser:
    """Options of the command."""
    parser = ArgumentParser(
        prog=program,
        allow_abbrev=False,
        description="Reconstruct k-space: undersampled files as they are, fully sampled ones after --mask.",
        epilog=listing(),
    )
    add = parser.add_argument
    add("input", metavar="IN", help="k-space (.cfl .h5 .npy .mat ...) or images (.nii .png ...), or a folder of them")
    add("output", metavar="OUT", help=f"images, by extension: {', '.join(_WRITERS)}; or a folder")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--method", metavar="NAME", help="any method of csmri compare (default: tv)")
    choice.add_argument("--model", metavar="NAME", help="the same, as networks are usually called")
    add("--weights", metavar="FILE", help="the network of this file; --model says which, where the file does not")
    add_plugin_option(add)
    add("--untrained", action="store_true", help="run a network that has no weights, with random ones")
    add("--mask", metavar="KIND", help="undersample fully sampled data with this kind of mask")
    add("--acceleration", type=float, metavar="R", help="with --mask: acceleration (default: 4)")
    add("--center-fraction", type=float, metavar="F", help="with --mask: fully sampled centre (default: 0.32 / R)")
    add("--seed", type=seed, help="with --mask: seed (default: the file name, as in fastMRI)")
    add("--sens-maps", metavar="FILE", help="coil sensitivities (.cfl, as from bart ecalib -m 1); default: estimated")
    add("--bart", action="store_true", help="take coil sensitivities from bart ecalib")
    add("--slices", type=positive, metavar="N", help="only the N middle slices (default: all)")
    add("--tv-weight", type=weight, default=TV_WEIGHT, metavar="W", help="regularisation weight (default: %(default)s)")
    add(
        "--tv-iterations",
        type=positive,
        default=TV_ITERATIONS,
        metavar="N",
        help="as bart pics -i (default: %(default)s)",
    )
    add("--full", action="store_true", help="keep the whole matrix where the file asks for a crop, as fastMRI's does")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where methods that can choose run")
    add("--workers", type=positive, help="slices solved at the same time (default: the number of cores)")
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
    folder.add_argument("--overwrite", action="store_true", help="redo results that other settings made")
    add("--debug", action="store_true", help="show the traceback of an error")
    return parser


# Words that decide nothing about the pixels of a result: where it lies, how fast it comes, how much is told.
_NOT_SETTINGS = {
    "input", "output", "method", "model", "weights", "plugin", "device", "workers", "format", "shard", "overwrite", "debug",
}  # fmt: skip


def _recon(arguments: list[str], program: str) -> int:
    args = argument_parser(program).parse_args(arguments)
    load_plugins(args.plugin)
    method = _method(args)
    bart = bart_path(args.bart, [method])
    checked_device(args.device)
    grid = _grid(args.mask, args.acceleration, args.center_fraction)
    command = command_line(program, arguments)
    settings = settings_of(method, {key: word for key, word in vars(args).items() if key not in _NOT_SETTINGS})

    def reconstruct(source: str, output: Path) -> str:
        return _reconstruct(source, output, method, grid, bart, args, command, settings)

    def difference(source: Path, result: Path) -> str | None:
        return what_differs(source, result, settings)

    if Path(args.input).is_dir():
        from csmri_ext.recon.folder import reconstruct_folder

        if args.sens_maps:
            raise InputError("--sens-maps goes with one file, not with a folder")
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
        )
    for option in ("format", "shard"):
        if getattr(args, option) is not None:
            raise InputError(f"--{option} goes with a folder, and {args.input} is none")
    clear_leftovers(Path(args.output).parent, name=Path(args.output).name)
    sys.stdout.write(reconstruct(args.input, Path(args.output)) + "\n")
    return 0


def _method(args: argparse.Namespace) -> Method:
    """Find the method: by name, or the network of a file of weights."""
    if args.weights is None:
        return require_trained(get(args.model, "model") if args.model else get(args.method or "tv"), args.untrained)
    if args.method is not None:
        raise InputError("--weights FILE is a method of its own: leave out --method, or say --model NAME")
    if not is_file_of_weights(args.weights):
        raise InputError(f"--weights {args.weights}: expected a file that ends in {', '.join(FILES_OF_WEIGHTS)}")
    word = f"{args.model}={args.weights}" if args.model else args.weights
    return of_weights([word])[word]


def _reconstruct(
    source: str,
    output: Path,
    method: Method,
    grid: Sequence[Sampling],
    bart: str | None,
    args: argparse.Namespace,
    command: str,
    settings: Settings,
) -> str:
    """Reconstruct one file, and say in one line what was done."""
    write = _writer(output, Path(source))
    acquisition = _load(source, args.sens_maps)
    volume = Volume(acquisition.name, acquisition, central(acquisition.n_slices, args.slices), shareable(source))
    sampling = _sampling(volume, grid)
    sampling.mask(volume, args.seed)
    volume.check()
    setup = Setup(
        seed=args.seed,
        bart=bart,
        iterations=args.tv_iterations,
        device=args.device,
        workers=args.workers or available_cores(),
        weights={(sampling, volume.label): dict.fromkeys(("tv", "wavelet"), ChosenWeight(args.tv_weight))},
    )
    start = time.perf_counter()
    problems = Problems(setup)
    size = acquisition.matrix_size if args.full else volume.image_size
    images = [
        center_crop(method.reconstruct(problems.get(volume, sampling, slices)).image, size)
        for slices in volume.chunks()
    ]
    image = np.concatenate(images).astype(np.complex64)
    if not np.isfinite(image).all():
        raise InputError(f"{method.name} on {volume.label}: the image has NaN or infinite pixels")
    found = Path(acquisition.attrs.get("path") or source)
    record = make_record(command, __version__, method, settings, found, volume, sampling, setup)
    with naming(output):
        write(output, image, acquisition, record)
    seconds = time.perf_counter() - start
    count = "1 slice" if len(image) == 1 else f"{len(image)} slices"
    mask = "fully sampled" if sampling.mask(volume, args.seed).all() else sampling.title
    name = method.name if method.trained else f"{method.name} (untrained: random weights)"
    return f"{output}: {name}, {count} of {size[0]} x {size[1]}, {mask}, {seconds:.1f} s"


def _load(path: str, sens_maps: str | None) -> Acquisition:
    if sens_maps is None:
        return load(path)
    try:
        return load(path, sens_maps=sens_maps)
    except TypeError as error:
        raise InputError(f"--sens-maps goes with k-space in .cfl files, not with {path}") from error


def _grid(kind: str | None, acceleration: float | None, fraction: float | None) -> list[Sampling]:
    """Give the mask setting that was asked for; empty where none was."""
    if kind is None:
        if acceleration is not None or fraction is not None:
            raise InputError("--acceleration and --center-fraction go with --mask KIND")
        return []
    return sampling_grid(
        [kind], [4.0 if acceleration is None else acceleration], None if fraction is None else [fraction]
    )


def _sampling(volume: Volume, grid: Sequence[Sampling]) -> Sampling:
    """Use the file's own mask, the mask asked for, or every sample."""
    acquisition = volume.acquisition
    if not grid:
        if acquisition.mask is None:
            acquisition.mask = np.ones(acquisition.matrix_size[1], dtype=bool)
        return Sampling(OWN_MASK)
    if acquisition.mask is not None:
        raise InputError(f"{volume.source} is undersampled already: leave out --mask")
    return grid[0]


Writer = Callable[[Path, NDArray[np.complex64], Acquisition, Record], None]


def checked_ending(ending: str, where: object) -> str:
    """Return the extension in lower case where there is a writer for it."""
    if ending.lower() not in _WRITERS:
        raise InputError(f"{where}: unknown type of output {ending!r}; known: {', '.join(_WRITERS)}")
    return ending.lower()


def _writer(output: Path, source: Path) -> Writer:
    ending = checked_ending(output.suffix, output)
    if not output.parent.is_dir():
        raise InputError(f"{output}: no folder {output.parent}")
    if output.is_dir():
        raise InputError(f"{output} is a folder")
    if output.exists() and source.exists() and output.samefile(source):
        raise InputError(f"{output} is the input: choose another name for the result")
    return _WRITERS[ending]


def as_bart_image(images: NDArray[np.complex64], acquisition: Acquisition) -> NDArray[np.complex64]:
    """Lay images out as BART would beside the k-space they came from.

    Parameters
    ----------
    images
        complex64 ``(slices, h, w)``.
    acquisition
        Its ``attrs["dims"]`` and ``attrs["image_dims"]`` say where a ``.cfl`` file had its axes.

    Returns
    -------
        A view of 16 BART dimensions; by default ``w h 1 ... slices 1 1`` with the slices on 13.
    """
    y_dim, x_dim = acquisition.attrs.get("image_dims", (1, 0))
    dims = acquisition.attrs.get("dims", ())
    slice_dim = next((dim for dim in (10, 13, 15) if dim < len(dims) and dims[dim] > 1), 13)
    placed = sorted(zip((slice_dim, y_dim, x_dim), range(3), strict=True))
    shape = [1] * N_DIMS
    for dim, axis in placed:
        shape[dim] = images.shape[axis]
    return images.transpose([axis for _, axis in placed]).reshape(shape)


def _write_cfl(path: Path, images: NDArray[np.complex64], acquisition: Acquisition, record: Record) -> None:
    earlier = acquisition.attrs.get("command")
    history = [*([earlier] if earlier else []), record["command"]]
    write_cfl(path, as_bart_image(images, acquisition), history=history, provenance=record)


def _write_h5(path: Path, images: NDArray[np.complex64], _: Acquisition, record: Record) -> None:
    write_reconstructions(path, images, attrs=h5_attributes(record))


def _write_npy(path: Path, images: NDArray[np.complex64], _: Acquisition, record: Record) -> None:
    images = np.ascontiguousarray(images)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(images))
        file.write(images.data)  # numpy's own writer would not say why it failed on a full disk
        file.write(npy_line(record))


def _write_png(path: Path, images: NDArray[np.complex64], _: Acquisition, record: Record) -> None:
    """Write magnitudes as 8-bit gray, the brightest pixel white; several slices as one mosaic, row by row."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    magnitude = np.abs(images)
    n, h, w = magnitude.shape
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    canvas = np.zeros((rows * columns, h, w), np.float32)
    canvas[:n] = magnitude / (magnitude.max() or 1)
    mosaic = canvas.reshape(rows, columns, h, w).swapaxes(1, 2).reshape(rows * h, columns * w)
    texts = PngInfo()
    texts.add_itxt(KEY, as_json(record))
    with replacing(path) as temporary, temporary.open("wb") as file:
        Image.fromarray(np.round(255 * mosaic).astype(np.uint8)).save(file, format="PNG", pnginfo=texts)


_WRITERS: dict[str, Writer] = {".cfl": _write_cfl, ".h5": _write_h5, ".png": _write_png, ".npy": _write_npy}


if __name__ == "__main__":
    sys.exit(main())
