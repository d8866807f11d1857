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


def of_pairs(size: Sequence[int], full: Sequence[int]) -> str:
    """Say in an error what would help a mask of `size` that fits `full` but for a last axis, or others, of length 1.

    Masks of fastMRI and DIRECT have a last axis of 1, ``(1, 1, nx, 1)`` or ``(batch, 1, 1, nx, 1)``, as their k-space
    has real and imaginary parts there; and one for coils, which k-space of a single one may lack.

    Parameters
    ----------
    size, full
        Shapes, of which the first does not broadcast to the second.
    """
    pairs = len(size) > 1 and size[-1] == 1
    if pairs and broadcasts(size[:-1], full):
        return "; mask.squeeze(-1) drops the axis that real and imaginary parts have"
    for kept in (size[:-1], size) if pairs else (size,):
        fitting = _between(kept, full)
        if fitting is not None and broadcasts(fitting, full):
            return f"; mask.reshape{fitting} fits" + ("" if kept is size else ", without a last axis for parts")
    return ""


def _between(size: Sequence[int], full: Sequence[int]) -> tuple[int, ...] | None:
    """Give a mask for slices, ``(batch, ..., ny, nx)``, as many axes as `full`; None where more than those count."""
    leading = [n for n in size[:-2] if n != 1]
    if len(size) < 2 or len(leading) > 1 or len(full) < 2 + len(leading):
        return None
    ones = (1,) * (len(full) - 2 - len(leading)) if leading else ()
    return (*leading, *ones, *size[-2:])


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
