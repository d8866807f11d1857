"""A correction for ``bart pics`` up to 0.9, which misplaces images whose sides are not multiples of 4."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.bart_program.run import bart


def center_for_pics(kspace: NDArray[Any], program: str) -> NDArray[Any]:
    r"""Multiply k-space by the phase that makes ``bart pics`` of this program centre its image.

    BART centres the FFT by linear phases. Until mrirecon/bart#328 (2024), ``pics`` multiplied k-space by the conjugate
    of the phase it should use. For an odd side that moves the coil images by one pixel against the sensitivities, so
    an image from several coils is wrong altogether; for a side of 2, 6, 10... it changes the sign. The cure is

    ``kspace[..., k] * exp(-4j pi (c / n) (k - c / 2))``,  ``c = n // 2``,  on both axes, 1 for multiples of 4.

    Parameters
    ----------
    kspace
        Complex, (..., ny, nx), centred.
    program
        Path of BART. Whether it needs the correction is tried out once, on 1 x 3 samples.

    Returns
    -------
        complex64, for ``bart pics`` only; `kspace` itself if there is nothing to correct.
    """
    ny, nx = kspace.shape[-2:]
    if (ny % 4 == 0 and nx % 4 == 0) or not _needs_correction(program):
        return kspace
    return (kspace * (_correction(ny)[:, None] * _correction(nx))).astype(np.complex64)


def _correction(n: int) -> NDArray[np.complex128]:
    center = n // 2
    return np.exp(-4j * np.pi * center / n * (np.arange(n) - center / 2))


@functools.cache
def _needs_correction(program: str) -> bool:
    """Reconstruct a point in the middle of three pixels, whose k-space is constant, and look where it ends up."""
    point = np.ones((3, 1), np.complex64)
    image = bart(["pics", "-S", "-i", "5", "-p", point], point, point, binary=program)
    return int(np.argmax(np.abs(image))) != 1
