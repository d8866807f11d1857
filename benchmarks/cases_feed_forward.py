"""Cases of `hsab_feed_forward`, the feed-forward layer of HSAB, at the three levels of GA-HQS's encoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import conv2d, gelu

from benchmarks.hsab_layers import LEVELS, HsabLayer, Rivals, cases_of
from benchmarks.timing import Case
from csmri_ext import ops
from csmri_ext.ops import reference


def _in_planes(x: Tensor, expand: Tensor, depthwise: Tensor, contract: Tensor) -> Tensor:
    """Compute the same with convolutions throughout, as one writes it for NCHW."""
    hidden = gelu(conv2d(x, expand[:, :, None, None]))
    hidden = gelu(conv2d(hidden, depthwise.unsqueeze(1), padding=1, groups=depthwise.shape[0]))
    return conv2d(hidden, contract[:, :, None, None])


class _FeedForward(HsabLayer):
    target = "1.3x best torch form; aim 2x"
    compiled = "torch.compile"

    def __init__(self, channels: int, batch: int) -> None:
        side = LEVELS[channels]
        self.name = f"K5 HSAB feed-forward C={channels}, {side}x{side}, batch {batch}"
        self.x = torch.randn(batch, channels, side, side).contiguous(memory_format=torch.channels_last)
        sizes = [(4 * channels, channels), (4 * channels, 3, 3), (channels, 4 * channels)]
        self.weights = [torch.randn(size) / (size[1] if len(size) == 2 else 9) ** 0.5 for size in sizes]
        self.flops = 2 * batch * side**2 * sum(w.numel() for w in self.weights)  # without gelu

    def ours(self, x: Tensor, *weights: Tensor) -> Tensor:
        return ops.hsab_feed_forward(x, *weights)

    def twin(self, x: Tensor, *weights: Tensor) -> Tensor:
        return reference.hsab_feed_forward(x, *weights)

    def rivals(self) -> Rivals:
        return {
            "eager NCHW": (_in_planes, self.x.contiguous()),
            "eager channels_last": (_in_planes, self.x),
            "eager channels_last, linear": (self.twin, self.x),
        }


def cases() -> dict[str, Callable[[bool], Case]]:
    """All cases of this file by short name."""
    return cases_of("hsab_feed_forward", _FeedForward)
