"""How far a kernel may be from the float64 truth: twice as far as plain PyTorch in the same precision."""

from __future__ import annotations

import torch
from torch import Tensor


def relative_error(value: Tensor, truth: Tensor) -> float:
    value, truth = value.detach(), truth.detach()
    return float((value.to(truth.dtype) - truth).norm() / truth.norm().clamp_min(1e-300))


def assert_as_accurate(kernel: Tensor, twin: Tensor, truth: Tensor, what: str = "", *, units: int = 6) -> None:
    """`kernel` and `twin` in float32, `truth` in float64, by one formula; `units` of rounding more."""
    assert kernel.shape == truth.shape, f"{what}: shape {tuple(kernel.shape)}, expected {tuple(truth.shape)}"
    floor = units * torch.finfo(kernel.dtype).eps
    error, allowed = relative_error(kernel, truth), 2 * relative_error(twin, truth) + floor
    assert error <= allowed, f"{what}: relative error {error:.2e}, twice the twin's is {allowed:.2e}"
