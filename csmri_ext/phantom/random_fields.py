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
        half = wave_numbers[wave_numbers.size // 2 :]  # along x: the real part holds the negative ones too
        both = np.outer(weights, weights[weights.size // 2 :])
        both /= np.sqrt(np.sum(both**2))
        a, b, c, d = self.rng.standard_normal((4, *both.shape), np.float32)
        angle = self.z / length
        cosine, sine = np.float32(np.cos(angle)) * both, np.float32(np.sin(angle)) * both
        left = _rotations(self.y, wave_numbers) @ (cosine * (a + 1j * b) + sine * (c + 1j * d))
        # The real part of a complex product, as one real product of twice the inner length.
        right = _rotations(half, self.x)
        return np.concatenate([left.real, -left.imag], axis=1) @ np.concatenate([right.real, right.imag])

    def waves(self, points: tuple[Array, Array, Array], wavelength: float, n: int = 64) -> Array:
        """Field of mean 0, variance 1 and a single wavelength: its zero set folds like the stripes of a zebra.

        The sum of `n` plane waves of random direction in space and random phase, at any points; it is the same in all
        slices of the subject.

        Parameters
        ----------
        points
            x, y and z in mm, of one shape.
        wavelength
            In mm.
        n
            Number of waves; cost grows with it, and more of them are closer to a Gaussian field.

        Returns
        -------
            float32, shape of the points.
        """
        directions = self.rng.standard_normal((3, n))
        directions *= 2 * np.pi / wavelength / np.linalg.norm(directions, axis=0)
        flat = np.stack([p.ravel() for p in points], axis=1).astype(np.float32)
        phases = flat @ directions.astype(np.float32) + self.rng.uniform(0, 2 * np.pi, n).astype(np.float32)
        return (np.cos(phases).sum(axis=1) * np.float32(np.sqrt(2 / n))).reshape(points[0].shape)


def upsampled(values: Array, y: Array, x: Array, new_y: Array, new_x: Array) -> Array:
    """Interpolate by cubic convolution from an even grid to finer positions inside it, float32 (new_y, new_x).

    Parameters
    ----------
    values
        (y, x).
    y, x
        Even positions of the values, ascending.
    new_y, new_x
        Wanted positions, at least one step inside.
    """
    return _cubic(y, new_y) @ values.astype(np.float32) @ _cubic(x, new_x).T


def _cubic(old: Array, new: Array) -> Array:
    """Matrix of the cubic convolution kernel with a = -1/2 (Keys 1981), (new, old)."""
    d = np.abs((new[:, np.newaxis] - old) / (old[1] - old[0]))
    near, far = (1.5 * d - 2.5) * d * d + 1, ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d < 1, near, np.where(d < 2, far, 0)).astype(np.float32)


def _rotations(a: Array, b: Array) -> NDArray[np.complex64]:
    """``exp(2 pi i a b)`` of all pairs."""
    angle = np.outer(2 * np.pi * a, b).astype(np.float32)
    return (np.cos(angle) + 1j * np.sin(angle)).astype(np.complex64)


def _harmonics(length: float) -> tuple[Array, Array]:
    """Wave numbers (1/mm) of a tile, and amplitudes of a Gaussian covariance, down to 1 % of the largest."""
    highest = int(np.ceil(0.69 * _TILE_MM / length))
    wave_numbers = np.arange(-highest, highest + 1) / _TILE_MM
    return wave_numbers.astype(np.float32), np.exp(-((np.pi * length * wave_numbers) ** 2)).astype(np.float32)
