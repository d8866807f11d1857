"""Convolutions that are one matrix product per pixel: torch's own layers and weights, computed as products.

On one thread torch runs 1x1 convolutions of small batches in a kernel that first copies the image into columns
(``_slow_conv2d``), whatever its layout; in channels_last pixels are rows of a matrix already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn.functional import linear


class PointwiseConv2d(nn.Conv2d):
    """`torch.nn.Conv2d` with kernel 1 and no bias, of one tensor or of the concatenation of several.

    ``y = sum_p W_p x_p``, ``W = (W_1, W_2, ...)`` split over inputs: the concatenation is never made.

    Parameters
    ----------
    in_channels, out_channels
        Channels in, of all tensors together, and out.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1, bias=False)

    if TYPE_CHECKING:  # nn.Module declares __call__ by the forward of nn.Conv2d, of one tensor

        def __call__(self, *parts: Tensor) -> Tensor: ...  # noqa: D102

    def forward(self, *parts: Tensor) -> Tensor:
        """``(batch, channels_p, ny, nx)`` each to ``(batch, out_channels, ny, nx)``; channels_last in and out."""
        first, *rest = parts
        weights = self.weight.flatten(1).split([part.shape[1] for part in parts], dim=1)
        pixels = linear(first.permute(0, 2, 3, 1), weights[0])
        for part, weight in zip(rest, weights[1:], strict=True):
            pixels = pixels + linear(part.permute(0, 2, 3, 1), weight)
        return pixels.permute(0, 3, 1, 2)


class DoublingConvTranspose2d(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` with kernel and stride 2: each pixel becomes a square of four.

    Parameters
    ----------
    in_channels, out_channels
        Channels in and out.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 2, stride=2)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:  # noqa: ARG002
        """``(batch, in_channels, ny, nx)`` to ``(batch, out_channels, 2 ny, 2 nx)``; channels_last in and out."""
        batch, _, ny, nx = x.shape
        weight = self.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (2 2 out, in)
        bias = None if self.bias is None else self.bias.repeat(4)
        squares = linear(x.permute(0, 2, 3, 1), weight, bias).reshape(batch, ny, nx, 2, 2, self.out_channels)
        return squares.transpose(2, 3).reshape(batch, 2 * ny, 2 * nx, self.out_channels).permute(0, 3, 1, 2)
