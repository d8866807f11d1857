"""Genotypes of NasN: which operation each node of a cell applies to which input. Data, as in the paper's figures.

A genotype has one entry per node, a node one ``(operation, input)`` pair per edge. Input 0 is the cell before the last,
1 the last cell, ``2 + j`` node j of the same cell. Operations are those of `csmri_ext.nn.nas_cell.OPERATIONS`.

``phantom`` is ours, found by ``csmri search`` on the procedural phantom (docs/search.md). The others are the paper's:
the multiset of operations of each is fixed by the parameters and FLOPs that the paper prints, and by its text: the
operations of wide reach sit in the last nodes behind dilation 2, the cell before the last feeds several nodes. Their
edges are drawn in figures only and are **ours**.
"""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

from csmri_ext.nn.nas_cell import OPERATIONS

Genotype = tuple[tuple[tuple[str, int], ...], ...]

_FIRST = ("sep_conv_3x3", 0), ("dil_2_conv_3x3", 1)
_SECOND = ("dil_2_conv_3x3", 0), ("dil_3_conv_3x3", 2)

GENOTYPES: dict[str, Genotype] = {
    "knee": (_FIRST, _SECOND, (("dil_3_conv_3x3", 2), ("dil_3_conv_3x3", 3))),
    "brain": (_FIRST, _SECOND, (("dil_3_conv_3x3", 2), ("conv_9x1_1x9", 3))),
    "space_b": (_FIRST, (("skip", 0), ("conv_9x1_1x9", 2)), (("dil_2_conv_3x3", 2), ("conv_9x1_1x9", 3))),
    "2nodes": (_FIRST, _SECOND),
    "4nodes": (
        _FIRST,
        _SECOND,
        (("dil_3_conv_3x3", 2), ("dil_3_conv_3x3", 3)),
        (("sep_conv_3x3", 0), ("dil_3_conv_3x3", 4)),
    ),
    "phantom": (
        (("dil_3_conv_3x3", 0), ("dil_2_conv_3x3", 1)),
        (("dil_3_conv_3x3", 1), ("dil_3_conv_3x3", 2)),
        (("sep_conv_3x3", 0), ("dil_3_conv_3x3", 2)),
    ),
}


def check_genotype(genotype: Any) -> Genotype:
    """Return nested lists or tuples as a genotype.

    Raises
    ------
    ValueError
        No nodes, a node without edges, an edge that is not an (operation, input) pair, an unknown operation or an input
        that does not exist yet; the message names the node.
    """
    if not isinstance(genotype, (list, tuple)) or not genotype:
        raise ValueError(f"a genotype is a list of nodes, got {genotype!r}")
    nodes = []
    for i, node in enumerate(genotype):
        if not isinstance(node, (list, tuple)) or not node:
            raise ValueError(f"node {i} is a list of (operation, input) pairs, got {node!r}")
        edges = []
        for edge in node:
            if not isinstance(edge, (list, tuple)) or len(edge) != 2 or type(edge[1]) is not int:
                raise ValueError(f"node {i} has the edge {edge!r}, expected a pair (operation, input)")
            operation, source = edge
            if not isinstance(operation, str) or operation not in OPERATIONS:
                raise ValueError(f"node {i} has the operation {operation!r}, known are {', '.join(OPERATIONS)}")
            if not 0 <= source < i + 2:
                raise ValueError(f"node {i} reads input {source}; at that point only 0 to {i + 1} exist")
            edges.append((operation, source))
        nodes.append(tuple(edges))
    return tuple(nodes)


def write_genotype(path: str | PathLike[str], genotype: Any) -> None:
    """Write a genotype as JSON, one line per node: ``[["sep_conv_3x3", 0], ["dil_2_conv_3x3", 1]]``.

    Raises
    ------
    ValueError
        As in `check_genotype`.
    """
    nodes = ",\n  ".join(json.dumps(node) for node in check_genotype(genotype))
    Path(path).write_text(f'{{"nodes": [\n  {nodes}\n]}}\n')


def read_genotype(path: str | PathLike[str]) -> Genotype:
    """Read what `write_genotype` wrote.

    Raises
    ------
    ValueError
        A file that is not JSON or not a genotype; the message names the file.
    """
    try:
        content = json.loads(Path(path).read_text())
        return check_genotype(content["nodes"] if isinstance(content, dict) and "nodes" in content else content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error
