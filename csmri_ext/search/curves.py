"""How a search went, as tables and figures: strengths of all operations on all edges, losses, cells."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from csmri_ext.bridge.atomic import replacing
from csmri_ext.search.derive import edges_of_nodes
from csmri_ext.search.drawing import COLORS
from csmri_ext.search.search import Epoch


def alpha_figure(history: Sequence[Epoch], operations: Sequence[str]) -> Figure:
    """Draw ``softmax(alpha)`` over the epochs: a row of panels per node, a panel per input, a line per operation.

    Where the line is thick the derived cell has the operation.

    Parameters
    ----------
    history
        Epochs, at least one.
    operations
        Columns of the alphas.
    """
    edges = edges_of_nodes(len(history[0].alphas))
    figure = Figure(figsize=(2.1 * edges[-1] + 0.6, 1.7 * len(edges) + 0.7), layout="constrained")
    axes = figure.subplots(len(edges), edges[-1], sharex=True, sharey=True, squeeze=False)
    numbers = range(1, len(history) + 1)
    first = 0
    for node, n in enumerate(edges):
        for j, panel in enumerate(axes[node]):
            if j >= n:
                panel.set_axis_off()
                continue
            strengths = [epoch.alphas[first + j].softmax(0).tolist() for epoch in history]
            for o, name in enumerate(operations):
                line = [values[o] for values in strengths]
                panel.plot(numbers, line, color=COLORS[name], lw=1, label=name, marker="." if len(line) == 1 else None)
                kept = [
                    v if (name, j) in epoch.genotype[node] else None for v, epoch in zip(line, history, strict=True)
                ]
                panel.plot(numbers, [float("nan") if v is None else v for v in kept], color=COLORS[name], lw=2.6)
            panel.set_title(f"{_input(j)} to {node}", fontsize=9)
            panel.tick_params(labelsize=8, labelbottom=True)
            panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        first += n
    for row in axes:
        row[0].set_ylabel("softmax(alpha)", fontsize=8)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(operations), fontsize=8, frameon=False)
    return figure


def write_alphas(path: str | PathLike[str], history: Sequence[Epoch], operations: Sequence[str]) -> None:
    """Write a CSV table with one line per epoch, edge and operation: alpha, its softmax, and whether it is derived.

    Parameters
    ----------
    path
        File to write.
    history, operations
        As in `alpha_figure`.
    """
    rows = []
    for number, epoch in enumerate(history, 1):
        edge = 0
        for node, n in enumerate(edges_of_nodes(len(epoch.alphas))):
            for j in range(n):
                strengths = epoch.alphas[edge].softmax(0).tolist()
                for name, alpha, strength in zip(operations, epoch.alphas[edge].tolist(), strengths, strict=True):
                    derived = int((name, j) in epoch.genotype[node])
                    rows.append([number, node, j, name, f"{alpha:.7g}", f"{strength:.7g}", derived])
                edge += 1
    _write(path, ["epoch", "node", "input", "operation", "alpha", "softmax", "derived"], rows)


def write_epochs(path: str | PathLike[str], history: Sequence[Epoch]) -> None:
    """Write a CSV table with one line per epoch: losses, learning rate of the weights, derived cell.

    Parameters
    ----------
    path
        File to write.
    history
        Epochs.
    """
    rows = [
        [number, f"{e.weight_loss:.7g}", f"{e.alpha_loss:.7g}", f"{e.learning_rate:.7g}", json.dumps(e.genotype)]
        for number, e in enumerate(history, 1)
    ]
    _write(path, ["epoch", "weight_loss", "alpha_loss", "learning_rate", "genotype"], rows)


def _write(path: str | PathLike[str], header: list[str], rows: Iterable[list[Any]]) -> None:
    with replacing(path) as temporary, Path(temporary).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _input(j: int) -> str:
    return f"$C_{{k-{2 - j}}}$" if j < 2 else str(j - 2)
