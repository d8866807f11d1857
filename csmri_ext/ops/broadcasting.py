"""Whether shapes broadcast, as torch means it: one answer for the ops and for all that is built of them.

Compiled functions run this: in torch 2.7 a compiled ``zip(..., strict=False)`` refuses different lengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def broadcasts(size: Sequence[int], full: Sequence[int]) -> bool:
    """Whether a tensor of shape `size` broadcasts to shape `full`, which stays as it is.

    Equivalent to ``torch.broadcast_shapes(size, full) == torch.Size(full)``, without an error where it is not so.

    Parameters
    ----------
    size, full
        Shapes, of any number of axes.
    """
    return len(size) <= len(full) and all(n in (1, m) for n, m in _last_pairs(size, full))


def broadcast_together(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether tensors of these shapes broadcast to a shape that both share.

    Parameters
    ----------
    a, b
        Shapes, of any number of axes.
    """
    return all(n == m or 1 in (n, m) for n, m in _last_pairs(a, b))


def _last_pairs(a: Sequence[int], b: Sequence[int]) -> Iterator[tuple[int, int]]:
    count = min(len(a), len(b))
    return zip(a[len(a) - count :], b[len(b) - count :], strict=True)
