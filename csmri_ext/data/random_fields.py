"""Smooth random functions of position, the raw material of the phantom: seeded, and independent of the pixel grid."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

_TILE_MM = 320.0  # fields repeat after this, which is more than any head or trunk here


class RandomFields:
    """Draws Gaussian random fields for one slice of one subject.

    A field is a random Fourier series, so the same seed gives the same anatomy at every matrix size. Neighbouring
    slices see ``cos(z / length) a + sin(z / length) b`` with the same two fields a and b: the correlation between
    slices falls off as it does within a slice.

    Parameters
    ----------
    seed
        Seed of the subject.
    y, x
        Positions of the pixels in mm, (ny,) and (nx,).
    z
        Position of the slice in mm.
    name
        Each name has random numbers of its own.

    Attributes
    ----------
    rng
        Source of further random numbers.
    """

    def __init__(self, seed: int, y: Array, x: Array, z: float, name: str = "") -> None:
        self.rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        self.seed, self.y, self.x, self.z = seed, y, x, z

    def part(self, name: str) -> RandomFields:
        """Return the source for one part of the anatomy, which does not depend on what was drawn for other parts."""
        return RandomFields(self.seed, self.y, self.x, self.z, name)

    def uniform(self, low: float, high: float) -> float:
        """Draw a property of the subject, the same in every slice."""
        return float(self.rng.uniform(low, high))

    def box(self, center: tuple[float, float], reach: float) -> tuple[slice, slice]:
        """Return the rows and columns of pixels that are at most `reach` mm from `center` (y, x); at least one each."""
        rows, columns = (
            (int(np.searchsorted(axis, middle - reach)), int(np.searchsorted(axis, middle + reach)))
            for axis, middle in ((self.y, center[0]), (self.x, center[1]))
        )
        return slice(rows[0], max(rows[1], rows[0] + 1)), slice(columns[0], max(columns[1], columns[0] + 1))

    def window(self, box: tuple[slice, slice]) -> RandomFields:
        """Return this source for some rows and columns of the pixels."""
        window = RandomFields(self.seed, self.y[box[0]], self.x[box[1]], self.z)
        window.rng = self.rng
        return window

    def smooth(self, length: float) -> Array:
        """Field of mean 0, variance 1 and covariance ``exp(-r^2 / (2 length^2))``.

        Parameters
        ----------
        length
            Correlation length in mm.

        Returns
        -------
            float32, (ny, nx).
        """
        wave_numbers, weights = _harmonics(length)
        weights = np.outer(weights, weights)
        weights /= np.sqrt(np.sum(weights**2))
        shape = (2, wave_numbers.size, wave_numbers.size)
        coefficients = self.rng.standard_normal(shape) + 1j * self.rng.standard_normal(shape)
        angle = self.z / length
        mixed = (np.cos(angle) * coefficients[0] + np.sin(angle) * coefficients[1]) * weights
        left = np.exp(2j * np.pi * np.outer(self.y, wave_numbers)) @ mixed
        right = 2 * np.pi * np.outer(wave_numbers, self.x)
        # The real part of a complex product, as one real product of twice the inner length.
        real_left = np.concatenate([left.real, -left.imag], axis=1, dtype=np.float32)
        return real_left @ np.concatenate([np.cos(right), np.sin(right)], dtype=np.float32)


def _harmonics(length: float) -> tuple[Array, Array]:
    """Wave numbers (1/mm) of a tile, and amplitudes of a Gaussian covariance, down to 1 % of the largest."""
    highest = int(np.ceil(0.69 * _TILE_MM / length))
    wave_numbers = np.arange(-highest, highest + 1) / _TILE_MM
    return wave_numbers.astype(np.float32), np.exp(-((np.pi * length * wave_numbers) ** 2)).astype(np.float32)
