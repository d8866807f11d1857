"""Every op on a GPU: values, streams, CUDA graphs. `tests/op_samples.py` holds one entry per public op.

Without a GPU the same kernels run in `tests/cuda_on_cpu`; streams and graphs cannot.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from op_samples import LARGE, SAMPLES, OpSample, Result, outputs, random_loss
from tolerance import assert_as_accurate
from torch import Tensor

from csmri_ext.ops._library import CUDA_BUILT

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.skipif(not CUDA_BUILT, reason="csmri_ext was built without CUDA kernels"),
]
ON_A_GPU = [op for op in SAMPLES if op.name != "nasn_cascade"]  # which has gradients on the CPU only
every_op = pytest.mark.parametrize("op", ON_A_GPU, ids=str)


@pytest.fixture(autouse=True)
def _float32_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """As exact as the twins are compared; `test_follows_allow_tf32` is about the other setting."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def on_gpu(op: OpSample, batch: int = 2, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [x.cuda() for x in op.make(batch, dtype, LARGE)]


def values_and_gradients(function: Callable[..., Result], inputs: list[Tensor]) -> list[Tensor]:
    own = [x.detach().clone().requires_grad_() for x in inputs]
    result = function(*own)
    random_loss(result).backward()
    return [out.detach() for out in outputs(result)] + [x.grad for x in own if x.grad is not None]


def assert_same(one: list[Tensor], other: list[Tensor]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@every_op
def test_agrees_with_the_twin(op: OpSample) -> None:
    kernel = values_and_gradients(op.call, on_gpu(op))
    twin = values_and_gradients(op.twin, on_gpu(op))
    truth = values_and_gradients(op.twin, list(op.make(2, torch.float64, LARGE)))
    for i, (value, theirs, true) in enumerate(zip(kernel, twin, truth, strict=True)):
        assert value.is_cuda
        if value.ndim:
            assert_as_accurate(value.cpu(), theirs.cpu(), true, f"result {i}")
        else:  # the gradient of a step: a sum over everything, whose terms cancel
            torch.testing.assert_close(value.cpu().double(), true, rtol=5e-6, atol=5e-6)


@pytest.mark.parametrize("op", [op for op in SAMPLES if op.name in ("separable_node", "supernet_node")], ids=str)
def test_follows_allow_tf32(op: OpSample, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = values_and_gradients(op.call, on_gpu(op))
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    rounded = values_and_gradients(op.call, on_gpu(op))
    assert not torch.equal(rounded[0], exact[0])
    for value, expected in zip(rounded, exact, strict=True):
        assert float((value - expected).norm() / expected.norm()) < 1e-3


@every_op
def test_runs_on_the_current_stream(op: OpSample) -> None:
    """The input arrives late, on the side stream: a kernel on any other stream would read what was there before."""
    inputs = on_gpu(op)
    expected = outputs(op.call(*[2 * x for x in inputs]))
    late = [x.clone() for x in inputs]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.cuda._sleep(50_000_000)  # clock cycles
        for x in late:
            x.mul_(2)
        results = outputs(op.call(*late))
    torch.cuda.current_stream().wait_stream(side)
    assert_same(list(results), list(expected))


@every_op
def test_waits_for_nothing(op: OpSample) -> None:
    inputs = on_gpu(op)
    op.call(*inputs)
    before = torch.cuda.get_sync_debug_mode()
    try:
        torch.cuda.set_sync_debug_mode("error")
        values_and_gradients(op.call, inputs)
    finally:
        torch.cuda.set_sync_debug_mode(before)


@every_op
def test_captured_graph_replays_with_new_input(op: OpSample) -> None:
    static = on_gpu(op)
    other = [x + 1 for x in static]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # the first call outside: twiddle tables, module loading
        for _ in range(2):
            values_and_gradients(op.call, static)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.no_grad():
        results = outputs(op.call(*static))
    for x, new in zip(static, other, strict=True):
        x.copy_(new)
    graph.replay()
    assert_same(list(results), list(outputs(op.call(*other))))


@every_op
def test_reduce_overhead(op: OpSample) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(op.call, fullgraph=True, mode="reduce-overhead")
    with torch.no_grad():
        for seed in range(4):  # warm-up, capture, two replays
            inputs = [x + seed for x in on_gpu(op)]
            torch.compiler.cudagraph_mark_step_begin()
            for value, expected in zip(outputs(compiled(*inputs)), outputs(op.call(*inputs)), strict=True):
                torch.testing.assert_close(value.clone(), expected)


@every_op
def test_bits_do_not_depend_on_batch(op: OpSample) -> None:
    inputs = on_gpu(op, batch=5)
    assert_same(values_and_gradients(op.call, inputs), values_and_gradients(op.call, inputs))
    whole = outputs(op.call(*inputs))
    for b in range(5):
        alone = outputs(op.call(*[x[b : b + 1] for x in inputs[: op.n_batched]], *inputs[op.n_batched :]))
        assert_same(list(alone), [out[b : b + 1] for out in whole])


@every_op
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_rounds_at_most_what_is_stored(op: OpSample, dtype: torch.dtype) -> None:
    """Sums are in float32; real results may be stored in 16 bits."""
    half = [x if x.is_complex() else x.to(dtype) for x in on_gpu(op)]
    rounded = [x if x.is_complex() else x.float() for x in half]
    with torch.autocast("cuda", dtype):
        values = outputs(op.call(*half))
    for value, expected in zip(values, outputs(op.call(*rounded)), strict=True):
        stored = torch.finfo(value.dtype).eps
        error = (value.to(expected.dtype) - expected).norm() / expected.norm()
        assert float(error) <= 4 * stored
