"""Which axis of a bare array is which: as the user or a known name says, or in the usual order where it is likely."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.numbers import is_complex
from csmri_ext.bridge.reading import FROM_ORDER, FROM_USER, axes_in_words, parse_axes

NUMPY_AXES = {2: "yx", 3: "syx", 4: "scyx"}  # fastMRI's order
MATLAB_AXES = {2: "yx", 3: "yxs", 4: "yxcs"}

# CMRxRecon's variables, as MATLAB shows them: https://cmrxrecon.github.io
# MATLAB drops a last axis of one frame: four axes are those of several coils unless the name says single.
_CMRXRECON = re.compile(r"kspace(_single)?_(?:full|sub\d*)|kus")
_CMRXRECON_AXES = {(True, 4): "yxst", (False, 4): "yxcs", (False, 5): "yxcst"}
_MOST_COILS = 64


@dataclass(frozen=True)
class Order:
    """One letter per axis of an array, and why these.

    Attributes
    ----------
    letters
        See `reading.AXES`.
    source
        In words: the user, the file's order...
    certain
        Whether the user or a format says so; else the content is looked at, too.
    """

    letters: str
    source: str
    certain: bool


def order_of(
    shape: tuple[int, ...],
    defaults: Mapping[int, str],
    path: Path,
    name: str,
    axes: str | None,
    *,
    dtype: DTypeLike = np.complex64,
    force: bool = False,
) -> Order:
    """Decide which axis of an array is which.

    Parameters
    ----------
    shape
        Of the array.
    defaults
        Usual order by number of axes.
    path, name
        The file and the array in it, for errors; names of known data sets have their own order.
    axes
        What the user says, in words or letters; nothing is doubted then.
    dtype
        Of the array: real values may be magnitudes, or pairs of real and imaginary parts.
    force
        Believe the usual order even where an axis read as y or x is tiny.

    Raises
    ------
    FileFormatError
        `axes` does not fit the array; too few or too many axes for a usual order; an axis of a few samples would become
        y or x.
    """
    what = f"{path}: {name or 'the array'} has shape {shape}"
    if axes is not None:
        try:
            letters = parse_axes(axes)
        except ValueError as error:
            raise FileFormatError(f"{what}, which does not fit axes {axes!r}: {error}") from None
        if len(letters) != len(shape):
            raise FileFormatError(
                f"{what}, which does not fit axes {axes!r}: {len(letters)} words for {len(shape)} axes"
            )
        return Order(letters, FROM_USER, certain=True)
    known = _CMRXRECON.fullmatch(name)
    if known and (bool(known[1]), len(shape)) in _CMRXRECON_AXES:
        letters = _CMRXRECON_AXES[bool(known[1]), len(shape)]
        return Order(letters, f"the name {name}, which is CMRxRecon's", certain=len(shape) == 5 or bool(known[1]))
    if len(shape) not in defaults:
        expected = " or ".join(f"({', '.join(axes_in_words(order).split())})" for order in defaults.values())
        raise FileFormatError(f"{what}; expected axes {expected}; {suggestion(shape, dtype)}")
    letters = defaults[len(shape)]
    size = dict(zip(letters, shape, strict=True))
    axis = tiny_axis(size)
    if axis and not force:
        smallest = size[axis]
        pair = "; 2 could be real and imaginary part" if smallest == 2 and not is_complex(np.dtype(dtype)) else ""
        raise FileFormatError(
            f"{what}: in the usual order, {axes_in_words(letters)}, {axis} would have {smallest} samples{pair}; "
            f"{suggestion(shape, dtype)}"
        )
    return Order(letters, FROM_ORDER, certain=False)


def tiny_axis(size: Mapping[str, int]) -> str | None:
    """Name the axis of the image that has so few samples that it will be coils, slices or a pair; None for none.

    Parameters
    ----------
    size
        Extents by letter, see `reading.AXES`.
    """
    smallest, largest = min(size["y"], size["x"]), max(size.values())
    others = min(max(size["y"], size["x"]), max(size.get("s", 1), size.get("c", 1)))
    tiny = (smallest < 8 and largest >= 8 * smallest) or (smallest < 48 and others >= 3 * smallest)
    return ("x" if size["x"] == smallest else "y") if tiny and smallest > 0 else None


def suggestion(shape: tuple[int, ...], dtype: DTypeLike) -> str:
    """Suggest an order: the two largest axes are the image, of real numbers 2 are a pair, others coils and slices.

    Parameters
    ----------
    shape, dtype
        Of the array. Real numbers without a pair are magnitudes, which have no coils.
    """
    plane = sorted(sorted(range(len(shape)), key=lambda axis: -shape[axis])[:2])
    pair = None
    if not is_complex(np.dtype(dtype)):
        pair = next((axis for axis in reversed(range(len(shape))) if shape[axis] == 2 and axis not in plane), None)
    rest = [axis for axis in range(len(shape)) if axis not in (*plane, pair) and shape[axis] > 1]
    magnitudes = pair is None and not is_complex(np.dtype(dtype)) and len(rest) <= 2
    names = ("slice", "frame") if magnitudes else ("coil", "slice", "frame")
    if not magnitudes and rest and shape[rest[0]] > _MOST_COILS:
        names = ("slice", "coil", "frame")
    others = dict(zip(rest, names, strict=False))
    words = []
    for axis, n in enumerate(shape):
        if axis in plane:
            words.append("y" if axis == plane[0] else "x")
        elif axis == pair:
            words.append("complex")
        else:
            words.append("1" if n == 1 else others.get(axis, "?"))
    return f"say which axes they are, for example --axes '{' '.join(words)}'"
