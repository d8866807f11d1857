"""`draw_cell`: a genotype as the figures of architecture-search papers show it."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve

from csmri_ext.bridge.atomic import replacing
from csmri_ext.models.genotypes import Genotype, check_genotype
from csmri_ext.search.layered import arrange

COLORS = {
    "sep_conv_3x3": "#1f6fb4",
    "dil_2_conv_3x3": "#c2571a",
    "dil_3_conv_3x3": "#a3243b",
    "conv_9x1_1x9": "#6a4c9c",
    "skip": "#4d7c3a",
    "none": "#8a8a8a",
}
"""Color of every operation, in all figures."""

_INPUT, _NODE, _OUTPUT = "#d5e8c6", "#cfe2f3", "#fbe7b2"
_BOX, _GAP, _LABEL = (0.92, 0.46), 0.34, (1.42, 0.28)  # inches: width and height of boxes and labels
_HEIGHTS = {"state": 0.72, "label": 0.46, "bend": 0.32}  # with the room around them
_SPREAD = 0.13  # between the heads of arrows into one box


def draw_cell(genotype: Any, title: str = "") -> Figure:
    """Draw a cell: its inputs, nodes and output from left to right, every arrow with its operation.

    Parameters
    ----------
    genotype
        As in `csmri_ext.models.genotypes`.
    title
        Line above the cell.

    Returns
    -------
        A figure as large as the cell needs.

    Raises
    ------
    ValueError
        No genotype.
    """
    return _Drawing(check_genotype(genotype)).figure(title)


def save_figure(figure: Figure, stem: str | PathLike[str]) -> None:
    """Write ``stem.png`` and ``stem.svg``, each whole or not at all; equal figures give equal files."""
    for ending, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
        path = Path(f"{stem}{ending}")
        with replacing(path) as temporary, mpl.rc_context({"svg.hashsalt": "csmri_ext"}):
            figure.savefig(temporary, format=ending[1:], dpi=150, metadata=metadata)


class _Drawing:
    """Even columns hold boxes, odd ones labels; an arrow that passes a column bends there, so it meets no box."""

    def __init__(self, genotype: Genotype) -> None:
        n = len(genotype)
        depth = [0, 0]
        for node in genotype:
            depth.append(1 + max(depth[source] for _, source in node))
        self.output = n + 2
        depth.append(1 + max(depth))
        self.columns: list[list[Any]] = [[] for _ in range(2 * depth[-1] + 1)]
        for state, d in enumerate(depth):
            self.columns[2 * d].append(("state", state))
        self.arrows: list[tuple[str | None, list[Any]]] = []
        for i, node in enumerate(genotype):
            for e, (operation, source) in enumerate(node):
                self._add_arrow(operation, source, i + 2, depth, e)
        for i in range(n):
            self._add_arrow(None, i + 2, self.output, depth, 0)
        links = [pair for _, chain in self.arrows for pair in pairwise(chain)]
        heights = {item: _HEIGHTS[item[0]] for column in self.columns for item in column}
        self.y = arrange(self.columns, links, heights)
        self.level = [_LABEL[0] if c % 2 else _BOX[0] for c in range(len(self.columns))]
        self.level[-2] = 0.0  # only the unlabelled arrows to the output pass here
        widths = [level + 2 * _GAP * (c % 2) for c, level in enumerate(self.level)]
        self.x = [sum(widths[:c]) + widths[c] / 2 for c in range(len(widths))]
        self.width = sum(widths)

    def _add_arrow(self, operation: str | None, source: int, target: int, depth: list[int], edge: int) -> None:
        chain: list[Any] = [("state", source)]
        for column in range(2 * depth[source] + 1, 2 * depth[target]):
            kind = "label" if operation is not None and column == 2 * depth[target] - 1 else "bend"
            chain.append((kind, source, target, edge, column))
            self.columns[column].append(chain[-1])
        self.arrows.append((operation, [*chain, ("state", target)]))

    def figure(self, title: str) -> Figure:
        low, high = min(self.y.values()) - 0.4, max(self.y.values()) + (0.8 if title else 0.4)
        figure = Figure(figsize=(self.width + 0.4, high - low))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(-0.2, self.width + 0.2)
        axes.set_ylim(low, high)
        if title:
            axes.text(self.width / 2, high - 0.25, title, ha="center", va="center", fontsize=11)
        ends = self._ends()
        for number, (operation, chain) in enumerate(self.arrows):
            color = "#9a9a9a" if operation is None else COLORS[operation]
            curve = self._curve(chain, ends[number])
            style = "-|>,head_length=5,head_width=2.5"
            axes.add_patch(
                FancyArrowPatch(path=curve, arrowstyle=style, color=color, lw=1.3, shrinkA=0, shrinkB=0, zorder=1)
            )
            if operation is not None:
                label = chain[-2]
                x, y = self.x[label[-1]], self.y[label]
                self._box(axes, x, y, _LABEL, "white", color, operation, 8.5, color)
        for column, items in enumerate(self.columns):
            for item in items:
                if item[0] == "state":
                    name, fill = self._state(item[1])
                    self._box(axes, self.x[column], self.y[item], _BOX, fill, "#444444", name, 11, "black")
        return figure

    def _state(self, state: int) -> tuple[str, str]:
        if state < 2:
            return (f"$C_{{k-{2 - state}}}$", _INPUT)
        return ("$C_k$", _OUTPUT) if state == self.output else (str(state - 2), _NODE)

    def _ends(self) -> list[float]:
        """Height at which every arrow meets its target, in the order in which they come in."""
        incoming: dict[Any, list[int]] = defaultdict(list)
        for number, (_, chain) in enumerate(self.arrows):
            incoming[chain[-1]].append(number)
        ends = [0.0] * len(self.arrows)
        for target, numbers in incoming.items():
            numbers.sort(key=lambda number: self.y[self.arrows[number][1][-2]])
            for i, number in enumerate(numbers):
                spread = min(_SPREAD, 0.8 * _BOX[1] / len(numbers))
                ends[number] = self.y[target] + (i - (len(numbers) - 1) / 2) * spread
        return ends

    def _curve(self, chain: list[Any], end: float) -> Curve:
        """Smooth from box to box, level wherever it passes a column."""
        start = next(c for c, items in enumerate(self.columns) if chain[0] in items)
        points = [(self.x[start] + _BOX[0] / 2, self.y[chain[0]])]
        for column, item in enumerate(chain[1:-1], start + 1):
            half = self.level[column] / 2
            points += [(self.x[column] - half, self.y[item]), (self.x[column] + half, self.y[item])]
        points.append((self.x[start + len(chain) - 1] - _BOX[0] / 2 - 0.02, end))
        vertices, codes = [points[0]], [Curve.MOVETO]
        for (x0, y0), (x1, y1) in pairwise(points):
            middle = (x0 + x1) / 2
            vertices += [(middle, y0), (middle, y1), (x1, y1)]
            codes += [Curve.CURVE4] * 3
        return Curve(vertices, codes)

    @staticmethod
    def _box(
        axes: Any,
        x: float,
        y: float,
        size: tuple[float, float],
        fill: str,
        edge: str,
        text: str,
        font: float,
        color: str,
    ) -> None:
        corner = (x - size[0] / 2 + 0.06, y - size[1] / 2 + 0.06)
        inner = (size[0] - 0.12, size[1] - 0.12)
        axes.add_patch(
            FancyBboxPatch(corner, *inner, boxstyle="round,pad=0.06", facecolor=fill, edgecolor=edge, lw=1, zorder=2)
        )
        axes.text(x, y, text, ha="center", va="center", fontsize=font, color=color, zorder=3)
