"""Variable-density Poisson disc masks: random samples that keep a distance which grows away from the centre.

The distance is ``d(k) = 1 + slope |k|``, with ``|k| = 1`` at the middle of the grid's edges. Such a mask is incoherent
like a random one, without its gaps and clusters. Squared distances between grid points are whole numbers, so ``d^2`` is
rounded to one of its two neighbours at random; without that, the density would jump with the slope.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

TOLERANCE = 0.01
MAX_STEPS = 40


def poisson_disc(rng: RandomState, center: NDArray[np.bool_], n_samples: float) -> NDArray[np.bool_]:
    """Draw a variable-density Poisson disc mask with a given number of samples.

    The slope is found by false position, with one order of visits for all steps. The search ends within 1 % of
    `n_samples`; grids so small that a few samples are more than that get the closest mask found.

    Parameters
    ----------
    rng
        Source of the order in which grid points are visited.
    center
        bool ``(ny, nx)``, the fully sampled calibration block.
    n_samples
        Number of samples wanted, those of the centre included.

    Returns
    -------
        bool ``(ny, nx)``, zero frequency at ``(ny // 2, nx // 2)``. The squared distance between two samples
        outside the centre is at least the smaller of their two ``floor(d^2)``.
    """
    ny, nx = center.shape
    order: list[int] = rng.permutation(ny * nx).tolist()
    dither = rng.uniform(size=(ny, nx))
    goal = math.log(n_samples / center.size)
    best = np.ones((ny, nx), dtype=bool)
    dense, sparse = (0.0, 0.0), (math.inf, -math.inf)  # log(1 + slope) and log(fraction), nearly proportional
    guess = -goal / 2
    for _ in range(MAX_STEPS):
        squared_distance = sample_distance((ny, nx), math.expm1(guess)) ** 2
        mask = _throw_darts(order, np.floor(squared_distance + dither)) | center
        if abs(mask.sum() - n_samples) < abs(best.sum() - n_samples):
            best = mask
        if abs(best.sum() - n_samples) <= TOLERANCE * n_samples:
            break
        point = (guess, math.log(mask.mean()))
        dense, sparse = (point, sparse) if point[1] > goal else (dense, point)
        if math.isinf(sparse[0]):
            guess *= 1.5
        else:
            guess = dense[0] + (goal - dense[1]) / (sparse[1] - dense[1]) * (sparse[0] - dense[0])
    return best


def sample_distance(shape: tuple[int, int], slope: float) -> NDArray[np.float64]:
    """Distance in grid steps that a sample keeps, ``1 + slope |k|``, float64 ``(ny, nx)``."""
    y, x = (2 * (np.arange(n) - n // 2) / n for n in shape)
    return 1 + slope * np.hypot(y[:, None], x[None, :])


def _throw_darts(order: list[int], squared_distance: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Visit the grid points in order; sample those that no earlier sample has covered with its disc."""
    ny, nx = squared_distance.shape
    level = np.minimum(squared_distance, max(ny, nx) ** 2).astype(int)
    margin = math.isqrt(level.max())
    along = np.arange(-margin, margin + 1) ** 2
    squared = along[:, None] + along[None, :]
    reach = {value: math.isqrt(value - 1) for value in np.unique(level).tolist()}
    outside = {
        value: (squared >= value)[margin - r : margin + r + 1, margin - r : margin + r + 1].astype(np.uint8)
        for value, r in reach.items()
    }
    width = nx + 2 * margin
    cells = bytearray(b"\1") * ((ny + 2 * margin) * width)
    free = np.frombuffer(cells, dtype=np.uint8).reshape(-1, width)  # shares memory: reading one byte is cheaper there
    levels = level.ravel().tolist()
    mask = np.zeros(ny * nx, dtype=bool)
    for i in order:
        y, x = divmod(i, nx)
        if cells[(y + margin) * width + x + margin]:
            mask[i] = True
            r = reach[levels[i]]
            free[y + margin - r : y + margin + r + 1, x + margin - r : x + margin + r + 1] &= outside[levels[i]]
    return mask.reshape(ny, nx)
