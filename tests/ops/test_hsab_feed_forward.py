from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from instruction_sets import results_at_every_level
from tolerance import assert_as_accurate, relative_error
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from csmri_ext.ops import hsab_feed_forward, reference

# (batch, channels, hidden, ny, nx): bands of 32 rows, groups of 8 to 32 channels, tiles of 6 or 10 pixels
SHAPES = [(1, 32, 128, 70, 45), (2, 5, 20, 33, 13), (1, 70, 40, 3, 2), (3, 1, 1, 1, 1), (1, 40, 160, 1, 50)]


def make(batch: int, channels: int, hidden: int, ny: int, nx: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(channels + ny)
    sizes = [(batch, channels, ny, nx), (hidden, channels), (hidden, 3, 3), (channels, hidden)]
    x, u, d, v = (torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes)
    return [t.to(dtype) for t in (x, u / channels**0.5, d / 3, v / hidden**0.5)]


def values_and_gradients(op: object, inputs: list[Tensor]) -> list[Tensor]:
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    out = op(*leaves)
    gradient = torch.randn(out.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return [out.detach(), *torch.autograd.grad(out, leaves, gradient.to(out.dtype))]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_reference(shape: tuple[int, ...]) -> None:
    kernel, twin = (values_and_gradients(op, make(*shape)) for op in (hsab_feed_forward, reference.hsab_feed_forward))
    wide = [t.double() for t in make(*shape)]
    truth = values_and_gradients(reference.hsab_feed_forward, wide)
    for name, *values in zip(("y", "x", "expand", "depthwise", "contract"), kernel, twin, truth, strict=True):
        assert_as_accurate(*values, what=name)
    for ours, theirs in zip(values_and_gradients(hsab_feed_forward, wide), truth, strict=True):
        assert relative_error(ours, theirs) < 1e-14


GELU = (
    "import sys, torch; from csmri_ext.ops import hsab_feed_forward;"
    "x = torch.linspace(-9, 9, 30001).reshape(1, 1, 1, -1).requires_grad_();"
    "d = torch.zeros(1, 3, 3); d[0, 1, 1] = 1;"
    "w = torch.ones(1, 1); y = hsab_feed_forward(x, w, d, w);"
    "y.sum().backward(); torch.save([x.detach(), y.detach(), x.grad], sys.argv[1])"
)


@pytest.mark.slow
def test_gelu_to_the_last_places(tmp_path: Path) -> None:
    """gelu(gelu(t)) and its derivative over the whole range, at every instruction set."""
    for x, y, slope in results_at_every_level(GELU, tmp_path):
        wide = x.double().requires_grad_()
        truth = torch.nn.functional.gelu(torch.nn.functional.gelu(wide))
        truth.sum().backward()
        assert ((y - truth.detach()).abs() <= 3e-7 * x.abs()).all()
        assert (slope - wide.grad).abs().max() < 6e-7


@pytest.mark.parametrize("value", [1e4, -1e4, 3e38, -3e38])
def test_far_from_zero_gelu_is_exact(value: float) -> None:
    """The polynomial stops at 5.3 and must end in 0 and 1 exactly."""
    x = torch.full((1, 1, 1, 1), value, requires_grad=True)
    d = torch.zeros(1, 3, 3)
    d[0, 1, 1] = 1
    one = torch.ones(1, 1)
    y = hsab_feed_forward(x, one, d, one)
    y.backward()
    assert y.item() == max(x.item(), 0)
    assert abs(x.grad.item() - (1 if value > 0 else 0)) < 1e-6


def test_nan_stays_where_it_is_seen() -> None:
    x, *weights = make(1, 4, 16, 9, 11)
    x[0, 1, 4, 5] = math.nan
    bad = hsab_feed_forward(x, *weights).isnan()
    assert bad[:, :, 3:6, 4:7].all()
    assert bad.sum() == 4 * 9


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([(2, 8, 4), (16, 8), (16, 3, 3), (8, 16)], ["x (2, 8, 4)", "(batch, channels, ny, nx)"]),
        ([(2, 8, 4, 4), (16, 7), (16, 3, 3), (8, 16)], ["expand (16, 7)", "8 channels"]),
        ([(2, 8, 4, 4), (16, 8), (16, 1, 3, 3), (8, 16)], ["depthwise (16, 1, 3, 3)", "(hidden, 3, 3)"]),
        ([(2, 8, 4, 4), (16, 8), (16, 3, 3), (16, 8)], ["contract (16, 8)", "(channels, hidden)"]),
    ],
)
def test_wrong_shapes(shapes: list[tuple[int, ...]], words: list[str]) -> None:
    with pytest.raises(ValueError, match="hsab_feed_forward") as raised:
        hsab_feed_forward(*map(torch.zeros, shapes))
    assert all(word in str(raised.value) for word in words)


def test_flop_formula() -> None:
    with FlopCounterMode(display=False) as counter:
        hsab_feed_forward(*make(2, 4, 16, 6, 7))
    assert counter.get_total_flops() == 2 * 2 * 6 * 7 * (4 * 16 + 9 * 16 + 16 * 4)
