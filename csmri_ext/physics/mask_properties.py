"""What can be said of a sampling mask: its fingerprint, its numbers, its fully sampled centre."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SMALLEST_BLOCK = 4  # samples along an axis that coil sensitivities need
WHOLE = 1.25  # times the shorter side: from there on a block may lie around the echo anyhow


def check_mask(mask: Tensor) -> None:
    """Raise TypeError unless `mask` is a bool tensor: what every function of this package asks of a mask.

    Zeros and ones of another dtype are refused as well, since a mask in float may as well be a density or k-space;
    ``mask.bool()`` says what is meant. Weights between 0 and 1 exist in `csmri_ext.ops.data_consistency` alone.

    Parameters
    ----------
    mask
        Any shape.
    """
    if not isinstance(mask, Tensor):
        raise TypeError(f"mask is a {type(mask).__name__}, expected a bool tensor, True where a sample was acquired")
    if mask.dtype != torch.bool:
        raise TypeError(
            f"mask {tuple(mask.shape)} is {mask.dtype}, expected bool, True where a sample was acquired (mask.bool())"
        )


def mask_hash(mask: Tensor | NDArray[np.bool_]) -> str:
    """Fingerprint of a mask: sha256 of its bytes as uint8 zeros and ones, row by row.

    Masks of different shape but equal bytes share a hash. Reports print the first 16 digits.

    Parameters
    ----------
    mask
        bool, or numbers that are 0 or 1, any shape.

    Returns
    -------
        64 hexadecimal digits.

    Raises
    ------
    ValueError
        Entries other than 0 and 1.
    """
    return hashlib.sha256(_as_bool(mask).astype(np.uint8).tobytes()).hexdigest()


def describe_mask(mask: Tensor | NDArray[np.bool_], echo: tuple[int, int] | None = None) -> dict[str, Any]:
    """Say in numbers what a mask does, ready for json.

    Parameters
    ----------
    mask
        bool, ``(nx,)`` or ``(ny, nx)``; axes of size 1 in front are dropped.
    echo
        As in `calibration_block`.

    Returns
    -------
        ``shape`` (list), ``sampled`` (number of samples), ``fraction`` (sampled / size), ``acceleration`` (size /
        sampled, inf for an empty mask), ``center`` (list: the size of the `calibration_block` along each axis) and
        ``hash`` (first 16 digits of `mask_hash`).

    Raises
    ------
    ValueError
        Not a mask of columns or of the plane, or entries other than 0 and 1.
    """
    flags = _drop_leading_ones(_as_bool(mask))
    sampled = int(flags.sum())
    return {
        "shape": list(flags.shape),
        "sampled": sampled,
        "fraction": sampled / flags.size,
        "acceleration": flags.size / sampled if sampled else math.inf,
        "center": [block.stop - block.start for block in calibration_block(flags, echo)],
        "hash": mask_hash(flags)[:16],
    }


def calibration_block(mask: Tensor | NDArray[np.bool_], echo: tuple[int, int] | None = None) -> tuple[slice, ...]:
    """Find the fully sampled block around the echo (the ACS region).

    Around a sample ``c`` it is, among all fully sampled blocks ``c - floor(s / 2) ... c + ceil(s / 2) - 1``, the one
    whose shorter side is longest; among those, the one with most samples. Where the echo is the middle, ``c = n // 2``,
    that is all. Elsewhere the block around the echo competes with the one around the middle, if the echo is in it; and
    the largest fully sampled rectangle that holds the echo anywhere replaces both where its shorter side is more than a
    quarter longer. A block around the middle without the echo is the last resort, where fewer than 4 samples surround
    the echo.

    Parameters
    ----------
    mask
        bool, ``(nx,)`` or ``(ny, nx)``; axes of size 1 in front are dropped.
    echo
        Row and column of the strongest sample (`csmri_ext.physics.find_echo`); for a mask of columns only the latter
        counts. None: the middle.

    Returns
    -------
        One slice per axis, empty if the echo itself was not acquired and the middle neither.

    Raises
    ------
    ValueError
        Not a mask of columns or of the plane, or entries other than 0 and 1.
    """
    flags = _drop_leading_ones(_as_bool(mask))
    plane = np.atleast_2d(flags)
    n_axes = flags.ndim
    middle = (plane.shape[0] // 2, plane.shape[1] // 2)
    place = middle if echo is None else (echo[0] if n_axes == 2 else 0, echo[1])
    best = centred = _block_around(plane, middle)[-n_axes:]
    if place == middle:
        return centred
    around = _block_around(plane, place)[-n_axes:]
    if not holds(centred, place) or _size(around) > _size(centred):
        best = around
    whole = _rectangle_with(plane, place)[-n_axes:]
    if _size(whole)[0] > WHOLE * _size(best)[0]:
        best = whole
    enough = min(SMALLEST_BLOCK, *flags.shape)
    return centred if _size(best)[0] < enough and _size(centred) > _size(best) else best


def holds(block: tuple[slice, ...], echo: tuple[int, int]) -> bool:
    """Whether a block of `calibration_block` has the echo, by its row and column, in it."""
    return all(one.start <= at < one.stop for one, at in zip(block, echo[-len(block) :], strict=True))


def _size(block: tuple[slice, ...]) -> tuple[int, int]:
    """Shorter side, and number of samples."""
    sides = [one.stop - one.start for one in block]
    return min(sides), math.prod(sides)


def _block_around(plane: NDArray[np.bool_], place: tuple[int, int]) -> tuple[slice, slice]:
    """Find the best block that has a sample in its middle."""
    ny, nx = plane.shape
    left, right = _runs(plane, place[1])
    widths = np.minimum(2 * left + 1, 2 * right)
    best = (0, 0)
    narrowest = nx
    for height in range(1, ny + 1):  # blocks grow by one row at a time, first above and then below the sample
        row = place[0] + (-(height // 2) if height % 2 == 0 else height // 2)
        if not 0 <= row < ny:
            break
        narrowest = min(narrowest, int(widths[row]))
        best = max(best, (height, narrowest), key=lambda side: (min(side), side[0] * side[1]))
    if 0 in best:
        best = (0, 0)
    first, second = (slice(at - side // 2, at - side // 2 + side) for at, side in zip(place, best, strict=True))
    return first, second


def _rectangle_with(plane: NDArray[np.bool_], place: tuple[int, int]) -> tuple[slice, slice]:
    """Find the fully sampled rectangle of longest shorter side, then of most samples, that holds a sample anywhere."""
    row, column = place
    if not plane[place]:
        return slice(row, row), slice(column, column)
    left, right = _runs(plane, column)
    up = [np.minimum.accumulate(run[row::-1]) for run in (left, right)]
    down = [np.minimum.accumulate(run[row:]) for run in (left, right)]
    before, after = (np.minimum.outer(above, below) for above, below in zip(up, down, strict=True))
    heights = np.add.outer(np.arange(up[0].size), np.arange(down[0].size)) + 1
    widths = np.where(after > 0, before + after, 0)
    shorter = np.minimum(heights, widths) if plane.shape[0] > 1 else widths
    above, below = np.unravel_index(int((shorter * (plane.size + 1) + heights * widths).argmax()), heights.shape)
    return (
        slice(int(row - above), int(row + below + 1)),
        slice(int(column - before[above, below]), int(column + after[above, below])),
    )


def _runs(plane: NDArray[np.bool_], column: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Lengths, in every row, of the fully sampled runs that end before a column and that begin at it."""
    stop = np.zeros((len(plane), 1), bool)
    left = np.argmin(np.hstack([plane[:, :column][:, ::-1], stop]), axis=1)
    right = np.argmin(np.hstack([plane[:, column:], stop]), axis=1)
    return left, right


def _as_bool(mask: Tensor | NDArray[np.bool_]) -> NDArray[np.bool_]:
    values = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if values.dtype != bool and not np.isin(values, (0, 1)).all():
        raise ValueError(f"a mask has only 0 and 1, got {values.dtype} values from {values.min()} to {values.max()}")
    return values.astype(bool)


def _drop_leading_ones(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    while mask.ndim > 1 and mask.shape[0] == 1:
        mask = mask[0]
    if mask.ndim not in (1, 2) or mask.size == 0:
        raise ValueError(f"a mask has shape (nx,) or (ny, nx), got {mask.shape}")
    return mask
