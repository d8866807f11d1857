from __future__ import annotations

import math
from importlib import import_module
from pathlib import Path

import pytest
import torch
from instruction_sets import results_at_every_level
from tolerance import assert_as_accurate, relative_error
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from csmri_ext.ops import half_shuffle_attention, reference

module = import_module("csmri_ext.ops.half_shuffle_attention")  # the package has a function of the same name
NAMES = ("y", "x", "norm_weight", "norm_bias", "query", "key_value", "project", "bias")

# (batch, channels, heads, ny, nx): blocks of 64 keys, panels of 4 to 32 queries, registers of 2 to 16 channels
SHAPES = [
    (1, 32, 1, 24, 40),
    (2, 16, 1, 8, 16),
    (1, 64, 2, 176, 96),  # 264 windows: two blocks of keys, the last of 8
    (2, 128, 4, 16, 24),
    (1, 80, 2, 16, 8),  # heads of 40: two registers and a half
    (3, 5, 1, 8, 8),
    (1, 12, 4, 88, 56),  # 77 windows: a part of a tile of keys
    (2, 6, 2, 8, 8),
]


def make(
    batch: int, channels: int, heads: int, ny: int, nx: int, dtype: torch.dtype = torch.float32
) -> tuple[list[Tensor], int]:
    generator = torch.Generator().manual_seed(channels + ny)
    c = channels
    sizes = [(batch, c, ny, nx), (c,), (c,), (c, c), (2 * c, c), (c, c), (c,)]
    x, gamma, beta, q, kv, out, bias = (torch.randn(s, generator=generator, dtype=torch.float64) for s in sizes)
    scaled = [3 + 2 * x, 1 + gamma / 4, beta, *(w / c**0.5 for w in (q, kv, out)), bias]
    return [t.to(dtype) for t in scaled], heads


def values_and_gradients(op: object, inputs: list[Tensor], heads: int) -> list[Tensor]:
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    out = op(*leaves, heads, 1e-5)
    gradient = torch.randn(out.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return [out.detach(), *torch.autograd.grad(out, leaves, gradient.to(out.dtype))]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_reference(shape: tuple[int, ...]) -> None:
    inputs, heads = make(*shape)
    twin = reference.half_shuffle_attention
    kernel, plain = (values_and_gradients(op, inputs, heads) for op in (half_shuffle_attention, twin))
    wide = [t.double() for t in inputs]
    truth = values_and_gradients(twin, wide, heads)
    for name, *values in zip(NAMES, kernel, plain, truth, strict=True):
        assert_as_accurate(*values, what=name, units=8)  # gradients of parameters: sums of terms that nearly cancel
    for name, ours, theirs in zip(NAMES, values_and_gradients(half_shuffle_attention, wide, heads), truth, strict=True):
        assert relative_error(ours, theirs) < 1e-13, name


EXPONENTIAL = (
    "import sys, torch; from csmri_ext.ops import half_shuffle_attention;"
    "c = 4; torch.manual_seed(0);"
    "x = torch.randn(2, c, 8, 16).requires_grad_();"
    "eye = torch.eye(c); scale = torch.tensor(SCALE);"
    "w = [torch.ones(c), torch.zeros(c), eye * scale, torch.cat([eye, eye]) * scale, eye, torch.zeros(c)];"
    "y = half_shuffle_attention(x, *w, heads=1);"
    "y.sin().sum().backward(); torch.save([x.detach(), y.detach(), x.grad], sys.argv[1])"
)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.1, 1.0, 6.0, 60.0])
def test_softmax_of_close_and_far_scores(scale: float, tmp_path: Path) -> None:
    """Scores from 0 to beyond where exp ends in float32, at every instruction set."""
    eye, one = torch.eye(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    weights = [one, 0 * one, eye * scale, torch.cat([eye, eye]) * scale, eye, 0 * one]
    for x, y, gradient in results_at_every_level(EXPONENTIAL.replace("SCALE", str(scale)), tmp_path):
        wide = x.double().requires_grad_()
        truth = reference.half_shuffle_attention(wide, *weights, 1, 1e-5)
        truth.sin().sum().backward()
        # scores are rounded to float32 before the exponential: their size times its epsilon
        bound = 3e-6 * (1 + scale**2)
        assert relative_error(y, truth.detach()) < bound
        assert relative_error(gradient, wide.grad) < 10 * bound


def test_a_window_does_not_see_another_with_one_head() -> None:
    inputs, heads = make(1, 8, 1, 16, 24)
    before = half_shuffle_attention(*inputs, heads=heads)
    inputs[0][:, :, 8:, 16:] += 1.5 * torch.randn(8, 8, 8)
    changed = (half_shuffle_attention(*inputs, heads=heads) != before).any(1)[0]
    assert changed[8:, 16:].all()
    assert not changed[:8].any() and not changed[:, :16].any()


def test_shuffled_heads_see_the_same_place_of_all_windows() -> None:
    inputs, heads = make(1, 8, 2, 16, 24)
    before = half_shuffle_attention(*inputs, heads=heads)
    inputs[0][0, :, 2, 3] += torch.randn(8)
    changed = (half_shuffle_attention(*inputs, heads=heads) != before).any(1)[0]
    assert changed[:8, :8].all()  # the window
    assert changed[2::8, 3::8].all()
    assert changed.sum() == 64 + 5


def test_gradients_of_scores_are_as_accurate_as_the_twins() -> None:
    """On the average: dS sums up to 0 over the keys of a query, whatever all dP have in common."""
    ratios = []
    for seed in range(4):
        torch.manual_seed(seed)
        inputs, heads = make(1, 32, 1, 32, 32)
        twin = reference.half_shuffle_attention
        truth = values_and_gradients(twin, [x.double() for x in inputs], heads)
        ours, theirs = (values_and_gradients(op, inputs, heads) for op in (half_shuffle_attention, twin))
        errors = [[float((a.double() - t).norm()) for a, t in zip(way, truth, strict=True)] for way in (ours, theirs)]
        ratios.append([a / b for a, b in zip(*errors, strict=True)])
    mean = dict(zip(NAMES, (sum(r) / len(r) for r in zip(*ratios, strict=True)), strict=True))
    assert max(mean["query"], mean["norm_bias"]) < 1.5, mean


def test_nan_stays_in_its_window() -> None:
    inputs, heads = make(1, 4, 1, 16, 24)
    inputs[0][0, 1, 4, 5] = math.nan
    bad = half_shuffle_attention(*inputs, heads=heads).isnan()
    assert bad[:, :, :8, :8].all()
    assert bad.sum() == 4 * 64


def test_backward_made_of_torch_agrees_with_the_kernel() -> None:
    """What a GPU runs."""
    inputs, heads = make(2, 12, 2, 16, 24, torch.float64)
    grad = torch.randn_like(inputs[0])
    composed = module._backward_of_torch(grad, *inputs, heads, 1e-5)
    kernel = module._backward(grad, *inputs, heads, 1e-5)
    for name, one, other in zip(NAMES[1:], composed, kernel, strict=True):
        torch.testing.assert_close(one, other, msg=name)
        assert one.stride() == other.stride()
    attended = reference.half_shuffle_attention(*inputs, heads, 1e-5, attention=scaled_dot_product_attention)
    torch.testing.assert_close(attended, half_shuffle_attention(*inputs, heads=heads))


@pytest.mark.parametrize("size", [(8, 16), (24, 8), (40, 72)])
def test_one_compiled_function_serves_all_sizes(size: tuple[int, int]) -> None:
    inputs, heads = make(1, 8, 2, *size)
    compiled = torch.compile(half_shuffle_attention, fullgraph=True, dynamic=True, backend="aot_eager")
    ours, eager = (values_and_gradients(op, inputs, heads) for op in (compiled, half_shuffle_attention))
    for one, other in zip(ours, eager, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("shapes", "heads", "words"),
    [
        ([(8, 8, 8)], 1, ["x (8, 8, 8)", "(batch, channels, ny, nx)"]),
        ([(1, 8, 12, 8)], 1, ["x (1, 8, 12, 8)", "multiples of 8"]),
        ([(1, 8, 8, 8)], 3, ["3 heads on 8 channels"]),
        ([(1, 8, 8, 8), (7,)], 1, ["norm_weight (7,)", "(8,)"]),
        ([(1, 8, 8, 8), (8,), (8,), (8, 8), (8, 8)], 1, ["key_value (8, 8)", "(16, 8)"]),
    ],
)
def test_wrong_shapes(shapes: list[tuple[int, ...]], heads: int, words: list[str]) -> None:
    right = [(1, 8, 8, 8), (8,), (8,), (8, 8), (16, 8), (8, 8), (8,)]
    with pytest.raises(ValueError, match="half_shuffle_attention") as raised:
        half_shuffle_attention(*map(torch.zeros, [*shapes, *right[len(shapes) :]]), heads=heads)
    assert all(word in str(raised.value) for word in words)


def test_flop_formula() -> None:
    inputs, heads = make(2, 8, 2, 16, 24)
    with FlopCounterMode(display=False) as counter:
        half_shuffle_attention(*inputs, heads=heads)
    products = 4 * 8 * 8 + 2 * 4 * 64 + 2 * 4 * 6  # per pixel: weights, windows, the same place of six windows
    assert counter.get_total_flops() == 2 * 2 * 16 * 24 * products
