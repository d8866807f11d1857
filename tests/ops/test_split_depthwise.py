from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tolerance import assert_as_accurate, relative_error
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import csmri_ext
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


@pytest.mark.parametrize("layout", ["channels_last", "slice", "transposed", "expanded", "negative"])
def test_any_layout(layout: str) -> None:
    x, weight = make(2, 4, 2, 9, 11)
    if layout == "channels_last":
        given = x.to(memory_format=torch.channels_last)
    elif layout == "slice":
        given = torch.cat([x, x], dim=1)[:, :8].narrow(2, 1, 7)
    elif layout == "transposed":
        given = x.transpose(2, 3)
    elif layout == "expanded":
        given = x[:1].expand(3, -1, -1, -1)
    else:
        given = torch._neg_view(x)
    out = split_depthwise(given, weight)
    assert out.is_contiguous()
    assert relative_error(out, reference.split_depthwise(given.double(), weight.double())) < 1e-6


def test_expanded_gradient_and_empty_batch() -> None:
    x, weight = make(2, 3, 2, 5, 6)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    split_depthwise(a, weight).sum().backward()  # sum gives a gradient with zero strides
    reference.split_depthwise(b, weight).sum().backward()
    torch.testing.assert_close(a.grad, b.grad)
    empty, weight = torch.empty(0, 6, 5, 6, requires_grad=True), weight.requires_grad_()
    out = split_depthwise(empty, weight)
    out.sum().backward()
    assert out.shape == (0, 6, 5, 6)
    assert torch.equal(weight.grad, torch.zeros_like(weight))


def test_gradients_in_float64() -> None:
    x, weight = (t.requires_grad_() for t in make(2, 3, 2, 4, 5, torch.float64))
    assert torch.autograd.gradcheck(split_depthwise, (x, weight))
    assert torch.autograd.gradgradcheck(split_depthwise, (x, weight))


def test_opcheck() -> None:
    for dtype in (torch.float32, torch.float64):
        x, weight = (t.requires_grad_() for t in make(2, 3, 2, 4, 5, dtype))
        torch.library.opcheck(torch.ops.csmri_ext.split_depthwise.default, (x, weight))
        out = split_depthwise(x, weight).detach()
        arguments = (torch.ones_like(x), x.detach(), out, weight.detach())
        torch.library.opcheck(torch.ops.csmri_ext.split_depthwise_backward.default, arguments)


def test_result_does_not_depend_on_batch_or_threads() -> None:
    x, weight = make(5, 4, 3, 40, 37)
    threads = torch.get_num_threads()
    try:
        results = []
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            a, w = x.clone().requires_grad_(), weight.clone().requires_grad_()
            out = split_depthwise(a, w)
            out.square().sum().backward()
            results.append((out.detach(), a.grad, w.grad))
        assert all(torch.equal(one, other) for r in results[1:] for one, other in zip(results[0], r, strict=True))
        alone = torch.cat([split_depthwise(x[i : i + 1], weight) for i in range(5)])
        assert torch.equal(alone, results[0][0])
    finally:
        torch.set_num_threads(threads)


def test_instruction_sets_agree(tmp_path: Path) -> None:
    code = (
        "import torch, sys; from csmri_ext.ops import split_depthwise; torch.manual_seed(0);"
        "x = torch.randn(2, 8, 21, 35, requires_grad=True); w = torch.randn(3, 2, 3, 3, requires_grad=True);"
        "y = split_depthwise(x, w); y.square().sum().backward();"
        "torch.save([y.detach(), x.grad, w.grad], sys.argv[1])"
    )
    from csmri_ext import _core

    levels = _core.build_info()["simd_levels"]
    levels = levels[: levels.index(_core.build_info()["simd_of_machine"]) + 1]
    results = []
    for level in levels:
        path = tmp_path / f"{level}.pt"
        subprocess.run([sys.executable, "-c", code, path], check=True, env={**os.environ, "CSMRI_SIMD": level})
        results.append(torch.load(path, weights_only=True))
    for result in results[1:]:
        for one, other in zip(results[0], result, strict=True):
            assert relative_error(one, other.double()) < 1e-6


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
    with pytest.raises(NotImplementedError, match="vmap"):
        torch.vmap(split_depthwise, in_dims=(0, None))(x[None], weight)


def test_autocast_compile_flops_and_reference_switch() -> None:
    x, weight = make(1, 4, 2, 6, 7)
    expected = reference.split_depthwise(x, weight)
    with torch.autocast("cpu", torch.bfloat16):
        out = split_depthwise(x.bfloat16(), weight)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, reference.split_depthwise(x.bfloat16().float(), weight))
    compiled = torch.compile(split_depthwise, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, weight), expected)
    with FlopCounterMode(display=False) as counter:
        split_depthwise(x, weight)
    assert counter.get_total_flops() == 2 * 9 * 3 * 2 * 6 * 7
    with csmri_ext.reference_ops(), FlopCounterMode(display=False) as counter:
        assert torch.equal(split_depthwise(x, weight), expected)
    assert "convolution" in str(counter.get_flop_counts())


def test_module() -> None:
    module = SplitDepthwiseConv(8, splits=4)
    assert sum(p.numel() for p in module.parameters()) == 3 * 2 * 9
    assert SplitDepthwiseConv(32).weight.numel() == 216
    x = torch.randn(2, 8, 6, 5)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other(x), module(x))
    assert module.double()(x.double()).dtype == torch.float64
    with pytest.raises(ValueError, match="10 channels cannot be split into 4"):
        SplitDepthwiseConv(10)
