"""Cases of `half_shuffle_attention`, the attention half of HSAB, at the three levels of GA-HQS's encoder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cases_convolution import _error, _inference, _training_step
from benchmarks.timing import Case
from csmri_ext import ops
from csmri_ext.ops import reference

LEVELS = {32: 256, 64: 128, 128: 64}  # channels: side of the image
HEAD_WIDTH = 32


class _Layer:
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

    def accuracy(self) -> float:
        wide = [t.double() for t in (self.x, *self.weights)]
        return _error(self.ours(self.x, *self.weights), self.twin(*wide, fused=False))


def attention(channels: int, batch: int = 1) -> Callable[[bool], Case]:
    """Build the layer, forward."""

    def build(compiled: bool) -> Case:
        layer = _Layer(channels, batch)
        x, weights = layer.x, layer.weights
        planes = x.contiguous()
        rivals = {
            "eager NCHW, SDPA": _inference(lambda: layer.twin(planes, *weights)),
            "eager channels_last, SDPA": _inference(lambda: layer.twin(x, *weights)),
            "eager channels_last, softmax": _inference(lambda: layer.twin(x, *weights, fused=False)),
        }
        if compiled:
            step = torch.compile(layer.twin)
            rivals["torch.compile, SDPA"] = _inference(lambda: step(x, *weights))
        return Case(
            name=f"{layer.name}, forward",
            ours=_inference(lambda: layer.ours(x, *weights)),
            rivals=rivals,
            n_bytes=2 * 4 * x.numel(),
            flops=layer.flops,
            target="2x best torch form; aim 4x",
            check=layer.accuracy,
        )

    return build


def attention_training(channels: int, batch: int = 1) -> Callable[[bool], Case]:
    """Build the layer, forward and backward."""

    def build(compiled: bool) -> Case:
        layer = _Layer(channels, batch)
        x, weights = layer.x, layer.weights
        gradient = torch.randn_like(x)
        rivals = {
            "eager NCHW, SDPA": _training_step(layer.twin, gradient.contiguous(), x.contiguous(), *weights),
            "eager channels_last, SDPA": _training_step(layer.twin, gradient, x, *weights),
            "eager channels_last, softmax": _training_step(partial(layer.twin, fused=False), gradient, x, *weights),
        }
        if compiled:
            rivals["torch.compile, SDPA"] = _training_step(torch.compile(layer.twin), gradient, x, *weights)
        return Case(
            name=f"{layer.name}, forward + backward",
            ours=_training_step(layer.ours, gradient, x, *weights),
            rivals=rivals,
            n_bytes=5 * 4 * x.numel(),
            flops=3 * layer.flops,
            target="2x best torch form; aim 4x",
        )

    return build


def cases() -> dict[str, Callable[[bool], Case]]:
    """All cases of this file by short name."""
    forward = {f"half_shuffle_attention forward {channels}": attention(channels) for channels in LEVELS}
    return forward | {
        f"half_shuffle_attention training {channels}": attention_training(channels) for channels in LEVELS
    }
