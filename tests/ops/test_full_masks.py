"""Masks of columns or rows given in full shape, as DIRECT and deepinv give them: the values decide about the path."""

from __future__ import annotations

import pytest
import torch
from properties import assert_gradients
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from csmri_ext.ops import data_consistency, encode, prepare_data_consistency, sense_normal

SMALL = {"x": (1, 12), "y": (9, 1), "xy": (9, 12)}


def problem(axes: str, dtype: torch.dtype = torch.complex64) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image, kspace = torch.randn(2, 2, 9, 12, generator=generator, dtype=dtype)
    maps = torch.randn(3, 9, 12, generator=generator, dtype=dtype)
    small = torch.rand(SMALL[axes], generator=generator) < 0.5
    return image, kspace, maps, small, small.expand(2, 9, 12).contiguous()


@pytest.mark.parametrize("axes", SMALL)
def test_the_packed_form_is_the_small_one(axes: str) -> None:
    _, kspace, _, small, full = problem(axes)
    one, other = prepare_data_consistency(kspace, small), prepare_data_consistency(kspace, full)
    assert one.axes == other.axes == axes
    assert torch.equal(one.samples, other.samples)
    assert torch.equal(one.weights.expand(other.weights.shape), other.weights)


@pytest.mark.parametrize("axes", SMALL)
def test_same_bits(axes: str) -> None:
    image, kspace, maps, small, full = problem(axes)
    coils = full.unsqueeze(1).expand(2, 3, 9, 12)
    for weights in (full, full.double().float()):
        assert torch.equal(data_consistency(image, kspace, weights, 0.5), data_consistency(image, kspace, small, 0.5))
    assert torch.equal(sense_normal(image, maps, coils), sense_normal(image, maps, small))
    assert torch.equal(encode(image, maps, coils), encode(image, maps, small))


@pytest.mark.parametrize("axes", SMALL)
def test_gradients(axes: str) -> None:
    image, kspace, _, _, full = problem(axes, torch.complex128)
    eta = torch.tensor(0.7, dtype=torch.float64)
    assert_gradients(
        lambda x, y, e: data_consistency(x, y, full[:, :2, :3], e), image[..., :2, :3], kspace[..., :2, :3], eta
    )


def test_a_trace_remembers_no_values() -> None:
    """What was traced with a mask of columns is right for one of the plane."""
    image, kspace, _, _, columns = problem("x")
    plane = problem("xy")[4]

    def step(x: Tensor, mask: Tensor) -> Tensor:
        return data_consistency(x, kspace, mask, 0.5)

    def prepared(x: Tensor, mask: Tensor) -> Tensor:
        return prepare_data_consistency(x, mask).samples

    for function in (step, prepared):
        traced = make_fx(function)(image, columns)
        torch.testing.assert_close(traced(image, plane), function(image, plane))
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        compiled(image, columns)
        torch.testing.assert_close(compiled(image, plane), function(image, plane))


def test_mapped_masks_may_differ_in_kind() -> None:
    image, kspace, _, _, columns = problem("x")
    masks = torch.stack([columns[0], problem("xy")[4][0]])
    mapped = torch.vmap(lambda x, y, m: data_consistency(x, y, m, 0.5))(image, kspace, masks)
    alone = [data_consistency(x, y, m, 0.5) for x, y, m in zip(image, kspace, masks, strict=True)]
    torch.testing.assert_close(mapped, torch.stack(alone))
