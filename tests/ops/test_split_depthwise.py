from __future__ import annotations

import pytest
import torch
from tolerance import assert_as_accurate, relative_error
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from csmri_ext.nn import SplitDepthwiseConv
from csmri_ext.ops import reference, split_depthwise

SHAPES = [(2, 4, 8, 64, 80), (1, 2, 1, 1, 1), (3, 5, 2, 33, 65), (1, 3, 2, 1, 50), (1, 4, 2, 50, 1), (2, 16, 1, 9, 31)]


def make(
    batch: int, splits: int, channels: int, ny: int, nx: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(batch + 10 * splits + 100 * ny + nx)
    x = torch.randn(batch, splits * channels, ny, nx, generator=generator, dtype=dtype)
    return x, torch.randn(splits - 1, channels, 3, 3, generator=generator, dtype=dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_reference(shape: tuple[int, ...]) -> None:
    x, weight = make(*shape)
    gradient = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))

    def run(dtype: torch.dtype, op: object) -> tuple[Tensor, Tensor, Tensor]:
        a, w = x.to(dtype, copy=True).requires_grad_(), weight.to(dtype, copy=True).requires_grad_()
        out = op(a, w)
        out.backward(gradient.to(dtype))
        return out.detach(), a.grad, w.grad

    kernel = run(torch.float32, split_depthwise)
    twin, truth = run(torch.float32, reference.split_depthwise), run(torch.float64, reference.split_depthwise)
    for name, *values in zip(("out", "grad_x", "grad_weight"), kernel, twin, truth, strict=True):
        assert_as_accurate(*values, what=name)
    double = run(torch.float64, split_depthwise)
    for ours, theirs in zip(double, truth, strict=True):
        assert relative_error(ours, theirs) < 1e-14


def test_border_is_zero_padded_at_every_convolution() -> None:
    """An impulse at the corner: the second convolution must not see what the first would give outside the image."""
    x = torch.zeros(1, 3, 4, 5, dtype=torch.float64)
    x[0, 1, 0, 0] = 1
    weight = torch.ones(2, 1, 3, 3, dtype=torch.float64)
    out = split_depthwise(x, weight)[0, 2]
    # d_2 gives ones on the 2x2 corner; the next sum counts how many of them lie in each 3x3 neighbourhood.
    expected = torch.tensor([[4, 4, 2, 0, 0], [4, 4, 2, 0, 0], [2, 2, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.float64)
    assert torch.equal(out, expected)


@pytest.mark.parametrize(
    ("x", "weight", "error", "words"),
    [
        ((2, 7, 4, 4), (3, 2, 3, 3), ValueError, ["(2, 7, 4, 4)", "(3, 2, 3, 3)", "8 channels"]),
        ((2, 8, 4), (3, 2, 3, 3), ValueError, ["(2, 8, 4)", "(3, 2, 3, 3)"]),
        ((2, 8, 4, 4), (3, 2, 5, 5), ValueError, ["(3, 2, 5, 5)"]),
        ((2, 8, 4, 4), (0, 8, 3, 3), ValueError, ["(0, 8, 3, 3)"]),
    ],
)
def test_wrong_shapes(x: tuple[int, ...], weight: tuple[int, ...], error: type[Exception], words: list[str]) -> None:
    with pytest.raises(error) as raised:
        split_depthwise(torch.zeros(x), torch.zeros(weight))
    assert all(word in str(raised.value) for word in words)


def test_wrong_dtype_and_device() -> None:
    x, weight = make(1, 2, 2, 3, 3)
    with pytest.raises(TypeError, match=r"x is torch\.float32, weight torch\.float64"):
        split_depthwise(x, weight.double())
    with pytest.raises(TypeError, match=r"torch\.int64"):
        split_depthwise(x.long(), weight.long())
    with pytest.raises(ValueError, match="x is on cpu, weight on meta"):
        split_depthwise(x, weight.to("meta"))


def test_flop_formula() -> None:
    x, weight = make(1, 4, 2, 6, 7)
    with FlopCounterMode(display=False) as counter:
        split_depthwise(x, weight)
    assert counter.get_total_flops() == 2 * 9 * 3 * 2 * 6 * 7


def test_module() -> None:
    module = SplitDepthwiseConv(8, splits=4)
    assert sum(p.numel() for p in module.parameters()) == 3 * 2 * 9
    assert SplitDepthwiseConv(32).weight.numel() == 216
    x = torch.randn(2, 8, 6, 5)
    assert torch.equal(module(x), split_depthwise(x, module.weight))
    with pytest.raises(ValueError, match="10 channels cannot be split into 4"):
        SplitDepthwiseConv(10)


@pytest.mark.parametrize("nx", [512, 513])
def test_large_rows_of_any_width(nx: int) -> None:
    """Outputs beyond 16 MiB are written past the caches, by stores that need rows which begin at whole vectors."""
    x, weight = make(2, 4, 8, 160, nx)

    def run(image: Tensor) -> tuple[Tensor, Tensor]:
        image = image.clone().requires_grad_()
        out = split_depthwise(image, weight)
        return out.detach(), torch.autograd.grad(out, image, torch.ones_like(out))[0]

    alone = [run(x[i : i + 1]) for i in range(2)]  # not so large
    for together, parts in zip(run(x), zip(*alone, strict=True), strict=True):
        assert torch.equal(together, torch.cat(parts))


def test_gradients_of_weights_are_sums_in_float64() -> None:
    """Of numbers of one sign, a sum in float32 over an image of many rows would lose digits."""
    generator = torch.Generator().manual_seed(0)
    x, grad = (torch.rand(1, 2, 20_000, 17, generator=generator) + 0.5 for _ in range(2))
    weight = torch.rand(1, 1, 3, 3, generator=generator).requires_grad_()
    (ours,) = torch.autograd.grad(split_depthwise(x, weight), weight, grad)
    wide = weight.detach().double().requires_grad_()
    (truth,) = torch.autograd.grad(reference.split_depthwise(x.double(), wide), wide, grad.double())
    assert relative_error(ours, truth) < 3e-7
