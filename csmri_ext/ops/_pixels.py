"""Images as kernels that work pixel after pixel read them: channels_last, the channels of a pixel side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Return an empty tensor in the layout of the kernels, channels_last."""
    return torch.empty(tuple(shape), dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def dense(x: Tensor) -> Tensor:
    """Return `x` in channels_last, pixel next to pixel."""
    return x.contiguous(memory_format=torch.channels_last)


def in_pixels(x: Tensor) -> tuple[Tensor, int]:
    """Return `x` with its channels side by side in memory, and the elements from one pixel to the next.

    channels_last tensors, and slices of their channels, come back as they are; others are copied.
    """
    _, channels, ny, nx = x.shape
    pixel = x.stride(3)
    if pixel >= channels and x.stride() == (ny * nx * pixel, 1, nx * pixel, pixel):
        return x, pixel
    return dense(x), channels


def extents(x: Tensor) -> dict[str, int]:
    """Return the extents that the arguments of all kernels have."""
    return {"batch": x.shape[0], "ny": x.shape[2], "nx": x.shape[3]}
