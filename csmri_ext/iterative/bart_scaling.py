"""The number by which ``bart pics`` divides k-space before it solves anything.

A regularization weight means nothing without it: BART's weights are relative to this scale. It is a robust maximum of a
low-resolution image, computed from the fully sampled centre of k-space.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np

CALIBRATION_SIZE = 32


def bart_scale(kspace: Any, xp: ModuleType = np) -> float:
    r"""Scale that ``bart pics`` estimates for Cartesian k-space; it prints it at debug level 4.

    ::

        b = magnitude (root sum of squares over coils) of the inverse FFT of the calibration block / sqrt(N / n)
        scale = p90 if max - p90 < 2 (p90 - median) else max           of the sorted b

    with ``n`` samples of the ``N`` in the block. The block is the largest one around the centre, at most 32 x 32, in
    which every sample is non-zero. It is then moved along x (BART's readout axis, cfl dimension 0) to where it has most
    energy. This is the value for data laid out as cfl dimensions ``(nx, ny, 1, coils)``: transposing the slice changes
    it by about a percent.

    Parameters
    ----------
    kspace
        complex64 ``(coils, ny, nx)``, centred, zero where nothing was acquired.
    xp
        Array module that `kspace` belongs to: numpy or cupy.

    Returns
    -------
        The scale, in units of the image (orthonormal FFT). 1 if the block is zero, as BART does.

    References
    ----------
    BART v0.8.00, ``estimate_scaling`` and ``calib_geom``.
    """
    _, ny, nx = kspace.shape
    rows = min(CALIBRATION_SIZE, ny)
    first_row = (ny - rows) // 2
    band = kspace[:, first_row : first_row + rows]
    height, width = _sampled_block(xp.any(band != 0, axis=0))
    top = (rows - height) // 2
    band = band[:, top : top + height]
    left = _most_energetic(band, width, xp)

    # BART centres its FFT by a linear phase that belongs to the whole matrix. Cut to an odd block, or taken from an odd
    # matrix, the phase moves the low-resolution image by a fraction of its pixels.
    block = band[:, :, left : left + width]
    block = block * _centring_phase(ny, first_row + top, height, xp)[:, None] * _centring_phase(nx, left, width, xp)
    coil_images = xp.fft.ifft2(block, norm="ortho")
    magnitude = xp.sort(xp.sqrt(xp.sum(xp.abs(coil_images) ** 2, axis=0)).ravel())

    n = height * width
    median, p90, largest = (float(magnitude[i]) for i in (n // 2, int(0.9 * n), n - 1))
    robust_maximum = p90 if largest - p90 < 2 * (p90 - median) else largest
    return robust_maximum / math.sqrt(ny * nx / n) or 1.0


def _sampled_block(sampled: Any) -> tuple[int, int]:
    """Extent (height, width) of the largest centred block of True, grown by one row or column in turn."""
    # Width first, as cfl dimension 0 is x.
    extent = [1, 1]
    full = [sampled.shape[1], sampled.shape[0]]
    growing = [True, True]
    while any(growing):
        for axis in (0, 1):
            growing[axis] = growing[axis] and extent[axis] < min(full[axis], CALIBRATION_SIZE)
            if not growing[axis]:
                continue
            extent[axis] += 1
            left, top = ((full[i] - extent[i]) // 2 for i in (0, 1))
            if not bool(sampled[top : top + extent[1], left : left + extent[0]].all()):
                extent[axis] -= 1
                growing[axis] = False
    return extent[1], extent[0]


def _most_energetic(band: Any, width: int, xp: ModuleType) -> int:
    """First column of the window of `width` columns that has the largest energy."""
    energy = xp.sum(xp.abs(band).astype(xp.float64) ** 2, axis=(0, 1))
    total = xp.concatenate([xp.zeros(1), xp.cumsum(energy)])
    # BART compares square roots in single precision: of windows that differ by less, the first one wins.
    return int(xp.argmax(xp.sqrt((total[width:] - total[:-width]).astype(xp.float32))))


def _centring_phase(length: int, start: int, extent: int, xp: ModuleType) -> Any:
    """BART's ``ifftmod`` on ``start .. start + extent`` of an axis of `length`, up to a constant phase."""
    shift = (length // 2) / length
    return xp.exp(-2j * math.pi * shift * xp.arange(start, start + extent)).astype(xp.complex64)
