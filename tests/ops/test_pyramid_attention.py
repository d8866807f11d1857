from __future__ import annotations

from typing import Any

import pytest
import torch
from tolerance import assert_as_accurate, relative_error
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from csmri_ext.nn import PGSA
from csmri_ext.ops import pyramid_attention, pyramid_convolution, reference

# batch, channels of the parts, (kernel, groups) of the branches, outputs per branch, ny, nx
CASES: list[tuple[int, tuple[int, ...], tuple[tuple[int, int], ...], int, int, int]] = [
    (2, (32, 32, 32), ((3, 1), (5, 2), (7, 4), (9, 8)), 8, 40, 70),  # the paper's first PGSA
    (1, (32, 32), ((3, 1), (5, 2), (7, 4), (9, 8)), 8, 37, 64),
    (1, (5, 3), ((3, 1), (5, 2), (7, 4), (9, 8)), 8, 7, 3),  # smaller than the kernels
    (2, (50,), ((7, 1), (9, 2)), 6, 33, 65),  # groups that begin inside a chunk of channels
    (1, (40,), ((9, 1), (3, 4), (5, 2), (7, 1)), 4, 19, 130),
    (1, (4, 3), ((3, 1), (5, 1), (7, 1), (9, 1)), 3, 131, 67),  # several tiles of weight gradients, the last not full
    (1, (2,), ((3, 1),), 3, 1, 1),
]


def make(case: Any, dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], Tensor, list[Tensor], list[int]]:
    batch, channels, branches, width, ny, nx = case
    generator = torch.Generator().manual_seed(ny * nx + sum(channels))

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    weights = [random(width, sum(channels) // g, k, k) for k, g in branches]
    return [random(batch, c, ny, nx) for c in channels], random(len(channels)), weights, [g for _, g in branches]


def run(op: Any, dtype: torch.dtype, case: Any) -> dict[str, Tensor]:
    """Outputs of `op` and gradients of a random function of them."""
    parts, scales, weights, groups = make(case)
    parts, weights = ([t.to(dtype, copy=True).requires_grad_() for t in ts] for ts in (parts, weights))
    scales = scales.to(dtype, copy=True).requires_grad_()
    features, mean, maximum = op(parts, weights, groups, scales)
    generator = torch.Generator().manual_seed(1)
    outputs = {"features": features, "mean": mean, "maximum": maximum}
    factors = [torch.randn(o.shape, generator=generator).to(dtype) for o in outputs.values()]
    torch.autograd.backward(list(outputs.values()), factors)
    named = {f"grad part {i}": p.grad for i, p in enumerate(parts)} | {"grad scales": scales.grad}
    named |= {f"grad weight {i}": w.grad for i, w in enumerate(weights)}
    return {**{k: v.detach() for k, v in outputs.items()}, **named}


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_reference(case: Any) -> None:
    kernel = run(pyramid_convolution, torch.float32, case)
    twin = run(reference.pyramid_convolution, torch.float32, case)
    truth = run(reference.pyramid_convolution, torch.float64, case)
    double = run(pyramid_convolution, torch.float64, case)
    for name, value in kernel.items():
        assert_as_accurate(value, twin[name], truth[name], name)
        assert relative_error(double[name], truth[name]) < 1e-13, name


def test_opcheck() -> None:
    parts, scales, weights, groups = make((2, (2, 2), ((3, 1), (5, 2)), 2, 5, 4))
    arguments = (
        [p.requires_grad_() for p in parts],
        scales.requires_grad_(),
        [w.requires_grad_() for w in weights],
        groups,
    )
    torch.library.opcheck(torch.ops.csmri_ext.pyramid_attention.default, arguments)
    features, mean, maximum, argmax = (o.detach() for o in torch.ops.csmri_ext.pyramid_attention(*arguments))
    inputs = ([p.detach() for p in parts], scales.detach(), [w.detach() for w in weights], groups)
    for need_x, need_weight in ((True, True), (True, False), (False, True)):
        torch.library.opcheck(
            torch.ops.csmri_ext.pyramid_attention_backward.default,
            ([features, mean, maximum], argmax, *inputs, need_x, need_weight),
        )


def test_maximum_of_ties_is_the_first_pixel() -> None:
    x = torch.zeros(1, 1, 30, 90, requires_grad=True)
    weight = torch.zeros(1, 1, 3, 3)
    weight[..., 1, 1] = 1
    with torch.no_grad():
        x[0, 0, 29, 3] = x[0, 0, 20, 80] = x[0, 0, 20, 70] = 2  # in three different tiles
    pyramid_convolution([x], [weight], [1])[2].sum().backward()
    assert x.grad is not None
    assert x.grad.nonzero().tolist() == [[0, 0, 20, 70]]


def test_expanded_gradient_and_empty_batch() -> None:
    parts, scales, weights, groups = make((1, (4,), ((3, 1),), 2, 6, 7))
    a, b = (parts[0].clone().requires_grad_() for _ in range(2))
    pyramid_convolution([a], weights, groups, scales)[0].sum().backward()
    reference.pyramid_convolution([b], weights, groups, scales)[0].sum().backward()
    torch.testing.assert_close(a.grad, b.grad)
    weight = weights[0].requires_grad_()
    features, mean, _ = pyramid_convolution([torch.empty(0, 4, 6, 7)], [weight], groups)
    (features.sum() + mean.sum()).backward()
    assert features.shape == (0, 2, 6, 7)
    assert torch.equal(weight.grad, torch.zeros_like(weight))


@pytest.mark.parametrize(
    ("parts", "weights", "groups", "scales", "words"),
    [
        ([(1, 4, 5, 5), (1, 4, 5, 6)], [(2, 8, 3, 3)], [1], 2, ["(1, 4, 5, 5)", "(1, 4, 5, 6)"]),
        ([(1, 4, 5, 5)], [(2, 3, 3, 3)], [1], 1, ["(2, 3, 3, 3)", "1 groups on 4 channels"]),
        ([(1, 4, 5, 5)], [(2, 4, 4, 4)], [1], 1, ["(2, 4, 4, 4)", "(3, 5, 7, 9)"]),
        ([(1, 6, 5, 5)], [(2, 2, 3, 3)], [3], 1, ["(2, 2, 3, 3)", "3 groups"]),
        ([(1, 4, 5, 5)], [(2, 4, 3, 3), (4, 4, 5, 5)], [1, 1], 1, ["(4, 4, 5, 5)", "as many outputs as the first, 2"]),
        ([(1, 4, 5, 5)], [(2, 4, 3, 3)], [1], 2, ["(2,)", "(1,)"]),
        ([(1, 1, 5, 5)] * 4, [(2, 4, 3, 3)], [1], 4, ["4 parts", "1 to 3"]),
        ([(1, 4, 0, 5)], [(2, 4, 3, 3)], [1], 1, ["(1, 4, 0, 5)", "no pixels"]),
    ],
)
def test_wrong_shapes(parts: Any, weights: Any, groups: list[int], scales: int, words: list[str]) -> None:
    with pytest.raises(ValueError, match="pyramid_attention") as raised:
        pyramid_convolution(
            [torch.zeros(p) for p in parts], [torch.zeros(w) for w in weights], groups, torch.ones(scales)
        )
    assert all(word in str(raised.value) for word in words)


def test_wrong_dtype_and_device() -> None:
    parts, _, weights, groups = make((1, (2,), ((3, 1),), 1, 4, 4))
    with pytest.raises(TypeError, match=r"torch\.float32, torch\.float64"):
        pyramid_convolution(parts, [weights[0].double()], groups)
    with pytest.raises(ValueError, match="cpu, meta"):
        pyramid_convolution(parts, [weights[0].to("meta")], groups)
    with pytest.raises(TypeError, match=r"torch\.complex64"):
        pyramid_convolution([parts[0].to(torch.complex64)], weights, groups)


def test_flop_formula() -> None:
    layer = PGSA(8, 16, groups=(1, 2, 4, 4))
    with FlopCounterMode(display=False) as counter:
        pyramid_convolution([torch.randn(1, 8, 12, 13)], list(layer.weights), layer.groups)
    assert counter.get_total_flops() == 2 * sum(w.numel() for w in layer.weights) * 12 * 13


def test_module() -> None:
    # Published layer sizes: 33,780 and 22,548 parameters for 96 and 64 input channels.
    assert sum(p.numel() for p in PGSA(96, 32).parameters()) == 33_780
    assert sum(p.numel() for p in PGSA(64, 32).parameters()) == 22_548
    layer = PGSA(12, 8, splits=2, groups=(1, 2))
    parts = [torch.randn(2, 4, 9, 8) for _ in range(3)]
    scales = torch.tensor([1.0, 0.5, -0.25])
    joined = torch.cat([s * p for s, p in zip(scales, parts, strict=True)], dim=1)
    torch.testing.assert_close(layer(parts, scales), layer(joined))
    torch.testing.assert_close(pyramid_attention(joined, list(layer.weights), layer.groups, layer.gate), layer(joined))
    with pytest.raises(ValueError, match="3 groups do not divide 10 inputs"):
        PGSA(10, 8, splits=1, groups=(3,))
