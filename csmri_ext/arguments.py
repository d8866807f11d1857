"""Values on the command line that every command writes alike: parsed, and explained when wrong."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """Parse a count: an integer of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return number


def seed(text: str) -> int:
    """Parse a seed of numpy's generators: 0 to 2^32 - 1."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return int(text)


def share(text: str) -> float:
    """Parse a part of a whole: above 0, at most 1."""
    number = float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return number
