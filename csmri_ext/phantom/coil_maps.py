"""Smooth receive sensitivities of loops around the object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def loop_sensitivities(
    y: NDArray[np.float32], x: NDArray[np.float32], n_coils: int, seed: int
) -> NDArray[np.complex64]:
    """Sensitivities of `n_coils` loops on a ring, normalised to a root sum of squares of one.

    The magnitude is that of a circular loop of radius a on its axis, ``(1 + d^2 / a^2)^(-3/2)`` at distance d; the
    phase is the direction in which the pixel is seen from the coil, as in a birdcage. Places and radii vary with the
    seed.

    Parameters
    ----------
    y, x
        Positions of the pixels in mm, (ny,) and (nx,), the object around 0.
    n_coils
        Number of coils; one coil has sensitivity 1 everywhere.
    seed
        Seed of the array.

    Returns
    -------
        complex64, (n_coils, ny, nx).

    Raises
    ------
    ValueError
        `n_coils` is below 1.
    """
    if n_coils < 1:
        raise ValueError(f"n_coils is {n_coils}; expected at least 1")
    if n_coils == 1:
        return np.ones((1, y.size, x.size), np.complex64)
    rng = np.random.default_rng([seed, 2])
    angles = 2 * np.pi * (np.arange(n_coils) + rng.uniform(0, 1) + rng.uniform(-0.15, 0.15, n_coils)) / n_coils
    ring, loop, phases = rng.uniform((120, 55, 0), (145, 85, 2 * np.pi), (n_coils, 3)).T
    position = (x + 1j * y[:, np.newaxis]).astype(np.complex64)
    maps = np.empty((n_coils, y.size, x.size), np.complex64)
    for coil in range(n_coils):
        center = ring[coil] * np.exp(1j * angles[coil])
        away = np.abs(position - np.complex64(center)) / np.float32(loop[coil])
        # Seen from three times as far: the phase has a vortex there, which must lie outside the image.
        direction = position - np.complex64(3 * center)
        maps[coil] = (1 + away**2) ** -1.5 * (direction / np.abs(direction)) * np.complex64(np.exp(1j * phases[coil]))
    return maps / np.linalg.norm(maps, axis=0)
