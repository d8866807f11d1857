"""Layout of a small graph in columns: few crossings, short links, nothing on top of anything else."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from scipy.optimize import isotonic_regression

Item = Hashable
Columns = Sequence[Sequence[Item]]
Links = Sequence[tuple[Item, Item]]

_SWEEPS = 24


def arrange(columns: Columns, links: Links, heights: Mapping[Item, float]) -> dict[Item, float]:
    """Place the items of every column above one another.

    Order: sweeps that sort a column by the mean position of its neighbours (Sugiyama), the one with the fewest
    crossings wins. Positions: as near to the neighbours' mean as the heights allow, by isotonic regression.

    Parameters
    ----------
    columns
        Items from left to right.
    links
        Pairs of items in neighbouring columns.
    heights
        Room that an item takes.

    Returns
    -------
        Centre of every item, upwards positive.
    """
    neighbours: dict[Item, list[Item]] = {item: [] for column in columns for item in column}
    for a, b in links:
        neighbours[a].append(b)
        neighbours[b].append(a)
    order = [list(column) for column in columns]
    best, fewest = [list(column) for column in order], crossings(order, links)
    for sweep in range(_SWEEPS):
        inward = range(len(order)) if sweep % 2 == 0 else range(len(order) - 1, -1, -1)
        for c in inward:
            near = c - 1 if sweep % 2 == 0 else c + 1
            if 0 <= near < len(order):
                place = {item: (i + 0.5) / len(order[near]) for i, item in enumerate(order[near])}
                now = {item: (i + 0.5) / len(order[c]) for i, item in enumerate(order[c])}
                means = {
                    item: _mean([place[n] for n in neighbours[item] if n in place], now[item]) for item in order[c]
                }
                order[c].sort(key=means.__getitem__)
        if (found := crossings(order, links)) < fewest:
            best, fewest = [list(column) for column in order], found
    return _positions(best, neighbours, heights)


def crossings(columns: Columns, links: Links) -> int:
    """Count the pairs of links that cross between neighbouring columns."""
    place = {item: (c, i) for c, column in enumerate(columns) for i, item in enumerate(column)}
    ends = [(place[a], place[b]) for a, b in links]
    return sum(a[0] == c[0] and (a[1] - c[1]) * (b[1] - d[1]) < 0 for i, (a, b) in enumerate(ends) for c, d in ends[:i])


def _positions(
    columns: Columns, neighbours: Mapping[Item, Sequence[Item]], heights: Mapping[Item, float]
) -> dict[Item, float]:
    y: dict[Item, float] = {}
    stacked = []  # centres of a column whose items touch
    for column in columns:
        tall = np.array([heights[item] for item in column])
        stacked.append(np.cumsum(tall) - tall / 2)
        y |= dict(zip(column, (stacked[-1] - tall.sum() / 2).tolist(), strict=True))
    for _ in range(_SWEEPS):
        for column, least in zip(columns, stacked, strict=True):
            wanted = np.array([_mean([y[n] for n in neighbours[item]], y[item]) for item in column])
            y |= dict(zip(column, (least + isotonic_regression(wanted - least).x).tolist(), strict=True))
    return {item: -value for item, value in y.items()}


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default
