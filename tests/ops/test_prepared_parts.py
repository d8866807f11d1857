"""Prepared k-space is a tuple, of which anybody may make another: kernels read nothing behind its tensors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils.data import default_collate

from csmri_ext import ops
from csmri_ext.ops import PreparedKspace

Change = Callable[[PreparedKspace], PreparedKspace]


def first(x: Tensor | None) -> Tensor:
    assert x is not None
    return x[:1]


def twice(x: Tensor | None) -> Tensor:
    assert x is not None
    return torch.cat([x, x])


WRONG: dict[str, tuple[type[Exception], Change]] = {
    "samples of fewer images": (ValueError, lambda p: p._replace(samples=first(p.samples))),
    "samples of more images": (ValueError, lambda p: p._replace(samples=twice(p.samples))),
    "shorter weights": (ValueError, lambda p: p._replace(weights=p.weights[..., :1])),  # type: ignore[index]
    "masks that divide no batch": (ValueError, lambda p: p._replace(weights=twice(p.weights))),
    "other axes": (ValueError, lambda p: p._replace(axes={"x": "y", "y": "xy", "xy": "x"}[p.axes])),
    "no axes": (ValueError, lambda p: p._replace(axes="z")),
    "collated": (ValueError, lambda p: PreparedKspace(p.kspace, *default_collate([p, p, p])[1:])),
    "wider samples": (TypeError, lambda p: p._replace(samples=p.samples.double())),  # type: ignore[union-attr]
    "wider weights": (TypeError, lambda p: p._replace(weights=p.weights.double())),  # type: ignore[union-attr]
    "weights elsewhere": (ValueError, lambda p: p._replace(weights=p.weights.to("meta"))),  # type: ignore[union-attr]
}


@pytest.mark.parametrize("mask", [(8,), (6, 1), (6, 8)], ids=["x", "y", "xy"])
@pytest.mark.parametrize("change", WRONG)
def test_parts_that_do_not_belong_together(change: str, mask: tuple[int, ...]) -> None:
    error, changed = WRONG[change]
    image, kspace = torch.randn(2, 3, 6, 8, dtype=torch.complex64)
    prepared = ops.prepare_data_consistency(kspace, torch.rand(mask) < 0.5)
    wrong, eta = changed(prepared), torch.tensor(0.5)
    real = torch.cat([image.real.unsqueeze(1), image.imag.unsqueeze(1)], 1)
    right = ops.data_consistency_prepared(image, prepared, eta)
    for x in (image, image.clone().requires_grad_(), real, image.mT.contiguous().mT):
        for _ in range(2):  # after calls that were alike and right
            with pytest.raises(error, match="data_consistency: "):
                ops.data_consistency_prepared(x, wrong, eta)
        assert torch.equal(ops.data_consistency_prepared(image, prepared, eta), right)
    if wrong.weights is not prepared.weights:
        with pytest.raises(error, match="data_consistency: "):
            ops.data_consistency_normal_term(image, wrong, eta)


@pytest.mark.parametrize("other", [torch.float64, torch.complex64, torch.zeros(1), None], ids=str)
def test_it_moves_to_devices_only(other: object) -> None:
    """With a real dtype the imaginary parts had been lost."""
    kspace = torch.randn(1, 6, 8, dtype=torch.complex64)
    prepared = ops.prepare_data_consistency(kspace, torch.rand(8) < 0.5)
    with pytest.raises(TypeError, match=r"is no device; prepare_data_consistency"):
        prepared.to(other)  # type: ignore[arg-type]
    assert torch.equal(prepared.to("cpu").kspace, kspace)
