"""`SplitDepthwiseConv`: the split depth-wise convolution chain as a layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from csmri_ext import ops


class SplitDepthwiseConv(nn.Module):
    """Depth-wise 3x3 convolutions over groups of channels, each group fed by the one before (GA-HQS, eq. 12).

    A drop-in replacement for a depth-wise 3x3 convolution without bias: same shapes in and out, growing receptive field
    from group to group.

    Parameters
    ----------
    channels
        Channels in and out, a multiple of `splits`.
    splits
        Number of groups, 2 to 16.

    Attributes
    ----------
    weight
        ``(splits - 1, channels / splits, 3, 3)``; the first group passes through.
    """

    def __init__(self, channels: int, splits: int = 4) -> None:
        super().__init__()
        if not 2 <= splits <= 16 or channels % splits:
            raise ValueError(f"{channels} channels cannot be split into {splits} groups (2 to 16 allowed)")
        self.channels, self.splits = channels, splits
        self.weight = nn.Parameter(torch.empty(splits - 1, channels // splits, 3, 3))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as `torch.nn.Conv2d` does for a depth-wise 3x3 convolution."""
        bound = 1 / math.sqrt(9)
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, ny, nx)`` to the same shape, contiguous."""
        return ops.split_depthwise(x, self.weight)

    def flops(self, x: torch.Size) -> int:
        """Multiply-adds, for `csmri_ext.metrics.count_flops`."""
        return x[0] * x[-2] * x[-1] * self.weight.numel()

    def extra_repr(self) -> str:
        """Describe the layer in one line."""
        return f"{self.channels}, splits={self.splits}"
