"""What an array says about its own conventions: where zero frequency lies, which samples were acquired."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def looks_dc_at_corner(kspace_or_mask: NDArray[Any]) -> bool:
    """Guess whether zero frequency lies at index 0 (plain FFT order) instead of at ``n // 2``.

    Compares the mean energy ``|k|^2`` (for a bool mask: the density) in a box around the centre, an eighth of each
    axis wide, with that of the same box around index 0, which plain FFT order splits over the four corners.

    Parameters
    ----------
    kspace_or_mask
        k-space (..., ny, nx), or a sampling mask (nx,) or (ny, nx); any numeric or bool dtype.

    Returns
    -------
        True when the corners hold clearly more (twice the energy, 1.5 times the density) than the centre. Arrays
        without such a maximum, as a full mask, give False.
    """
    array = np.asarray(kspace_or_mask)
    if array.ndim == 0:
        raise ValueError("expected k-space (..., ny, nx) or a mask (nx,) or (ny, nx), got a single number")
    density = array.astype(np.float64) if array.dtype == np.bool_ else np.abs(array).astype(np.float64) ** 2
    is_mask = array.dtype == np.bool_ or np.isin(density, (0.0, 1.0)).all()
    axes = (-1,) if array.ndim == 1 else (-2, -1)
    center = _central_mean(density, axes)
    corner = _central_mean(np.fft.fftshift(density, axes=axes), axes)
    return bool(corner > (1.5 if is_mask else 2.0) * center)


def _central_mean(array: NDArray[np.float64], axes: tuple[int, ...]) -> float:
    for axis in axes:
        n = array.shape[axis]
        half = n // 16
        array = array.take(range(n // 2 - half, n // 2 + half + 1), axis=axis)
    return float(array.mean())


def sampling_pattern(kspace: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Find which samples of a zero-filled k-space were acquired: those that are not exactly zero in every coil.

    Parameters
    ----------
    kspace
        Complex, (..., ny, nx); leading axes are coils.

    Returns
    -------
        bool ``(nx,)`` where whole columns are missing, bool ``(ny, nx)`` otherwise; None where the data are fully
        sampled. Empty rows or columns at the border are zero padding, not undersampling.
    """
    acquired = (kspace != 0).reshape(-1, *kspace.shape[-2:]).any(axis=0)
    rows, columns = acquired.any(axis=1), acquired.any(axis=0)
    if not acquired[np.ix_(rows, columns)].all() or not _is_contiguous(rows):
        return acquired
    return None if _is_contiguous(columns) else columns


def _is_contiguous(flags: NDArray[np.bool_]) -> bool:
    indices = np.flatnonzero(flags)
    return indices.size == 0 or indices[-1] - indices[0] + 1 == indices.size
