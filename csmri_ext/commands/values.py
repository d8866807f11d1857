"""Values on the command line that every command writes alike: parsed, and explained when wrong.

Every option that takes a number has one of these as its type, none has ``int`` or ``float``: those take NaN, infinity,
negative counts and sizes beyond every machine, which then fail far from the word that caused it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

MOST = 2**31 - 1  # what the libraries below take as a count
LONGEST_SIDE = 16_384  # pixels of an image: 2 GiB in complex64
MOST_PROCESSES = 1024
HIGHEST_ACCELERATION = 10_000
_SHOWN = 40  # characters of a word in a message


def whole(least: int, most: int = MOST, what: str = "") -> Callable[[str], int]:
    """Make the parser of whole numbers from `least` to `most`; `what` says it in messages, where that is shorter."""

    def parse(text: str) -> int:
        number = _integer(text)
        if number is None or number < least:
            raise argparse.ArgumentTypeError(f"{shown(text)} is not {what or f'a whole number of at least {least}'}")
        if number > most:
            raise argparse.ArgumentTypeError(f"{shown(text)} is too large; at most {most}")
        return number

    return parse


def real(least: float, most: float = math.inf, *, ends: str = "[]") -> Callable[[str], float]:
    """Make the parser of finite numbers from `least` to `most`; ``(`` and ``)`` in `ends` exclude them."""

    def parse(text: str) -> float:
        number = _real(text)
        above = number >= least if ends[0] == "[" else number > least
        below = number <= most if ends[1] == "]" else number < most
        if not (above and below and math.isfinite(number)):
            low = f"{'at least' if ends[0] == '[' else 'above'} {least:g}"
            high = "" if most == math.inf else f" and {'at most' if ends[1] == ']' else 'below'} {most:g}"
            raise argparse.ArgumentTypeError(f"{shown(text)} is not a number of {low}{high}")
        return number

    return parse


positive = whole(1, what="a positive whole number")
"""A count of at least 1."""

count = whole(0)
"""A count of at least 0."""

side = whole(0, LONGEST_SIDE)
"""Rows and columns of an image; 0 where the images decide."""

pixels = whole(1, LONGEST_SIDE, "a positive whole number")
"""Rows or columns of an image, at least 1."""

processes = whole(1, MOST_PROCESSES, "a positive whole number")
"""Threads or processes, at least 1."""

helpers = whole(0, MOST_PROCESSES)
"""Processes beside the one that works; 0: none."""

coils = whole(1, MOST_PROCESSES, "a positive whole number")
"""Receive coils."""

seed = whole(0, 2**32 - 1, f"a whole number from 0 to {2**32 - 1}")
"""A seed of numpy's generators: 0 to 2^32 - 1."""

probability = real(0, 1)
"""From 0 to 1."""

decay = real(0, 1, ends="[)")
"""Of a moving average: 0, none, to below 1, at which nothing would ever change."""

amount = real(0, 1e4)
"""Noise relative to the peak, a shift in samples: beyond these nothing of the image is left."""

penalty = real(0)
"""Weight of a term that may be absent."""


def shown(text: str) -> str:
    """Quote a word for a message, its beginning if it is long."""
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}... of {len(text)} characters"


def acceleration(text: str) -> float:
    """Parse an undersampling factor."""
    number = _real(text)
    if not 1 <= number <= HIGHEST_ACCELERATION:
        told = f"it must be at least 1 (1 keeps every sample) and at most {HIGHEST_ACCELERATION}"
        raise argparse.ArgumentTypeError(f"acceleration {_bare(text)}: {told}")
    return number


def center_fraction(text: str) -> float:
    """Parse the fully sampled part of k-space."""
    number = _real(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"center fraction {_bare(text)}: it must lie in (0, 1]")
    return number


def slices(text: str) -> int | float:
    """Parse how much of a volume is wanted: ``10``, the ten middle slices, or ``60%`` of them."""
    return share(text.removesuffix("%"), of=100) if text.endswith("%") else positive(text)


def share(text: str, of: int = 1) -> float:
    """Parse a part of a whole: above 0, at most `of`; as a number up to 1."""
    number = _real(text) / of
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{_bare(text)} is not above 0 and at most {of}")
    return number


def weight(text: str) -> float:
    """Parse a regularization weight, a rate or a time: finite and positive."""
    number = _real(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a positive number")
    return number


def shard(text: str) -> tuple[int, int]:
    """Parse a part of the work: ``"2/4"``, the second of four, is (1, 4)."""
    number, parts = (_integer(word) for word in (text.partition("/")[0], text.partition("/")[2]))
    if number is None or parts is None or not 1 <= number <= parts:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not I/N with I from 1 to N")
    return number - 1, parts


def weight_or_auto(text: str) -> float | None:
    """Parse a regularization weight, or ``auto`` (None)."""
    try:
        return None if text == "auto" else weight(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor 'auto'") from None


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:  # also for more digits than Python converts
        return None


def _real(text: str) -> float:
    """NaN for what is no number: every comparison with it fails."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _bare(text: str) -> str:
    return text if 0 < len(text) <= _SHOWN else shown(text)
