"""Centred orthonormal 2-D Fourier transform of numpy arrays: the bridge knows no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def fft2c(image: NDArray[Any]) -> NDArray[np.complex64]:
    """Transform images to k-space: ``fftshift(fft2(ifftshift(image), norm="ortho"))`` over the last two axes.

    Equal to ``bart fft -u 3`` and to fastMRI's ``fft2c``, odd sizes too.

    Parameters
    ----------
    image
        Real or complex, (..., ny, nx).

    Returns
    -------
        complex64, shape of `image`, zero frequency at ``(ny // 2, nx // 2)``.
    """
    shifted = np.fft.ifftshift(image, axes=(-2, -1))
    return np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=(-2, -1)).astype(np.complex64)


def ifft2c(kspace: NDArray[Any]) -> NDArray[np.complex64]:
    """Transform k-space to images: the inverse, and adjoint, of `fft2c`.

    Parameters
    ----------
    kspace
        Complex, (..., ny, nx), zero frequency at ``(ny // 2, nx // 2)``.

    Returns
    -------
        complex64, shape of `kspace`.
    """
    shifted = np.fft.ifftshift(kspace, axes=(-2, -1))
    return np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1)).astype(np.complex64)


def center_crop(array: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Cut the central ``shape`` out of the last two axes, as fastMRI does: from ``(n - size) // 2``.

    Parameters
    ----------
    array
        (..., ny, nx).
    shape
        ``(h, w)``, at most ``(ny, nx)``.

    Returns
    -------
        A view, (..., h, w).

    Raises
    ------
    ValueError
        `shape` is larger than the array or not positive.
    """
    h, w = shape
    ny, nx = array.shape[-2:]
    if not (0 < h <= ny and 0 < w <= nx):
        raise ValueError(f"cannot crop {ny} x {nx} to {h} x {w}")
    top, left = (ny - h) // 2, (nx - w) // 2
    return array[..., top : top + h, left : left + w]
