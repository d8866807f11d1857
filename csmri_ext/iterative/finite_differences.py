"""Periodic first differences of an image, their adjoint, and both in k-space: the ``G`` of total variation."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np


def gradient(image: Any, out: Any) -> Any:
    r"""Periodic backward differences along y and x.

    ``out[0] = image - roll(image, 1, axis=0)``, ``out[1] = image - roll(image, 1, axis=1)``, as BART's ``grad``.

    Parameters
    ----------
    image
        complex64 ``(ny, nx)``.
    out
        complex64 ``(2, ny, nx)``, overwritten.

    Returns
    -------
        `out`.
    """
    along_y, along_x = out
    along_y[1:] = image[1:] - image[:-1]
    along_y[0] = image[0] - image[-1]
    along_x[:, 1:] = image[:, 1:] - image[:, :-1]
    along_x[:, 0] = image[:, 0] - image[:, -1]
    return out


def gradient_adjoint(field: Any) -> Any:
    r"""Adjoint of `gradient`: ``<gradient(x), v> = <x, gradient_adjoint(v)>``.

    ``field[0] - roll(field[0], -1, axis=0) + field[1] - roll(field[1], -1, axis=1)``.

    Parameters
    ----------
    field
        v, complex64 ``(2, ny, nx)``.

    Returns
    -------
        complex64 ``(ny, nx)``, a new array.
    """
    along_y, along_x = field
    image = along_y + along_x
    image[:-1] -= along_y[1:]
    image[-1] -= along_y[0]
    image[:, :-1] -= along_x[:, 1:]
    image[:, -1] -= along_x[:, 0]
    return image


def gradient_normal(image: Any) -> Any:
    r"""``gradient_adjoint(gradient(image))``: four times the image minus its four periodic neighbours.

    Parameters
    ----------
    image
        complex64 ``(ny, nx)``.

    Returns
    -------
        complex64 ``(ny, nx)``, a new array.
    """
    out = 4 * image
    out[1:] -= image[:-1]
    out[:-1] -= image[1:]
    out[:, 1:] -= image[:, :-1]
    out[:, :-1] -= image[:, 1:]
    out[0] -= image[-1]
    out[-1] -= image[0]
    out[:, 0] -= image[:, -1]
    out[:, -1] -= image[:, 0]
    return out


def gradient_spectrum(shape: tuple[int, int], xp: ModuleType = np) -> Any:
    r"""Eigenvalues of `gradient_normal`, which the FFT diagonalizes.

    ``4 sin^2(pi k / ny) + 4 sin^2(pi l / nx)`` at frequency ``(k, l)``, zero frequency first.

    Parameters
    ----------
    shape
        ``(ny, nx)``.
    xp
        Array module of the result.

    Returns
    -------
        float32 ``(ny, nx)``, between 0 and 8.
    """
    along_y, along_x = (4 * xp.sin(np.pi * xp.arange(n) / n) ** 2 for n in shape)
    return (along_y[:, None] + along_x).astype(xp.float32)
