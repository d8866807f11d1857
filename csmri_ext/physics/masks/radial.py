"""Radial masks on a Cartesian grid: straight lines through the zero frequency, rounded to grid points."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

GOLDEN_ANGLE = math.pi * (math.sqrt(5) - 1) / 2


def line_mask(shape: tuple[int, int], lines: int) -> NDArray[np.bool_]:
    """Evenly spaced lines, one sample per row or column: l1-magic's ``LineMask(L, N)``.

    Line l has the angle ``theta = l pi / L``. Flat lines (within 45 degrees of the x axis) take ``y = round(x tan
    theta)`` for each column, steep ones ``x = round(y / tan theta)`` for each row; ties round away from zero, and row
    and column 0 stay empty. These are the "pseudo-radial" masks of ADMM-Net and ISTA-Net: 27, 55, 85, 117 and 152
    lines at 256 x 256 sample 10, 20, 30, 40 and 50 %. On a rectangle the lines are stretched with it.

    Parameters
    ----------
    shape
        ``(ny, nx)``.
    lines
        Number of lines, at least 1.

    Returns
    -------
        bool ``(ny, nx)``, zero frequency at ``(ny // 2, nx // 2)``.
    """
    ny, nx = shape
    mask = np.zeros(shape, dtype=bool)
    mask[ny // 2, nx // 2] = True
    y, x = np.arange(1, ny) - ny // 2, np.arange(1, nx) - nx // 2
    for theta in np.linspace(0, math.pi - math.pi / lines, lines):
        if theta <= math.pi / 4 or theta > 3 * math.pi / 4:
            across = _round_half_away(math.tan(theta) * x * (ny / nx)) + ny // 2
            inside = across < ny  # an odd size has one more frequency on the positive side
            mask[across[inside], x[inside] + nx // 2] = True
        else:
            across = _round_half_away(y / math.tan(theta) * (nx / ny)) + nx // 2
            inside = across < nx
            mask[y[inside] + ny // 2, across[inside]] = True
    return mask


def golden_mask(shape: tuple[int, int], lines: int, first_angle: float = 0.0) -> NDArray[np.bool_]:
    """Spokes at ``first_angle + k pi (sqrt(5) - 1) / 2``, sampled every half grid step, nearest neighbour.

    A spoke is a diameter of the ellipse inside the grid: the corners stay empty. More lines only add samples.

    Parameters
    ----------
    shape
        ``(ny, nx)``.
    lines
        Number of spokes, at least 1.
    first_angle
        Radians.

    Returns
    -------
        bool ``(ny, nx)``, zero frequency at ``(ny // 2, nx // 2)``.
    """
    ny, nx = shape
    theta = (first_angle + GOLDEN_ANGLE * np.arange(lines))[:, None]
    n = max(ny, nx)
    radius = np.arange(-n, n) / n
    y = np.rint(ny // 2 + radius * (ny / 2) * np.sin(theta)).astype(int)
    x = np.rint(nx // 2 + radius * (nx / 2) * np.cos(theta)).astype(int)
    inside = (y >= 0) & (y < ny) & (x >= 0) & (x < nx)
    mask = np.zeros(shape, dtype=bool)
    mask[y[inside], x[inside]] = True
    return mask


def closest_to(draw: Callable[[int], NDArray[np.bool_]], n_samples: float, most_lines: int) -> NDArray[np.bool_]:
    """Return ``draw(lines)`` for the number of lines whose number of samples comes closest to `n_samples`.

    Bisection; the count need only grow on the whole, as neighbours are compared at the end.

    Raises
    ------
    ValueError
        Even `most_lines` lines have fewer samples.
    """
    few, many = 1, 1
    while draw(many).sum() < n_samples:
        if many == most_lines:
            full = draw(many)
            raise ValueError(
                f"lines reach at most {full.mean():.1%} of a {full.shape[0]} x {full.shape[1]} grid, "
                f"{n_samples / full.size:.1%} were asked for: use acceleration >= {full.size / full.sum():.2f}"
            )
        few, many = many, min(2 * many, most_lines)
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if draw(middle).sum() >= n_samples else (middle, many)
    candidates = [draw(lines) for lines in range(max(few - 1, 1), many + 2)]
    return min(candidates, key=lambda mask: abs(mask.sum() - n_samples))


def _round_half_away(x: NDArray[np.floating]) -> NDArray[np.int64]:
    return (np.sign(x) * np.floor(np.abs(x) + 0.5)).astype(np.int64)
