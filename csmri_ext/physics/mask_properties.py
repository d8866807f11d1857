"""What can be said of a sampling mask: its fingerprint, its numbers, its fully sampled centre."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


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


def describe_mask(mask: Tensor | NDArray[np.bool_]) -> dict[str, Any]:
    """Say in numbers what a mask does, ready for json.

    Parameters
    ----------
    mask
        bool, ``(nx,)`` or ``(ny, nx)``, zero frequency at ``n // 2``; axes of size 1 in front are dropped.

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
        "center": [block.stop - block.start for block in calibration_block(flags)],
        "hash": mask_hash(flags)[:16],
    }


def calibration_block(mask: Tensor | NDArray[np.bool_]) -> tuple[slice, ...]:
    """Find the fully sampled block around the zero frequency (the ACS region).

    Among all fully sampled blocks ``c - floor(s / 2) ... c + ceil(s / 2) - 1`` around ``c = n // 2``, the one whose
    shorter side is longest; among those, the one with most samples.

    Parameters
    ----------
    mask
        bool, ``(nx,)`` or ``(ny, nx)``; axes of size 1 in front are dropped.

    Returns
    -------
        One slice per axis, empty if the zero frequency itself was not acquired.

    Raises
    ------
    ValueError
        Not a mask of columns or of the plane, or entries other than 0 and 1.
    """
    flags = _drop_leading_ones(_as_bool(mask))
    plane = np.atleast_2d(flags)
    ny, nx = plane.shape
    widths = [_centered_run(row) for row in plane]
    best = (0, 0)
    narrowest = nx
    for height in range(1, ny + 1):  # blocks grow by one row at a time, first above and then below the centre
        row = ny // 2 + (-(height // 2) if height % 2 == 0 else height // 2)
        narrowest = min(narrowest, widths[row])
        best = max(best, (height, narrowest), key=lambda side: (min(side), side[0] * side[1]))
    if 0 in best:
        best = (0, 0)
    slices = tuple(slice(n // 2 - side // 2, n // 2 - side // 2 + side) for n, side in zip((ny, nx), best, strict=True))
    return slices[-flags.ndim :]


def _centered_run(row: NDArray[np.bool_]) -> int:
    """Length of the longest fully sampled run ``c - floor(s / 2) ... c + ceil(s / 2) - 1`` around ``c = n // 2``."""
    center = len(row) // 2
    left = int(np.argmin(np.append(row[:center][::-1], False)))
    right = int(np.argmin(np.append(row[center:], False)))  # counts the zero frequency itself
    return min(2 * left + 1, 2 * right)


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
