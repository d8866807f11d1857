"""Cases of the convolution operators: the split depth-wise chain (SDC) and the convolution pyramid (PGSA)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.timing import Case
from csmri_ext import ops
from csmri_ext.ops import reference

SIDE = 320


def _inference(function: Callable[[], Any]) -> Callable[[], Any]:
    def call() -> Any:
        with torch.inference_mode():
            return function()

    return call


def _error(value: Tensor, truth: Tensor) -> float:
    return float((value.double() - truth).norm() / truth.norm())


def _training_step(op: Callable[..., Tensor], gradient: Tensor, *leaves: Tensor) -> Callable[[], None]:
    """Forward and backward of `op`, gradients freed between calls."""
    own = [leaf.detach().clone().requires_grad_() for leaf in leaves]

    def call() -> None:
        for leaf in own:
            leaf.grad = None
        op(*own).backward(gradient)

    return call


def _backward_only(op: Callable[..., Tensor], gradient: Tensor, *leaves: Tensor) -> Callable[[], None]:
    own = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    out = op(*own)

    def call() -> None:
        for leaf in own:
            leaf.grad = None
        out.backward(gradient, retain_graph=True)

    return call


def split_depthwise_forward(batch: int) -> Callable[[bool], Case]:
    """SDC of 32 channels in four groups."""

    def build(compiled: bool) -> Case:
        x, weight = torch.randn(batch, 32, SIDE, SIDE), torch.randn(3, 8, 3, 3)
        last = x.contiguous(memory_format=torch.channels_last)
        rivals = {
            "eager NCHW": _inference(lambda: reference.split_depthwise(x, weight)),
            "eager channels_last": _inference(lambda: reference.split_depthwise(last, weight)),
        }
        if compiled:
            step = torch.compile(reference.split_depthwise)
            rivals["torch.compile"] = _inference(lambda: step(x, weight))
        return Case(
            name=f"K2 SDC C=32, batch {batch}, forward",
            ours=_inference(lambda: ops.split_depthwise(x, weight)),
            rivals=rivals,
            n_bytes=2 * 4 * x.numel(),
            flops=2 * 9 * 24 * batch * SIDE * SIDE,
            target="3x eager; aim 5x, 80 % of copy" if batch == 8 else "",
            check=lambda: _error(
                ops.split_depthwise(x[:1], weight), reference.split_depthwise(x[:1].double(), weight.double())
            ),
        )

    return build


def split_depthwise_backward(batch: int) -> Callable[[bool], Case]:
    """Backward pass of the same."""

    def build(compiled: bool) -> Case:
        x, weight, gradient = (
            torch.randn(batch, 32, SIDE, SIDE),
            torch.randn(3, 8, 3, 3),
            torch.randn(batch, 32, SIDE, SIDE),
        )
        last = x.contiguous(memory_format=torch.channels_last)
        gradient_last = gradient.contiguous(memory_format=torch.channels_last)
        rivals = {
            "eager NCHW": _backward_only(reference.split_depthwise, gradient, x, weight),
            "eager channels_last": _backward_only(reference.split_depthwise, gradient_last, last, weight),
        }
        if compiled:
            rivals["torch.compile"] = _backward_only(torch.compile(reference.split_depthwise), gradient, x, weight)
        return Case(
            name=f"K2 SDC C=32, batch {batch}, backward",
            ours=_backward_only(ops.split_depthwise, gradient, x, weight),
            rivals=rivals,
            n_bytes=4 * 4 * x.numel(),
            flops=2 * 2 * 9 * 24 * batch * SIDE * SIDE,
            target="2.5x eager; aim 4x" if batch == 8 else "",
        )

    return build


class _Pyramid:
    """The paper's first PGSA: 96 -> 32 channels, kernels 3, 5, 7, 9, groups 1, 2, 4, 8."""

    groups = (1, 2, 4, 8)

    def __init__(self, batch: int) -> None:
        self.x = torch.randn(batch, 96, SIDE, SIDE)
        self.weights = [torch.randn(8, 96 // g, k, k) * 0.02 for g, k in zip(self.groups, (3, 5, 7, 9), strict=True)]
        self.scales = torch.ones(1)
        self.squeeze = torch.randn(32, 32) * 0.1

    def gate(self, mean: Tensor, maximum: Tensor) -> Tensor:
        return torch.sigmoid((mean + maximum) @ self.squeeze)

    def ours(self, x: Tensor, *weights: Tensor) -> Tensor:
        return ops.pyramid_attention([x], weights, self.groups, self.gate, self.scales)

    def twin(self, x: Tensor, *weights: Tensor) -> Tensor:
        return reference.pyramid_attention([x], weights, self.groups, self.gate, self.scales)

    def flops(self) -> int:
        return 2 * sum(w.numel() for w in self.weights) * self.x.shape[0] * SIDE * SIDE


def pyramid_forward(batch: int) -> Callable[[bool], Case]:
    """PGSA, forward."""

    def build(compiled: bool) -> Case:
        p = _Pyramid(batch)
        last = p.x.contiguous(memory_format=torch.channels_last)
        weights_last = [w.contiguous(memory_format=torch.channels_last) for w in p.weights]
        rivals = {
            "eager NCHW": _inference(lambda: p.twin(p.x, *p.weights)),
            "eager channels_last": _inference(lambda: p.twin(last, *weights_last)),
        }
        if compiled:
            step = torch.compile(p.twin)
            rivals["torch.compile"] = _inference(lambda: step(last, *weights_last))
        return Case(
            name=f"K3 PGSA 96 -> 32, batch {batch}, forward",
            ours=_inference(lambda: p.ours(p.x, *p.weights)),
            rivals=rivals,
            n_bytes=4 * (96 + 32 + 2 * 32) * batch * SIDE * SIDE,
            flops=p.flops(),
            target="8x NCHW, 4x channels_last; aim 13x, 6.5x, 90 % of peak",
            check=lambda: _error(
                p.ours(p.x[:, :, :64, :80], *p.weights),
                _double(p, p.x[:, :, :64, :80]),
            ),
        )

    return build


def _double(p: _Pyramid, x: Tensor) -> Tensor:
    gate = lambda mean, maximum: torch.sigmoid((mean + maximum) @ p.squeeze.double())  # noqa: E731
    return reference.pyramid_attention([x.double()], [w.double() for w in p.weights], p.groups, gate, p.scales.double())


def pyramid_training(batch: int) -> Callable[[bool], Case]:
    """PGSA, forward and backward."""

    def build(compiled: bool) -> Case:
        p = _Pyramid(batch)
        gradient = torch.randn(batch, 32, SIDE, SIDE)
        last = p.x.contiguous(memory_format=torch.channels_last)
        gradient_last = gradient.contiguous(memory_format=torch.channels_last)
        rivals = {
            "eager NCHW": _training_step(p.twin, gradient, p.x, *p.weights),
            "eager channels_last": _training_step(p.twin, gradient_last, last, *p.weights),
        }
        if compiled:
            rivals["torch.compile"] = _training_step(torch.compile(p.twin), gradient_last, last, *p.weights)
        return Case(
            name=f"K3 PGSA 96 -> 32, batch {batch}, forward + backward",
            ours=_training_step(p.ours, gradient, p.x, *p.weights),
            rivals=rivals,
            n_bytes=4 * (3 * 96 + 6 * 32) * batch * SIDE * SIDE,
            flops=3 * p.flops(),
            target="3x best torch form; aim 6x",
        )

    return build


def overhead() -> list[Callable[[bool], Case]]:
    """Cost of a call: batch 1, 16 x 16."""

    def chain(_: bool) -> Case:
        x, weight = torch.randn(1, 32, 16, 16), torch.randn(3, 8, 3, 3)
        return Case(
            name="K2 SDC C=32, batch 1, 16x16 (call overhead)",
            ours=_inference(lambda: ops.split_depthwise(x, weight)),
            rivals={"eager NCHW": _inference(lambda: reference.split_depthwise(x, weight))},
            n_bytes=2 * 4 * x.numel(),
            flops=2 * 9 * 24 * 256,
        )

    def pyramid(_: bool) -> Case:
        p = _Pyramid(1)
        p.x = p.x[:, :, :16, :16].contiguous()
        return Case(
            name="K3 PGSA 96 -> 32, batch 1, 16x16 (call overhead)",
            ours=_inference(lambda: p.ours(p.x, *p.weights)),
            rivals={"eager NCHW": _inference(lambda: p.twin(p.x, *p.weights))},
            n_bytes=4 * 192 * 256,
            flops=2 * sum(w.numel() for w in p.weights) * 256,
        )

    return [chain, pyramid]


def cases() -> dict[str, Callable[[bool], Case]]:
    """All cases of this file by short name."""
    chain, pyramid = overhead()
    return {
        "split_depthwise forward 8": split_depthwise_forward(8),
        "split_depthwise forward 1": split_depthwise_forward(1),
        "split_depthwise backward 8": split_depthwise_backward(8),
        "pyramid_attention forward 1": pyramid_forward(1),
        "pyramid_attention training 1": pyramid_training(1),
        "split_depthwise overhead": chain,
        "pyramid_attention overhead": pyramid,
    }
