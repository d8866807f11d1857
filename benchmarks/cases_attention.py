"""Cases of `half_shuffle_attention`, the attention half of HSAB, at the three levels of GA-HQS's encoder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.hsab_layers import LEVELS, HsabLayer, Rivals, cases_of
from benchmarks.timing import Case
from csmri_ext import ops
from csmri_ext.ops import reference

HEAD_WIDTH = 32


class _Attention(HsabLayer):
    target = "2x best torch form; aim 4x"
    compiled = "torch.compile, SDPA"

    def __init__(self, channels: int, batch: int) -> None:
        side, self.heads = LEVELS[channels], channels // HEAD_WIDTH
        self.name = f"K6 HSAB attention C={channels}, {side}x{side}, batch {batch}"
        self.x = torch.randn(batch, channels, side, side).contiguous(memory_format=torch.channels_last)
        norm = [torch.ones(channels), torch.zeros(channels)]
        products = [torch.randn(n * channels, channels) / channels**0.5 for n in (1, 2, 1)]
        self.weights = [*norm, *products, torch.zeros(channels)]
        with FlopCounterMode(display=False) as counter:
            self.ours(self.x, *self.weights)
        self.flops = counter.get_total_flops()

    def ours(self, x: Tensor, *weights: Tensor) -> Tensor:
        op: Callable[..., Tensor] = ops.half_shuffle_attention
        return op(x, *weights, heads=self.heads)

    def twin(self, x: Tensor, *weights: Tensor, fused: bool = True) -> Tensor:
        """Layer norm, products and, if `fused`, attention of torch's own."""
        attention = scaled_dot_product_attention if fused else None
        twin: Callable[..., Tensor] = reference.half_shuffle_attention
        return twin(x, *weights, self.heads, 1e-5, attention)

    def truth(self, x: Tensor, *weights: Tensor) -> Tensor:
        return self.twin(x, *weights, fused=False)

    def rivals(self) -> Rivals:
        return {
            "eager NCHW, SDPA": (self.twin, self.x.contiguous()),
            "eager channels_last, SDPA": (self.twin, self.x),
            "eager channels_last, softmax": (partial(self.twin, fused=False), self.x),
        }


def cases() -> dict[str, Callable[[bool], Case]]:
    """All cases of this file by short name."""
    return cases_of("half_shuffle_attention", _Attention)
