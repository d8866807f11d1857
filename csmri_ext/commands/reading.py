"""How files are read: the options that every command which reads has, and what it tells about them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from csmri_ext.bridge import Acquisition, parse_axes, reading
from csmri_ext.bridge.arrays.domain import DOMAINS
from csmri_ext.bridge.first_few import first_few
from csmri_ext.bridge.load import Files
from csmri_ext.commands.values import count, shown

NAMES = ("axes", "key", "domain", "plane", "volume", "frames", "phase_encoding", "force")
_MOST_FRAMES = 10**5
_SHOWN = 4  # files named beside a reading or a warning that they share


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--axes`` and what goes with it."""
    group = parser.add_argument_group("how files are read", "See docs/files_and_axes.md; `csmri doctor FILE` shows it.")
    add = group.add_argument
    add("--axes", type=_axes, metavar="'coil y x'", help="axes of bare arrays (.npy .mat ...): slice coil y x frame")
    add("--key", metavar="NAME", help="the array to read of a file with several (.npz .mat .h5)")
    add("--domain", choices=DOMAINS, help="what a bare array holds (default: kspace if complex, unless called images)")
    add("--plane", choices=("axial", "coronal", "sagittal"), help="slices of NIfTI volumes (default: best resolution)")
    add("--volume", type=count, metavar="N", help="which volume of a NIfTI file with four axes, from 0")
    add("--frames", type=_frames, metavar="0,2-4", help="frames, repetitions or averages to read (default: all)")
    add(
        "--phase-encoding",
        metavar="x|y|PHS1",
        help="the axis that masks undersample, as read without this option, or BART's (default: x)",
    )
    add("--force", action="store_true", default=None, help="read what looks wrong: spokes, negative images ...")


def reading_of(args: argparse.Namespace) -> Files:
    """Return what opens files as the options say."""
    return Files({name: getattr(args, name) for name in NAMES if getattr(args, name) is not None})


def reading_words(args: argparse.Namespace) -> list[str]:
    """Write the options that were given again, for a command that reads the same files."""
    words: list[str] = []
    for name in NAMES:
        value = getattr(args, name)
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value is not None:
            words += [option, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return words


def tell(acquisitions: Sequence[tuple[str, Acquisition]], console: Console) -> None:
    """Say how files were read, and what `csmri doctor` would warn of, one line for all files alike.

    Parameters
    ----------
    acquisitions
        Names and what was read.
    console
        Where to say how they were read; warnings go to stderr, whatever is not to be said.
    """
    for line in readings(acquisitions):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    warn(acquisitions)


def readings(acquisitions: Sequence[tuple[str, Acquisition]]) -> list[str]:
    """Say how files were read, one line for all files alike."""
    read: dict[str, list[str]] = {}
    for name, acquisition in acquisitions:
        if "axes" in acquisition.attrs:
            read.setdefault(reading(acquisition), []).append(name)
    return [f"{', '.join(first_few(names, _SHOWN))}: read as {text}" for text, names in read.items()]


def warn(acquisitions: Sequence[tuple[str, Acquisition]]) -> list[str]:
    """Say what `csmri doctor` would warn of, and return it: one line for all files alike, without the word warning."""
    from csmri_ext.data.examine import serious

    warned: dict[str, list[str]] = {}
    for name, acquisition in acquisitions:
        for text in serious(acquisition):
            warned.setdefault(text, []).append(name)
    lines = [f"{', '.join(first_few(names, _SHOWN))}: {text}" for text, names in warned.items()]
    for line in lines:
        sys.stderr.write(f"warning: {line}\n")
    return lines


def _axes(text: str) -> str:
    try:
        parse_axes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _frames(text: str) -> tuple[int, ...]:
    """Parse ``"0,2-4"`` as (0, 2, 3, 4)."""
    frames: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise argparse.ArgumentTypeError(f"{shown(text)} is no list of frames such as 0,2-4")
        begin, end = count(first), count(last or first)
        if end < begin:
            raise argparse.ArgumentTypeError(f"{shown(text)} is no list of frames such as 0,2-4")
        if len(frames) + end - begin > _MOST_FRAMES:
            raise argparse.ArgumentTypeError(f"{shown(text)} names too many frames")
        frames += range(begin, end + 1)
    return tuple(dict.fromkeys(frames))
