from __future__ import annotations

from typing import Any

import pytest
import torch
from properties import assert_gradients, at_thread_counts
from tolerance import assert_as_accurate, relative_error
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import csmri_ext
from csmri_ext.ops import reference, relu_conv

# batch, channels, outputs, ny, nx
CASES = [(1, 96, 2, 70, 53), (2, 33, 3, 9, 40), (1, 4, 1, 1, 1), (1, 5, 8, 3, 2)]


def make(case: Any, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    batch, channels, outputs, ny, nx = case
    generator = torch.Generator().manual_seed(ny * nx + channels)
    shapes = (batch, channels, ny, nx), (outputs, channels, 3, 3), (batch, outputs, ny, nx)
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for s in shapes]


def run(op: Any, dtype: torch.dtype, case: Any) -> dict[str, Tensor]:
    tensors = make(case, dtype)
    out = op(*tensors)
    factor = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    grads = torch.autograd.grad(out, tensors, factor)
    return {"out": out.detach(), **dict(zip(("grad x", "grad weight", "grad residual"), grads, strict=True))}


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_reference(case: Any) -> None:
    kernel = run(relu_conv, torch.float32, case)
    twin = run(reference.relu_conv, torch.float32, case)
    truth = run(reference.relu_conv, torch.float64, case)
    double = run(relu_conv, torch.float64, case)
    for name, value in kernel.items():
        assert_as_accurate(value, twin[name], truth[name], name)
        assert relative_error(double[name], truth[name]) < 1e-13, name


def test_gradients_and_opcheck() -> None:
    tensors = make((1, 3, 2, 3, 4), torch.float64)
    assert_gradients(relu_conv, *tensors)
    assert torch.autograd.gradcheck(lambda x: relu_conv(x, tensors[1].detach()), tensors[:1])
    for arguments in (tensors, [*tensors[:2], None]):
        torch.library.opcheck(torch.ops.csmri_ext.relu_conv.default, tuple(arguments))
    x, weight, grad = (t.detach() for t in tensors)
    for needs in ((True, True), (True, False), (False, True)):
        torch.library.opcheck(torch.ops.csmri_ext.relu_conv_backward.default, (grad, x, weight, *needs))


def test_result_does_not_depend_on_batch_threads_or_layout() -> None:
    case = (3, 40, 2, 70, 45)
    results = at_thread_counts((1, 2, 5), lambda: run(relu_conv, torch.float32, case))
    assert all(torch.equal(result[name], value) for result in results[1:] for name, value in results[0].items())
    x, weight, residual = (t.detach() for t in make(case))
    wide = torch.cat([x, x], dim=1).contiguous(memory_format=torch.channels_last)[:, 40:]
    alone = [relu_conv(wide[i : i + 1], weight, residual[i : i + 1]) for i in range(3)]
    assert torch.equal(torch.cat(alone), results[0]["out"])


def test_empty_batch_flops_and_reference_switch() -> None:
    x, weight, residual = make((1, 6, 2, 5, 7))
    empty = relu_conv(x[:0], weight, residual[:0])
    assert empty.shape == (0, 2, 5, 7)
    assert torch.equal(torch.autograd.grad(empty.sum(), weight)[0], torch.zeros_like(weight))
    with FlopCounterMode(display=False) as counter:
        relu_conv(x, weight, residual)
    assert counter.get_total_flops() == 2 * weight.numel() * 35
    with csmri_ext.reference_ops():
        assert torch.equal(relu_conv(x, weight, residual), reference.relu_conv(x, weight, residual))


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([(1, 4, 5, 5), (2, 3, 3, 3)], ["(2, 3, 3, 3)", "(outputs, channels, 3, 3)"]),
        ([(1, 4, 5, 5), (2, 4, 5, 5)], ["(2, 4, 5, 5)"]),
        ([(1, 4, 5, 5), (2, 4, 3, 3), (1, 2, 5, 6)], ["(1, 2, 5, 6)", "(1, 2, 5, 5)"]),
    ],
)
def test_wrong_shapes(shapes: Any, words: list[str]) -> None:
    with pytest.raises(ValueError, match="relu_conv") as raised:
        relu_conv(*(torch.zeros(s) for s in shapes))
    assert all(word in str(raised.value) for word in words)
    with pytest.raises(TypeError, match=r"torch\.float64"):
        relu_conv(torch.zeros(1, 4, 5, 5), torch.zeros(2, 4, 3, 3).double())
