from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tolerance import assert_as_accurate
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import csmri_ext
from csmri_ext import _core
from csmri_ext.nn import HSAB
from csmri_ext.ops import reference


class OurOps(TorchDispatchMode):
    """Names of the ops of this package that ran."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: object, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        if func.namespace == "csmri_ext":
            self.names.add(func.__name__)
        return func(*args, **(kwargs or {}))


KERNELS = {"half_shuffle_attention.default", "hsab_feed_forward.default"}


def layer_and_input(dtype: torch.dtype = torch.float32) -> tuple[HSAB, Tensor]:
    torch.manual_seed(0)
    return HSAB(64, 2).to(dtype), torch.randn(1, 64, 20, 24).to(dtype)


def values_and_gradients(dtype: torch.dtype) -> list[Tensor]:
    layer, x = layer_and_input(dtype)
    out = layer(x.requires_grad_())
    out.square().sum().backward()
    return [out.detach(), x.grad, *(p.grad for p in layer.parameters())]


def test_kernels_change_rounding_only() -> None:
    kernel, truth = values_and_gradients(torch.float32), values_and_gradients(torch.float64)
    with csmri_ext.reference_ops():
        twin = values_and_gradients(torch.float32)
    for i, values in enumerate(zip(kernel, twin, truth, strict=True)):
        assert_as_accurate(*values, what=f"result {i}")


@pytest.mark.parametrize(
    ("convert", "expected"),
    [(lambda x: x, KERNELS), (lambda x: x.double(), set()), (lambda x: x.bfloat16(), set())],
    ids=["float32", "float64", "bfloat16"],
)
def test_kernel_runs_where_it_is_faster(convert: Callable[[Tensor], Tensor], expected: set[str]) -> None:
    layer, x = layer_and_input()
    x = convert(x)
    with torch.no_grad(), OurOps() as ours:
        layer.to(x.dtype)(x)
    assert ours.names == (expected if _core.simd_level() != "baseline" else set())


def test_no_kernel_under_autocast() -> None:
    """Who asks for 16 bits gets torch's products in 16 bits."""
    layer, x = layer_and_input()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), OurOps() as ours:
        layer(x)
    assert not ours.names


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_of_torch_is_the_specification(heads: int) -> None:
    """What runs where there is no kernel, or another is faster."""
    torch.manual_seed(0)
    layer, x = HSAB(16, heads).double(), torch.randn(2, 16, 16, 24, dtype=torch.float64)
    torch.nn.init.normal_(layer.norm1.weight)
    pixels = x.permute(0, 2, 3, 1)
    weights = layer.norm1.weight, layer.norm1.bias, layer.q.weight, layer.kv.weight, layer.out.weight, layer.out.bias
    expected = reference.half_shuffle_attention(x, *weights, heads, layer.norm1.eps)
    ours = pixels + layer._attention_of_torch(pixels)
    torch.testing.assert_close(ours, expected.permute(0, 2, 3, 1))
