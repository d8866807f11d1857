"""Values on the command line that every command writes alike: parsed, and explained when wrong."""

from __future__ import annotations

import argparse
import math


def positive(text: str) -> int:
    """Parse a count: an integer of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return number


def count(text: str) -> int:
    """Parse a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def slices(text: str) -> int | float:
    """Parse how much of a volume is wanted: ``10``, the ten middle slices, or ``60%`` of them."""
    return share(text.removesuffix("%"), of=100) if text.endswith("%") else positive(text)


def seed(text: str) -> int:
    """Parse a seed of numpy's generators: 0 to 2^32 - 1."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return int(text)


def share(text: str, of: int = 1) -> float:
    """Parse a part of a whole: above 0, at most `of`; as a number up to 1."""
    try:
        number = float(text) / of
    except ValueError:
        number = math.nan
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most {of}")
    return number


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
