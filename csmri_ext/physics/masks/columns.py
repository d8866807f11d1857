"""Masks of whole columns: which phase-encode lines are acquired outside the fully sampled centre.

Every rule has the same form, ``rule(rng, n, n_low, acceleration, offset)`` -> bool ``(n,)``: the columns it samples,
without the centre of `n_low` columns, which `csmri_ext.physics.masks.kinds` adds. The first five follow fastMRI draw by
draw (``fastmri/data/subsample.py``, commit 91f2df47), so their arithmetic and rounding must not be tidied.
"""

# ruff: noqa: ARG001  (every rule takes the same arguments)
from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

ColumnRule = Callable[[RandomState, int, int, float, int | None], NDArray[np.bool_]]

GAUSSIAN_SIGMA = 0.2


def center_columns(n: int, n_low: int) -> NDArray[np.bool_]:
    """Centre block of fastMRI: `n_low` of `n` columns from ``(n - n_low + 1) // 2`` on, bool ``(n,)``."""
    mask = np.zeros(n, dtype=bool)
    start = (n - n_low + 1) // 2
    mask[start : start + n_low] = True
    return mask


def _random(rng: RandomState, n: int, n_low: int, acceleration: float, offset: int | None) -> NDArray[np.bool_]:
    """Keep each column with probability ``(n / R - n_low) / (n - n_low)``."""
    if n_low == n:
        return np.zeros(n, dtype=bool)
    probability = (n / acceleration - n_low) / (n - n_low)
    return rng.uniform(size=n) < probability


def _equispaced(rng: RandomState, n: int, n_low: int, acceleration: float, offset: int | None) -> NDArray[np.bool_]:
    """Keep columns ``offset, offset + R, ...``."""
    step = _whole(acceleration, "equispaced")
    first = rng.randint(0, high=step) if offset is None else offset
    mask = np.zeros(n, dtype=bool)
    mask[first::step] = True
    return mask


def _equispaced_fraction(
    rng: RandomState, n: int, n_low: int, acceleration: float, offset: int | None
) -> NDArray[np.bool_]:
    """Keep columns ``round(offset + k R')``, ``R' = R (n_low - n) / (n_low R - n)``: R is met with the centre."""
    mask = np.zeros(n, dtype=bool)
    if n_low * acceleration >= n:  # the centre is the whole budget
        return mask
    step = (acceleration * (n_low - n)) / (n_low * acceleration - n)
    first = rng.randint(0, high=round(step)) if offset is None else offset
    mask[np.around(np.arange(first, n - 1, step)).astype(np.uint)] = True
    return mask


def _magic(rng: RandomState, n: int, n_low: int, acceleration: float, offset: int | None) -> NDArray[np.bool_]:
    """Keep every R-th positive and every R-th negative frequency, interleaved so that mirror images fill each other."""
    step = _whole(acceleration, "magic")
    first = rng.randint(0, high=step) if offset is None else offset
    positive, negative = (first + 1, first + 2) if first % 2 == 0 else (first + 2, first - 1)
    corner = np.zeros(n, dtype=bool)
    n_positive = (n + 1) // 2
    corner[:n_positive][positive::step] = True
    corner[n_positive:][::-1][negative::step] = True
    return np.fft.fftshift(corner)


def _magic_fraction(rng: RandomState, n: int, n_low: int, acceleration: float, offset: int | None) -> NDArray[np.bool_]:
    """`_magic` with ``R' = round(n / (round(n / R) - n_low))``: R is met with the centre."""
    n_outer = round(n / acceleration) - n_low
    if n_outer <= 0:  # the centre is the whole budget
        return np.zeros(n, dtype=bool)
    return _magic(rng, n, n_low, round(n / n_outer), offset)


def _gaussian(rng: RandomState, n: int, n_low: int, acceleration: float, offset: int | None) -> NDArray[np.bool_]:
    """Draw ``round(n / R) - n_low`` outer columns without replacement, density ``exp(-(k - n // 2)^2 / 2 sigma^2)``."""
    distance = np.arange(n) - n // 2
    density = np.exp(-0.5 * (distance / (GAUSSIAN_SIGMA * n)) ** 2)
    density[center_columns(n, n_low)] = 0
    n_outer = max(round(n / acceleration) - n_low, 0)
    mask = np.zeros(n, dtype=bool)
    if n_outer:
        mask[rng.choice(n, size=n_outer, replace=False, p=density / density.sum())] = True
    return mask


def _whole(acceleration: float, kind: str) -> int:
    if acceleration != int(acceleration):
        raise ValueError(f"{kind} needs a whole acceleration, got {acceleration:g}; {kind}_fraction takes any")
    return int(acceleration)


COLUMN_RULES: dict[str, ColumnRule] = {
    "random": _random,
    "equispaced": _equispaced,
    "equispaced_fraction": _equispaced_fraction,
    "magic": _magic,
    "magic_fraction": _magic_fraction,
    "gaussian": _gaussian,
}
COMBS = ("equispaced", "equispaced_fraction", "magic", "magic_fraction")
SPACINGS = ("equispaced", "magic")  # their acceleration is the spacing of the comb, whatever the centre adds
