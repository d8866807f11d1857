"""Which axis of a bare array is which: as the user or a known name says, or in the usual order where it is likely."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.conventions import looks_like_coils
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.reading import FROM_ORDER, FROM_USER, axes_in_words, parse_axes

NUMPY_AXES = {2: "yx", 3: "syx", 4: "scyx"}  # fastMRI's order
MATLAB_AXES = {2: "yx", 3: "yxs", 4: "yxcs"}

# CMRxRecon's variables, as MATLAB shows them: https://cmrxrecon.github.io
_CMRXRECON = re.compile(r"kspace(?:_single)?_(?:full|sub\d*)")
_CMRXRECON_AXES = {4: "yxst", 5: "yxcst"}
_FEW = 8  # coils whose likeness is looked at


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
    if _CMRXRECON.fullmatch(name) and len(shape) in _CMRXRECON_AXES:
        return Order(_CMRXRECON_AXES[len(shape)], f"the name {name}, which is CMRxRecon's", certain=True)
    if len(shape) not in defaults:
        expected = " or ".join(f"({', '.join(order)})" for order in defaults.values())
        raise FileFormatError(f"{what}; expected axes {expected}; {_ask(shape)}")
    letters = defaults[len(shape)]
    size = dict(zip(letters, shape, strict=True))
    smallest, largest = min(size["y"], size["x"]), max(size.values())
    others = min(max(size["y"], size["x"]), max(size.get("s", 1), size.get("c", 1)))
    tiny = (smallest < 8 and largest >= 8 * smallest) or (smallest < 48 and others >= 3 * smallest)
    if tiny and smallest > 0 and not force:
        axis = "x" if size["x"] == smallest else "y"
        pair = "; 2 could be real and imaginary part" if smallest == 2 else ""
        raise FileFormatError(
            f"{what}: in the usual order, {axes_in_words(letters)}, {axis} would have {smallest} samples{pair}; "
            f"{_ask(shape)}"
        )
    return Order(letters, FROM_ORDER, certain=False)


def _ask(shape: tuple[int, ...]) -> str:
    """Suggest an order: the two largest axes are the image, 2 is real and imaginary part, others coils and slices."""
    plane = sorted(sorted(range(len(shape)), key=lambda axis: -shape[axis])[:2])
    others = iter(("coil", "slice", "frame"))
    words = []
    for axis, n in enumerate(shape):
        if axis in plane:
            words.append("y" if axis == plane[0] else "x")
        elif n == 1:
            words.append("1")
        elif n == 2 and axis == len(shape) - 1:
            words.append("complex")
        else:
            words.append(next(others, "?"))
    return f"say which axes they are, for example --axes '{' '.join(words)}'"


def check_content(
    read_slice: Callable[[int], NDArray[Any]], letters: str, n_slices: int, n_coils: int, path: Path
) -> None:
    """Look at k-space in the usual order: whether slices are coils, or coils slices.

    Parameters
    ----------
    read_slice
        ``read_slice(i)`` is slice i, (coils, ny, nx).
    letters, n_slices, n_coils
        How the array would be read.
    path
        The file, for errors.

    Raises
    ------
    FileFormatError
        The slices look like coil images of one slice, or the coils like images of different ones.
    """
    read_as = axes_in_words(letters)
    if "c" in letters and n_coils > 1:
        if looks_like_coils(read_slice(n_slices // 2)) is False:
            raise FileFormatError(
                f"{path}: read in the usual order, {read_as}, but the {n_coils} coils look like images of different "
                f"slices or frames: say which axes they are, for example --axes '{_renamed(letters, 'c')}', or "
                f"--axes '{read_as}' if this is right"
            )
    elif "c" not in letters and n_slices > 1:
        some = range(min(n_slices, _FEW))
        if looks_like_coils(np.concatenate([read_slice(i) for i in some])):
            raise FileFormatError(
                f"{path}: read in the usual order, {read_as}, but the {n_slices} slices look like the coil images of "
                f"one slice: say --axes '{_renamed(letters, 's')}', or --axes '{read_as}' if they are slices"
            )


def _renamed(letters: str, old: str) -> str:
    return axes_in_words(letters.replace(old, "c" if old == "s" else "t"))
