"""The order of a tensor's elements in memory, said by axes: `torch.vmap` knows no memory formats."""

from __future__ import annotations

from torch import Tensor


def channels_last(x: Tensor) -> Tensor:
    """Return ``(batch, channels, ny, nx)`` with channels innermost in memory, `x` itself where they are.

    Parameters
    ----------
    x
        Any strides.
    """
    return x.movedim(1, -1).contiguous().movedim(-1, 1)
