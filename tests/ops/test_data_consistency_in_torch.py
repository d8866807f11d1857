"""`data_consistency` as a citizen of PyTorch: registration, tracing, autocast, vmap, FLOPs, instruction sets."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tolerance import relative_error
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import csmri_ext
from csmri_ext import _core
from csmri_ext.ops import data_consistency, data_consistency_prepared, data_consistency_terms, prepare_data_consistency

OPS = torch.ops.csmri_ext
MASKS = {"x": (6,), "y": (5, 1), "xy": (5, 6)}


def make(dtype: torch.dtype = torch.complex64) -> dict[str, Any]:
    torch.manual_seed(0)
    image, kspace = torch.randn(2, 5, 6, dtype=dtype), torch.randn(2, 5, 6, dtype=dtype)
    replicas = torch.randn(2, 4, 5, 6, dtype=dtype.to_real())
    return {"image": image, "kspace": kspace, "replicas": replicas, "eta": torch.tensor(0.7, dtype=dtype.to_real())}


@pytest.mark.parametrize(("axes", "dtype"), [("x", torch.complex64), ("y", torch.complex128), ("xy", torch.complex64)])
def test_opcheck(axes: str, dtype: torch.dtype) -> None:
    x = make(dtype)
    mask = (torch.rand(MASKS[axes]) < 0.5).to(dtype.to_real())
    prepared = prepare_data_consistency(x["kspace"], mask)
    masks = mask[None] if axes == "xy" else mask.reshape(1, -1)
    samples, weights, eta = prepared.samples, prepared.weights, x["eta"]
    for name in ("image", "kspace", "replicas", "eta"):
        x[name].requires_grad_()
    samples = samples.clone().requires_grad_()
    for image in (x["image"], x["replicas"]):
        torch.library.opcheck(OPS.data_consistency.default, (image, samples, weights, eta, axes, True))
        torch.library.opcheck(OPS.data_consistency.default, (image, None, weights, eta, axes, False))
        arguments = (torch.randn_like(image), image, samples, weights, eta, axes, True)
        torch.library.opcheck(OPS.data_consistency_backward.default, arguments)
        torch.library.opcheck(OPS.data_consistency_measure.default, (image, weights, axes))
    arguments = (x["replicas"], x["image"], weights, eta, axes)
    torch.library.opcheck(OPS.data_consistency_terms.default, arguments)
    torch.library.opcheck(OPS.data_consistency_pack.default, (x["kspace"], masks, axes))
    torch.library.opcheck(OPS.data_consistency_unpack.default, (samples, masks, axes, 5, 6))
    torch.library.opcheck(OPS.data_consistency_pack_mask.default, (masks, axes, 5, 6))


@pytest.mark.filterwarnings("ignore")  # of torch itself: deprecated parts, no code generation for complex numbers
@pytest.mark.parametrize("axes", MASKS)
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_equals_eager(axes: str, backend: str) -> None:
    x = make()
    mask = torch.rand(MASKS[axes]) < 0.5

    def two_stages(image: Tensor, kspace: Tensor, eta: Tensor) -> Tensor:
        prepared = prepare_data_consistency(kspace, mask)
        return data_consistency_prepared(data_consistency_prepared(image, prepared, eta), prepared, 0.5)

    def gradients(f: Callable[..., Tensor]) -> list[Tensor]:
        leaves = [x[name].clone().requires_grad_() for name in ("image", "kspace", "eta")]
        out = f(*leaves)
        (out.real.square() + out.imag).sum().backward()
        return [out.detach(), *(leaf.grad for leaf in leaves)]

    torch._dynamo.reset()
    compiled = torch.compile(two_stages, fullgraph=True, backend=backend)
    for ours, expected in zip(gradients(compiled), gradients(two_stages), strict=True):
        torch.testing.assert_close(ours, expected)


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
                terms = data_consistency_terms(x["replicas"].bfloat16(), x["image"], prepared, 0.5)
                assert terms.dtype == torch.float32
        assert half.dtype == torch.float32
        rounded = x["replicas"].bfloat16().float()
        torch.testing.assert_close(half, data_consistency_prepared(rounded, prepared, 0.5))
    assert out.dtype == torch.complex64


def test_vmap_is_refused() -> None:
    x = make()
    with pytest.raises(NotImplementedError, match=r"vmap.*leading dimensions"):
        torch.vmap(lambda image: data_consistency(image, x["kspace"][0], torch.ones(6), 0.5))(x["image"])


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
    info = _core.build_info()
    levels = info["simd_levels"][: info["simd_levels"].index(info["simd_of_machine"]) + 1]
    results = []
    for level in levels:
        path = tmp_path / f"{level}.pt"
        environment = {**os.environ, "CSMRI_SIMD": level}
        subprocess.run([sys.executable, "-c", code, path], check=True, env=environment)
        results.append(torch.load(path, weights_only=True))
    for level in results[1:]:
        for one, other in zip(results[0], level, strict=True):
            assert (
                relative_error(other, one) < 30 * torch.finfo(one.dtype).eps or float((one - other).abs().max()) < 1e-4
            )


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("axes", MASKS)
def test_streams_and_graphs(axes: str) -> None:
    """The kernel runs on the current stream, waits for nothing and can be captured and replayed with new input."""
    x = {name: value.cuda() for name, value in make().items()}
    prepared = prepare_data_consistency(x["kspace"], torch.rand(MASKS[axes], device="cuda") < 0.5)
    static = x["image"].clone()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        data_consistency_prepared(static, prepared, x["eta"])
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            out = data_consistency_prepared(static, prepared, x["eta"])
    torch.cuda.current_stream().wait_stream(side)
    static.copy_(2 * x["image"])
    graph.replay()
    torch.testing.assert_close(out, data_consistency_prepared(2 * x["image"], prepared, x["eta"]))
