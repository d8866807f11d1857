"""An empty batch goes through every layer; an input that does not fit the weights is one line of ours."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import csmri_ext
from csmri_ext.nn import CSE, HSAB, MSST, PGSA, NasCell, SplitDepthwiseConv, UNet

GENOTYPE = ([("sep_conv_3x3", 0), ("skip", 1)], [("conv_9x1_1x9", 2), ("dil_2_conv_3x3", 1)])
LAYERS: dict[str, tuple[Any, int, int]] = {
    "CSE": (lambda: CSE(8), 8, 8),
    "HSAB": (lambda: HSAB(8, 2), 8, 8),
    "HSAB, one head": (lambda: HSAB(8, 1), 8, 8),
    "MSST": (lambda: MSST(8), 8, 8),
    "NasCell": (lambda: NasCell(GENOTYPE, 4, (8, 8)), 8, 8),
    "PGSA": (lambda: PGSA(8, 16, groups=(1, 2, 4, 4)), 8, 16),
    "SplitDepthwiseConv": (lambda: SplitDepthwiseConv(8), 8, 8),
    "UNet": (lambda: UNet(8, 4, 8, reduction=4), 8, 4),
}


def apply(layer: nn.Module, x: Any) -> Tensor:
    result: Tensor = layer(x, x) if isinstance(layer, NasCell) else layer(x)
    return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("size", [(16, 24), (9, 10)])
@pytest.mark.parametrize("name", LAYERS)
def test_an_empty_batch(name: str, size: tuple[int, int], fused: bool, dtype: torch.dtype) -> None:
    construct, channels, outputs = LAYERS[name]
    layer = construct().to(dtype)
    with nullcontext() if fused else csmri_ext.reference_ops():
        x = torch.zeros(0, channels, *size, dtype=dtype, requires_grad=True)
        out = apply(layer, x)
        assert out.shape == (0, outputs, *size)
        out.sum().backward()
    assert x.grad is not None and x.grad.shape == x.shape
    for key, parameter in layer.named_parameters():
        assert parameter.grad is not None and not parameter.grad.any(), key


@pytest.mark.parametrize("name", ["HSAB", "MSST", "NasCell", "PGSA"])
def test_an_empty_batch_of_a_compiled_layer(name: str) -> None:
    construct, channels, _ = LAYERS[name]
    torch._dynamo.reset()
    layer = construct()
    compiled = torch.compile(layer, dynamic=True, backend="aot_eager")
    for batch in (2, 0):
        x = torch.randn(batch, channels, 9, 10)
        given = (x, x) if name == "NasCell" else (x,)
        torch.testing.assert_close(compiled(*given), layer(*given))


OTHERS = ["CSE", "HSAB", "MSST", "NasCell", "UNet"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64, torch.complex64])
@pytest.mark.parametrize("name", OTHERS)
def test_another_dtype_than_the_weights(name: str, dtype: torch.dtype) -> None:
    construct, channels, _ = LAYERS[name]
    said = rf"^{name}: (x|before) is {dtype}, but the weights are torch\.float32: pass (x|before)\.to\(torch\.float32\)"
    with pytest.raises(TypeError, match=said):
        apply(construct(), torch.zeros(1, channels, 16, 16, dtype=dtype))


@pytest.mark.parametrize("name", LAYERS)
def test_arrays_of_numpy(name: str) -> None:
    construct, channels, _ = LAYERS[name]
    with pytest.raises(TypeError, match=r"is a numpy\.ndarray, expected a torch\.Tensor; torch\.from_numpy makes one"):
        apply(construct(), torch.zeros(1, channels, 16, 16).numpy())


@pytest.mark.parametrize("name", ["HSAB", "MSST", "NasCell"])
def test_other_channels_than_the_weights(name: str) -> None:
    construct, channels, _ = LAYERS[name]
    for shape in ((1, channels + 4, 16, 16), (channels, 16, 16)):
        expected = re.escape(f"{shape}, expected (batch, {channels}, ny, nx)")
        with pytest.raises(ValueError, match=rf"^{name}: (x|before) {expected}"):
            apply(construct(), torch.zeros(shape))


@pytest.mark.parametrize("name", ["CSE", "HSAB", "UNet"])
def test_autocast_converts(name: str) -> None:
    construct, channels, _ = LAYERS[name]
    with torch.autocast("cpu", torch.bfloat16):
        assert apply(construct(), torch.zeros(1, channels, 16, 16, dtype=torch.bfloat16)).is_floating_point()
