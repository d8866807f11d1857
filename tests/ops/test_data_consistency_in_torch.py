"""`data_consistency` as a citizen of PyTorch: registration, tracing, autocast, vmap, FLOPs, instruction sets."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from instruction_sets import results_at_every_level
from tolerance import relative_error
from torch.utils.flop_counter import FlopCounterMode

import csmri_ext
from csmri_ext.ops import data_consistency, data_consistency_prepared, prepare_data_consistency

OPS = torch.ops.csmri_ext
MASKS = {"x": (6,), "y": (5, 1), "xy": (5, 6)}


def make(dtype: torch.dtype = torch.complex64) -> dict[str, Any]:
    torch.manual_seed(0)
    image, kspace = torch.randn(2, 5, 6, dtype=dtype), torch.randn(2, 5, 6, dtype=dtype)
    replicas = torch.randn(2, 4, 5, 6, dtype=dtype.to_real())
    return {"image": image, "kspace": kspace, "replicas": replicas, "eta": torch.tensor(0.7, dtype=dtype.to_real())}


def test_prepared_data_enter_a_compiled_function() -> None:
    x = make()
    prepared = prepare_data_consistency(x["kspace"], torch.rand(6) < 0.5)
    torch._dynamo.reset()
    compiled = torch.compile(data_consistency_prepared, fullgraph=True, backend="aot_eager")
    expected = data_consistency_prepared(x["replicas"], prepared, x["eta"])
    torch.testing.assert_close(compiled(x["replicas"], prepared, x["eta"]), expected)


def test_autocast_keeps_float32() -> None:
    x = make()
    prepared = prepare_data_consistency(x["kspace"], torch.rand(6) < 0.5)
    for reference in (False, True):
        with torch.autocast("cpu", torch.bfloat16):
            if reference:
                with csmri_ext.reference_ops():
                    half = data_consistency_prepared(x["replicas"].bfloat16(), prepared, 0.5)
            else:
                half = data_consistency_prepared(x["replicas"].bfloat16(), prepared, 0.5)
                out = data_consistency(x["image"], x["kspace"], torch.rand(6) < 0.5, x["eta"].bfloat16())
        assert half.dtype == torch.float32
        rounded = x["replicas"].bfloat16().float()
        torch.testing.assert_close(half, data_consistency_prepared(rounded, prepared, 0.5))
    assert out.dtype == torch.complex64


def test_flops_are_counted() -> None:
    x = make()
    prepared = prepare_data_consistency(x["kspace"], torch.rand(6) < 0.5)
    with FlopCounterMode(display=False) as counter:
        data_consistency_prepared(x["image"], prepared, 0.5)
    # Two transforms along x of 10 lines of 6 elements, 5 n log2 n each, and 6 per element for weights and data.
    assert counter.get_total_flops() == 2 * round(5 * 60 * math.log2(6)) + 6 * 60
    with FlopCounterMode(display=False) as counter:
        image = x["image"].requires_grad_()
        data_consistency(image, x["kspace"], torch.rand(5, 6) < 0.5, 0.5).abs().sum().backward()
    assert counter.get_total_flops() > 0


def test_needs_no_saved_image_without_gradient_of_eta() -> None:
    x = make()
    prepared = prepare_data_consistency(x["kspace"], torch.rand(6) < 0.5)
    out = data_consistency_prepared(x["image"].requires_grad_(), prepared, 0.5)
    saved = [t for t in out.grad_fn.saved_tensors if t is not None]
    assert sum(t.numel() for t in saved) < x["image"].numel()


@pytest.mark.slow
def test_instruction_sets_agree(tmp_path: Path) -> None:
    """To rounding, for blocks of every width: odd numbers of lines, short lines, small and large primes."""
    code = """
import sys, torch
from csmri_ext.ops import data_consistency, data_consistency_prepared, prepare_data_consistency
torch.manual_seed(0)
results = []
for dtype in (torch.complex64, torch.complex128):
    for ny, nx in ((1, 1), (3, 2), (37, 24), (19, 62), (33, 254), (320, 9)):
        for shape in ((nx,), (ny, 1), (ny, nx)):
            image, kspace = torch.randn(2, ny, nx, dtype=dtype), torch.randn(2, ny, nx, dtype=dtype)
            mask, eta = torch.rand(shape) < 0.6, torch.tensor(0.7, requires_grad=True)
            image.requires_grad_(), kspace.requires_grad_()
            out = data_consistency(image, kspace, mask, eta)
            (out.real.square() + out.imag).sum().backward()
            replicas = torch.randn(2, 6, ny, nx, dtype=dtype.to_real())
            planar = data_consistency_prepared(replicas, prepare_data_consistency(kspace.detach(), mask), 0.5)
            results += [out.detach(), image.grad, kspace.grad, eta.grad, planar]
torch.save(results, sys.argv[1])
"""
    results = results_at_every_level(code, tmp_path)
    for level in results[1:]:
        for one, other in zip(results[0], level, strict=True):
            assert (
                relative_error(other, one) < 30 * torch.finfo(one.dtype).eps or float((one - other).abs().max()) < 1e-4
            )
