"""`derive`: the cell that the alphas of a super-network stand for."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from csmri_ext.models.genotypes import Genotype

EDGES_KEPT = 2  # of each node
COMPARISONS = ("softmax", "alpha")


def derive(alphas: Tensor, operations: Sequence[str], *, compare: str = "softmax") -> Genotype:
    """Keep the best operation of every edge, and the best two edges of every node (NasN, derivation of the cell).

    ``none`` is never kept, but it counts in the softmax: an edge that is mostly ``none`` loses against the others.
    Ties go to the earlier operation and to the earlier input.

    Parameters
    ----------
    alphas
        ``(edges, operations)``: two edges of the first node, three of the second...
    operations
        Names of the columns.
    compare
        ``softmax``: edges compete by ``softmax(alpha)``, as in DARTS; ``alpha``: by the alphas themselves, as in the
        NasN paper's code.

    Returns
    -------
        Per node two ``(operation, input)`` pairs, by input.

    Raises
    ------
    ValueError
        Alphas of another shape or not finite; another comparison; no operation but ``none``.
    """
    if compare not in COMPARISONS:
        raise ValueError(f"compare is {compare!r}, expected {' or '.join(COMPARISONS)}")
    kept = [o for o, name in enumerate(operations) if name != "none"]
    if not kept:
        raise ValueError(f"operations {tuple(operations)}: nothing to choose from")
    edges = edges_of_nodes(alphas.shape[0])
    if alphas.shape != (sum(edges), len(operations)) or not bool(alphas.isfinite().all()):
        raise ValueError(
            f"alphas {tuple(alphas.shape)} for {len(operations)} operations: expected finite numbers, "
            "(2 + 3 + ... edges, operations)"
        )
    values = (alphas.detach().double().softmax(1) if compare == "softmax" else alphas.detach().double()).tolist()
    nodes, first = [], 0
    for n in edges:
        best = [(max(kept, key=values[first + j].__getitem__), j) for j in range(n)]
        strongest = sorted(best, key=lambda edge: -values[first + edge[1]][edge[0]])[:EDGES_KEPT]
        nodes.append(tuple((operations[o], j) for o, j in sorted(strongest, key=lambda edge: edge[1])))
        first += n
    return tuple(nodes)


def edges_of_nodes(total: int) -> list[int]:
    """Split a number of edges by node: ``[2, 3, 4]`` for 9; the sum is less where `total` is no such number."""
    edges: list[int] = []
    while sum(edges) + len(edges) + 2 <= total:
        edges.append(len(edges) + 2)
    return edges
