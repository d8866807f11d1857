"""A mask that lies beside k-space in its file: brought to the axes of k-space, and believed where the samples agree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.conventions import is_coverage
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.reading import note
from csmri_ext.bridge.slice_checks import CheckedSlices, format_errors

ROUNDING = 1e-7  # of the largest sample: what is smaller was not measured
_FULL = 0.9  # of the samples beside the mask that k-space has where it is full


def in_axes(mask: NDArray[Any], letters: str, path: Path) -> NDArray[Any]:
    """Turn a mask that is stored in the order of its k-space to (nx,), (ny, 1) or (ny, nx).

    Parameters
    ----------
    mask
        With one axis for each of k-space, or y and x only, in the order in which k-space has them; others as they are.
    letters
        Axes of k-space in the file, see `reading.AXES`.
    path
        The file, for errors.

    Raises
    ------
    FileFormatError
        It differs between slices, coils or frames.
    """
    if mask.ndim == len(letters) > 2:
        order = [letters.index(axis) for axis in "yx"]
        rest = [axis for axis in range(mask.ndim) if axis not in order]
        return _one_plane(mask.transpose(*rest, *order), path)
    return mask.T if mask.ndim == 2 and letters.index("x") < letters.index("y") else mask


def believed(
    mask: NDArray[Any], checked: CheckedSlices, n_slices: int, matrix_size: tuple[int, int], attrs: dict[str, Any]
) -> NDArray[np.bool_] | None:
    """Return the file's mask if it says what was sampled, as the samples of the middle slice show.

    Parameters
    ----------
    mask
        (nx,), (ny, 1) or (ny, nx), up to axes of length one or along which it does not change.
    checked
        Reads slices.
    n_slices, matrix_size
        Their number, and ``(ny, nx)``.
    attrs
        Told what was decided; a mask beside k-space that is full becomes ``attrs["mask_beside"]``.

    Returns
    -------
        bool (nx,) or (ny, nx). A mask whose samples fit when it is turned to rows, transposed or shifted by half its
        size is. None where the mask is full, where k-space is full beside it, and where it fits in no way: the samples
        then say what was acquired.

    Raises
    ------
    FileFormatError
        It has no numbers, or another shape, or is empty.
    """
    (first, _), *others = _candidates(_as_mask(mask, matrix_size, checked.path), matrix_size)
    if first.all():
        return None
    with format_errors(checked.path, checked.kind):
        magnitude = np.abs(checked.read(n_slices // 2)).max(axis=0)
    if not np.isfinite(magnitude).all() or not magnitude.any():
        return first  # whoever reads the slice is told
    measured = magnitude > ROUNDING * magnitude.max()
    outside = ~np.broadcast_to(first, measured.shape)
    if not (measured & outside).any():
        return first
    rows, columns = (np.flatnonzero(measured.any(axis=axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if is_coverage(measured) or measured[box][outside[box]].mean() >= _FULL:
        attrs["mask_beside"] = first
        note(
            attrs,
            f"k-space is full beside a mask that keeps {100 * float(first.mean()):.0f} %: taken as fully sampled; "
            f"--mask {checked.path.name} applies that mask",
        )
        return None
    for other, done in others:
        if not (measured & ~other).any():
            note(attrs, f"the mask beside k-space fits its samples only {done}: it is used so")
            return other
    note(
        attrs,
        f"k-space has {int((measured & outside).sum())} samples where the mask beside it has none: the samples are "
        "believed, not the mask",
    )
    return None


def _as_mask(mask: NDArray[Any], matrix_size: tuple[int, int], path: Path) -> NDArray[np.bool_]:
    """Check the values and drop axes: bool (n,), (n, 1) or (ny, nx)."""
    ny, nx = matrix_size
    plane = _one_plane(mask, path) if mask.ndim > 2 else mask
    if plane.shape == (1, nx):
        plane = plane[0]
    if plane.shape not in ((nx,), (ny,), (nx, 1), (ny, 1), (ny, nx)):
        raise FileFormatError(f"{path}: mask of shape {mask.shape} does not fit k-space of (ny, nx) = {matrix_size}")
    if mask.dtype.kind not in "biufc" or not np.isfinite(plane).all():
        raise FileFormatError(f"{path}: the mask is {mask.dtype} with values that are no numbers; expected 0 and 1")
    if not plane.any():
        raise FileFormatError(f"{path}: the mask is empty, nothing was sampled")
    sampled = plane != 0
    return sampled[0] if sampled.shape == (ny, nx) and (sampled == sampled[0]).all() else sampled


def _one_plane(mask: NDArray[Any], path: Path) -> NDArray[Any]:
    """Drop the leading axes of a mask that does not change along them."""
    if sum(n > 1 for n in mask.shape) <= 1 and not (mask.ndim == 3 and mask.shape[-2] > 1):
        return mask.reshape(-1)  # columns, as fastMRI's (1, 1, nx, 1)
    first = mask[(0,) * (mask.ndim - 2)]
    if not (mask == first).all():
        raise FileFormatError(
            f"{path}: the mask of shape {mask.shape} differs between slices; one file holds one pattern"
        )
    return np.asarray(first)


def _candidates(mask: NDArray[np.bool_], matrix_size: tuple[int, int]) -> Iterator[tuple[NDArray[np.bool_], str]]:
    """Ways to read a mask, the likeliest one first, and what was done in words."""
    ny, nx = matrix_size
    readings: list[tuple[NDArray[np.bool_], str]] = []
    if mask.size == mask.shape[0]:
        line = mask.reshape(-1)
        rows = np.broadcast_to(line[:, None], (line.size, nx))
        readings += [(line, "as columns")] if line.size == nx else []
        readings += [(rows, "as rows")] if line.size == ny else []
        if mask.ndim == 2:  # (ny, 1) says rows
            readings.reverse()
    else:
        readings += [(mask, "as it is")] + ([(mask.T, "transposed")] if ny == nx else [])
    yield from readings
    for array, done in readings:
        for shift in (np.fft.fftshift, np.fft.ifftshift):  # they differ for odd sizes
            yield shift(array), f"{done}, shifted by half its size"
