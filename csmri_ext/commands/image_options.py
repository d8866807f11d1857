"""The images that a command learns from: options that name them, and what the options open."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from csmri_ext.bridge import Acquisition
from csmri_ext.bridge.file_marks import file_marks
from csmri_ext.commands.reading import reading_of, reading_words, tell
from csmri_ext.commands.shared_options import Add, add_slices_option
from csmri_ext.commands.values import positive, seed
from csmri_ext.data.images import Images, files_of, open_images
from csmri_ext.data.shards import PhantomSettings, phantom_shards
from csmri_ext.errors import InputError, blaming_input
from csmri_ext.outputs import existing, require_apart, require_outside
from csmri_ext.progress import stage

if TYPE_CHECKING:
    from rich.console import Console

PHANTOM = "phantom"
_TOLD = 20  # files of a set whose reading is told and whose samples are looked at


def add_image_options(add: Add, volumes: int) -> None:
    """Add ``--data`` and what goes with it.

    Parameters
    ----------
    add
        ``add_argument`` of a parser or of a group.
    volumes
        Phantom subjects that are drawn unless the user says how many.
    """
    settings = PhantomSettings()
    add(
        "--data",
        nargs="+",
        default=[PHANTOM],
        metavar="PATH",
        help="fully sampled files or folders (default: the phantom)",
    )
    add(
        "--volumes",
        type=positive,
        default=volumes,
        metavar="N",
        help=f"phantom subjects, {settings.slices} slices each (default: %(default)s)",
    )
    add(
        "--cache",
        type=Path,
        default=Path("phantom_images"),
        metavar="DIR",
        help="where drawn phantoms are kept (default: %(default)s)",
    )
    add("--phantom-seed", type=seed, default=1000, metavar="S", help="first phantom subject (default: %(default)s)")
    add_slices_option(add, before=["--middle"])


def chosen_images(args: argparse.Namespace, console: Console, workers: int = 1, *, coils: bool = False) -> Images:
    """Open the files, or draw what the cache lacks of the phantom.

    Parameters
    ----------
    args
        With the options of `add_image_options`.
    console
        Where to tell that phantoms are being drawn.
    workers
        Processes that draw.
    coils
        Keep the coils of files apart instead of taking their root sum of squares.

    Raises
    ------
    InputError
        Files and the phantom at once; files that cannot be used; a cache of other phantoms.
    """
    with blaming_input():
        if args.data != [PHANTOM]:
            if PHANTOM in args.data:
                raise InputError("--data phantom cannot be mixed with files")
            return open_and_tell(args, args.data, console, coils=coils)
        with stage("drawing phantoms", args.volumes, console) as drawing:
            return phantom_shards(
                args.cache,
                args.volumes,
                PhantomSettings(seed=args.phantom_seed),
                workers=workers,
                progress=lambda _: drawing.advance(1),
            )


def open_and_tell(
    args: argparse.Namespace,
    paths: Sequence[str],
    console: Console,
    how: Callable[..., Images] = open_images,
    **more: bool,
) -> Images:
    """Open files as the options of `add_reading_options` say, and tell how they were read.

    Parameters
    ----------
    args
        With those options, and `slices`.
    paths
        Files and folders.
    console
        Where to tell it.
    how, more
        `open_images` or `open_scans`, and what else it takes.
    """
    opened: list[tuple[str, Acquisition]] = []
    images = how(
        paths,
        slices=args.slices,
        **more,
        reading=reading_of(args),
        opened=lambda name, acquisition: opened.append((name, acquisition)),
    )
    tell(opened[:_TOLD], console)
    return images


def words_of_images(args: argparse.Namespace) -> list[str]:
    """Write the options again that decide which images files give, for a command that takes the same."""
    slices = args.slices
    if slices is None:
        return reading_words(args)
    return ["--slices", str(slices) if isinstance(slices, int) else f"{100 * slices:g}%", *reading_words(args)]


def described_reading(args: argparse.Namespace) -> str:
    """Write the same for the record of what learns from the images."""
    return shlex.join(words_of_images(args))


def marks_of_images(args: argparse.Namespace) -> dict[str, str]:
    """Tell the files of ``--data`` from others of the same names, for the same record; phantoms have none."""
    return {} if args.data == [PHANTOM] else file_marks(files_of(args.data))


def require_room(args: argparse.Namespace, folder: Path, written: Sequence[str]) -> None:
    """Refuse an output folder that holds images, or where an image would be replaced.

    Parameters
    ----------
    args
        With ``--data``, and ``--validation`` where the command has it.
    folder
        Of the run.
    written
        Names that it writes there, as `csmri_ext.outputs.existing` takes them.

    Raises
    ------
    InputError
        Names both.
    """
    data = [] if args.data == [PHANTOM] else args.data
    paths = [Path(path) for path in [*data, *(getattr(args, "validation", None) or [])]]
    read = [file for file, _ in files_of(paths)] if paths else []  # of folders too: they may lie in that of the run
    require_outside(folder, paths, read)
    require_apart(existing(folder, written), {"an input": read}, "choose another --out")
