"""Cases of `hsab_feed_forward`, the feed-forward layer of HSAB, at the three levels of GA-HQS's encoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import conv2d, gelu

from benchmarks.cases_convolution import _error, _inference, _training_step
from benchmarks.timing import Case
from csmri_ext import ops
from csmri_ext.ops import reference

LEVELS = {32: 256, 64: 128, 128: 64}  # channels: side of the image


def _in_planes(x: Tensor, expand: Tensor, depthwise: Tensor, contract: Tensor) -> Tensor:
    """Compute the same with convolutions throughout, as one writes it for NCHW."""
    hidden = gelu(conv2d(x, expand[:, :, None, None]))
    hidden = gelu(conv2d(hidden, depthwise.unsqueeze(1), padding=1, groups=depthwise.shape[0]))
    return conv2d(hidden, contract[:, :, None, None])


class _Layer:
    def __init__(self, channels: int, batch: int) -> None:
        side = LEVELS[channels]
        self.name = f"K5 HSAB feed-forward C={channels}, {side}x{side}, batch {batch}"
        self.x = torch.randn(batch, channels, side, side)
        self.last = self.x.contiguous(memory_format=torch.channels_last)
        sizes = [(4 * channels, channels), (4 * channels, 3, 3), (channels, 4 * channels)]
        self.weights = [torch.randn(size) / (size[1] if len(size) == 2 else 9) ** 0.5 for size in sizes]
        self.flops = 2 * batch * side**2 * sum(w.numel() for w in self.weights)  # without gelu

    def accuracy(self) -> float:
        wide = [t.double() for t in (self.last, *self.weights)]
        return _error(ops.hsab_feed_forward(self.last, *self.weights), reference.hsab_feed_forward(*wide))


def feed_forward(channels: int, batch: int = 1) -> Callable[[bool], Case]:
    """Build the layer, forward."""

    def build(compiled: bool) -> Case:
        layer = _Layer(channels, batch)
        x, last, weights = layer.x, layer.last, layer.weights
        rivals = {
            "eager NCHW": _inference(lambda: _in_planes(x, *weights)),
            "eager channels_last": _inference(lambda: _in_planes(last, *weights)),
            "eager channels_last, linear": _inference(lambda: reference.hsab_feed_forward(last, *weights)),
        }
        if compiled:
            step = torch.compile(reference.hsab_feed_forward)
            rivals["torch.compile"] = _inference(lambda: step(last, *weights))
        return Case(
            name=f"{layer.name}, forward",
            ours=_inference(lambda: ops.hsab_feed_forward(last, *weights)),
            rivals=rivals,
            n_bytes=2 * 4 * x.numel(),
            flops=layer.flops,
            target="1.3x best torch form; aim 2x",
            check=layer.accuracy,
        )

    return build


def feed_forward_training(channels: int, batch: int = 1) -> Callable[[bool], Case]:
    """Build the layer, forward and backward."""

    def build(compiled: bool) -> Case:
        layer = _Layer(channels, batch)
        x, last, weights = layer.x, layer.last, layer.weights
        gradient = torch.randn_like(x)
        gradient_last = gradient.contiguous(memory_format=torch.channels_last)
        twin = reference.hsab_feed_forward
        rivals = {
            "eager NCHW": _training_step(_in_planes, gradient, x, *weights),
            "eager channels_last": _training_step(_in_planes, gradient_last, last, *weights),
            "eager channels_last, linear": _training_step(twin, gradient_last, last, *weights),
        }
        if compiled:
            rivals["torch.compile"] = _training_step(torch.compile(twin), gradient_last, last, *weights)
        return Case(
            name=f"{layer.name}, forward + backward",
            ours=_training_step(ops.hsab_feed_forward, gradient_last, last, *weights),
            rivals=rivals,
            n_bytes=5 * 4 * x.numel(),
            flops=3 * layer.flops,
            target="1.3x best torch form; aim 2x",
        )

    return build


def cases() -> dict[str, Callable[[bool], Case]]:
    """All cases of this file by short name."""
    forward = {f"hsab_feed_forward forward {channels}": feed_forward(channels) for channels in LEVELS}
    return forward | {f"hsab_feed_forward training {channels}": feed_forward_training(channels) for channels in LEVELS}
