from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import profile

from csmri_ext.metrics import count_flops
from csmri_ext.nn import HSAU
from csmri_ext.nn.pixel_products import DoublingConvTranspose2d, PointwiseConv2d


def image(channels: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(2, channels, 5, 7, dtype=dtype).contiguous(memory_format=torch.channels_last)


def with_gradients(layer: nn.Module, forward: type[nn.Module], inputs: list[Tensor]) -> list[Tensor]:
    """Of the layer, run by the `forward` of a class: result, gradients of the weights and of the inputs."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = forward.forward(layer, *leaves)
    return [out, *torch.autograd.grad(out.sin().sum(), [*layer.parameters(), *leaves])]


def test_joined_product_is_the_convolution_of_the_concatenation() -> None:
    layer, parts = PointwiseConv2d(8, 4).double(), [image(3), image(5)]
    out, grad_weight, *grads = with_gradients(layer, PointwiseConv2d, parts)
    expected, expected_weight, expected_grad = with_gradients(layer, nn.Conv2d, [torch.cat(parts, 1)])
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(grad_weight, expected_weight)
    torch.testing.assert_close(torch.cat(grads, 1), expected_grad)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_doubling_product_is_the_transposed_convolution() -> None:
    layer, x = DoublingConvTranspose2d(6, 3).double(), image(6)
    ours, theirs = (with_gradients(layer, cls, [x]) for cls in (DoublingConvTranspose2d, nn.ConvTranspose2d))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)
    assert ours[0].is_contiguous(memory_format=torch.channels_last)


def test_both_count_as_what_they_replace() -> None:
    for ours, theirs in (
        (PointwiseConv2d(6, 3), nn.Conv2d(6, 3, 1, bias=False)),
        (DoublingConvTranspose2d(6, 3), nn.ConvTranspose2d(6, 3, 2, stride=2)),
    ):
        assert count_flops(ours, (1, 6, 5, 7)) == count_flops(theirs, (1, 6, 5, 7))
        assert ours.state_dict().keys() == theirs.state_dict().keys()


@pytest.mark.parametrize("threads", [1, 2])
def test_no_slow_convolution_in_hsau(threads: int) -> None:
    """One thread: torch would copy images into columns for 1x1 convolutions (of any size if below 20480 numbers)."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with profile() as seen:
            HSAU(8)(torch.randn(1, 8, 128, 64)).sum().backward()
    finally:
        torch.set_num_threads(before)
    names = {event.key for event in seen.key_averages()}
    assert "aten::mkldnn_convolution" in names
    assert not [name for name in names if "slow" in name]
