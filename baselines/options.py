"""Command-line values of the methods and of the machine that several commands share."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from baselines.methods import Method
from csmri_ext.bridge import BartError, find_bart
from csmri_ext.errors import InputError


def weight(text: str) -> float:
    """Parse a regularisation weight: finite and positive."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number


def shard(text: str) -> tuple[int, int]:
    """Parse a part of the work: ``"2/4"``, the second of four, is (1, 4)."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 1 to N")
    return int(number) - 1, int(count)


def weight_or_auto(text: str) -> float | None:
    """Parse a regularisation weight, or ``auto`` (None)."""
    try:
        return None if text == "auto" else weight(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor 'auto'") from None


def bart_path(wanted: bool, methods: Sequence[Method]) -> str | None:
    """Find BART's program where ``--bart`` or one of the methods asks for it; None where nobody does.

    Raises
    ------
    InputError
        If it is needed and not installed; says what to install.
    """
    needing = [method.name for method in methods if method.needs_bart]
    if not wanted and not needing:
        return None
    try:
        return find_bart()
    except BartError as error:
        who = "--bart" if wanted else f"method {needing[0]}"
        raise InputError(f"{who} needs BART. {error}") from error


def checked_device(name: str) -> str:
    """Return the device where it can be used.

    Raises
    ------
    InputError
        If ``cuda`` is asked for and torch sees no GPU.
    """
    if name == "cuda":
        import torch

        if not torch.cuda.is_available():
            build = "no GPU is visible" if torch.version.cuda else "this torch is a CPU build"
            raise InputError(f"--device cuda: {build}; use --device cpu (csmri doctor shows the configuration)")
    return name
