"""Options of several commands, each with one word and one meaning; words of earlier versions go on to work, unseen."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

from csmri_ext.commands.parser import ArgumentParser
from csmri_ext.commands.values import acceleration, helpers, positive, processes, share, slices

Add = Callable[..., argparse.Action]
"""``add_argument`` of a parser or of a group."""


def add_option(add: Add, word: str, *, before: Sequence[str] = (), **how: Any) -> None:
    """Add an option, and its words of earlier versions, which no help shows.

    Parameters
    ----------
    add
        See above.
    word
        The option, such as ``--mask``.
    before
        Other words for the same.
    how
        Of ``add_argument``.
    """
    action = add(word, **how)
    silent = {key: value for key, value in how.items() if key not in ("default", "help", "dest")}
    for other in before:
        add(other, dest=action.dest, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **silent)


def add_mask_options(
    add: Add, masks: Sequence[str] | None = None, accelerations: Sequence[float] | None = None
) -> None:
    """Add ``--mask`` and ``--acceleration`` of a training, as `masks` and `accelerations`.

    Parameters
    ----------
    add
        As in `add_option`.
    masks, accelerations
        Defaults.
    """
    kinds: dict[str, Any] = {"nargs": "+", "metavar": "KIND|FILE", "default": masks}
    told = "kinds of mask, or files of masks; each slice draws one"
    add_option(add, "--mask", before=["--masks"], dest="masks", help=told, **kinds)
    told = "accelerations; each slice draws one"
    numbers: dict[str, Any] = {"nargs": "+", "type": acceleration, "metavar": "R", "default": accelerations}
    add_option(add, "--acceleration", before=["--accelerations"], dest="accelerations", help=told, **numbers)


def add_slices_option(add: Add, *, before: Sequence[str] = ()) -> None:
    """Add ``--slices``: a number, or a share, of the slices of each volume, around its middle.

    Parameters
    ----------
    add, before
        As in `add_option`; ``--middle`` was a share from 0 to 1, and ``--limit`` a number.
    """
    add("--slices", type=slices, metavar="N|P%", help="N slices, or P%% of them, from the middle of each volume")
    parse = {"--middle": share, "--limit": positive}
    for other in before:
        add(other, dest="slices", type=parse[other], default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def add_device_option(add: Add, default: str = "cpu") -> None:
    """Add ``--device``."""
    add(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default=default,
        help="where to compute; auto: on the GPU, if there is one (default: %(default)s)",
    )


def add_bart_weights_option(add: Add, *, several: bool) -> None:
    """Add ``--bart-weights``, of one network or of `several`."""
    how: dict[str, Any] = {"nargs": "+", "default": []} if several else {}
    told = "weights that bart reconet -t wrote: run its network (modl-bart, varnet-bart)"
    add("--bart-weights", metavar="FILE", help=told, **how)


def add_jobs_option(add: Add) -> None:
    """Add ``--jobs``."""
    add_option(
        add,
        "--jobs",
        before=["--workers"],
        type=processes,
        metavar="N",
        help="slices solved at the same time (default: the number of cores)",
    )


def add_workers_option(add: Add) -> None:
    """Add ``--workers``, of a training."""
    add("--workers", type=helpers, default=0, metavar="N", help="processes that read ahead (default: %(default)s)")


def add_json_option(parser: ArgumentParser) -> None:
    """Add ``--json``, of a command that tells what is."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def as_json(value: Any) -> str:
    """Write what ``--json`` asks for."""
    return json.dumps(value, indent=2, default=str)


def add_common_options(parser: ArgumentParser, *, quiet: bool = True) -> None:
    """Add what every command has: ``--debug``, and ``--quiet`` where it does more than to print.

    Parameters
    ----------
    parser
        Of the command.
    quiet
        Whether there is anything to leave out.
    """
    if quiet:
        parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but warnings and errors")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
