"""`PGSA`: pyramid gated-squeeze attention as a layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from csmri_ext import ops


class PGSA(nn.Module):
    """Group convolutions with kernels 3, 5, 7, 9 over one input, weighted by what they pool to (GA-HQS, eq. 8-11).

    Branch ``i`` has ``C = out_channels / splits`` outputs. Each branch's means pass through one small bottleneck that
    all branches share (C -> C / reduction -> C, ReLU between), its maxima through another; the sigmoid of the
    sum scales the branch.

    Parameters
    ----------
    in_channels, out_channels
        Channels in (of all parts together) and out.
    splits
        Number of branches, 1 to 4.
    groups
        Groups of each branch's convolution, growing against the kernel size.
    reduction
        Ratio of the bottlenecks.

    Raises
    ------
    ValueError
        Numbers that do not fit together: both are named.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        splits: int = 4,
        groups: Sequence[int] = (1, 2, 4, 8),
        reduction: int = 4,
    ) -> None:
        super().__init__()
        if not 1 <= splits <= 4:
            raise ValueError(f"splits is {splits}, expected 1 to 4 branches")
        if out_channels % splits:
            raise ValueError(f"{out_channels} outputs do not divide into splits={splits} equal branches")
        if len(groups) != splits or not all(isinstance(group, int) for group in groups):
            raise ValueError(
                f"groups are {tuple(groups)}, expected a whole number for each of splits={splits} branches"
            )
        width = out_channels // splits
        for group in groups:
            if group < 1 or in_channels % group or width % group:
                raise ValueError(f"{group} groups do not divide {in_channels} inputs and {width} outputs of a branch")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, tuple(groups)
        self.hidden = hidden = max(width // reduction, 1)
        self.weights = nn.ParameterList(
            torch.empty(width, in_channels // group, kernel, kernel)
            for group, kernel in zip(groups, ops.KERNEL_SIZES[: len(groups)], strict=True)
        )
        self.squeeze_mean = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.squeeze_maximum = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the convolution weights as `torch.nn.Conv2d` does."""
        for weight in self.weights:
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))

    def gate(self, mean: Tensor, maximum: Tensor) -> Tensor:
        """Scale of each output channel: ``(batch, out_channels)`` pooled responses to the same shape, in (0, 1)."""
        branches = (len(self.groups), -1)
        squeezed = self.squeeze_mean(mean.unflatten(1, branches)) + self.squeeze_maximum(maximum.unflatten(1, branches))
        return torch.sigmoid(squeezed.flatten(1))

    def forward(
        self,
        x: Tensor | Sequence[Tensor],
        scales: Tensor | None = None,
        weights: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Apply the layer to `x`, or to up to three tensors that stand for their concatenation.

        Parameters
        ----------
        x
            ``(batch, in_channels, ny, nx)``, or tensors whose channels add up to `in_channels`.
        scales
            One factor per tensor; default ones.
        weights
            Of the convolutions, instead of the layer's own: made from these for an `x` in which equal channels are one.

        Returns
        -------
            ``(batch, out_channels, ny, nx)``, contiguous.
        """
        return ops.pyramid_attention(x, list(weights or self.weights), self.groups, self.gate, scales)

    def flops(self, *shapes: torch.Size) -> int:
        """Multiply-adds and biases, for `csmri_ext.metrics.count_flops`."""
        batch, _, ny, nx = shapes[0]
        squeezes = (*self.squeeze_mean.parameters(), *self.squeeze_maximum.parameters())
        convolutions = sum(weight.numel() for weight in self.weights)
        return batch * (ny * nx * convolutions + len(self.groups) * sum(p.numel() for p in squeezes))

    def relu_outputs(self, *shapes: torch.Size) -> int:
        """Elements that pass a ReLU: the bottlenecks' hidden units."""
        return shapes[0][0] * len(self.groups) * 2 * self.hidden

    def extra_repr(self) -> str:
        """Describe the layer in one line."""
        return f"{self.in_channels}, {self.out_channels}, groups={self.groups}"
