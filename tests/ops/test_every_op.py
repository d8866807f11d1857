"""What every op must do as a citizen of PyTorch. `tests/op_samples.py` holds one entry per public op."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from instruction_sets import results_at_every_level
from op_samples import LARGE, SAMPLES, SMALL, OpSample, Result, Size, outputs, random_loss
from properties import assert_gradients, at_thread_counts
from tolerance import assert_as_accurate, relative_error
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import csmri_ext
from csmri_ext.ops import reference

INFERENCE_ONLY = {
    "csmri_ext::nasn_cascade"
}  # without gradients, which most tests here take: tests/ops has its own file
every_op = pytest.mark.parametrize("op", SAMPLES, ids=str)


class RecordedCalls(TorchDispatchMode):
    """The calls of registered ops of this package, with their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "csmri_ext":
            assert not kwargs
            self.calls.append((func, args))
        return func(*args, **(kwargs or {}))


def registered_ops() -> set[str]:
    return {name for name in torch._C._dispatch_get_all_op_names() if name.startswith("csmri_ext::")}


def leaves_of(op: OpSample, batch: int = 2, dtype: torch.dtype = torch.float32, size: Size = SMALL) -> list[Tensor]:
    return [x.requires_grad_() for x in op.make(batch, dtype, size)]


def values_and_gradients(function: Callable[..., Result], leaves: list[Tensor]) -> list[Tensor]:
    """Outputs of `function` and the gradients of a random function of them."""
    own = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    result = function(*own)
    random_loss(result).backward()
    return [out.detach() for out in outputs(result)] + [x.grad for x in own if x.grad is not None]


def error(value: Tensor, truth: Tensor) -> float:
    """Relative; of a sum over everything (the gradient of a step) relative to the root of LARGE: its terms cancel."""
    if torch.equal(value, truth):  # also zeros: gradients of weights that nothing reads
        return 0.0
    scale = 1.0 if truth.ndim else min(1.0, float(abs(truth)) / 50)
    return relative_error(value, truth) * scale


def assert_same(one: list[Tensor], other: list[Tensor]) -> None:
    """Bit by bit."""
    assert [t.shape for t in one] == [t.shape for t in other]
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# --- values and derivatives ----------------------------------------------------------------------------------------
@every_op
def test_activation_checkpointing(op: OpSample) -> None:
    def recomputed(*tensors: Tensor) -> Result:
        result: Result = checkpoint(op.call, *tensors, use_reentrant=False)
        return result

    leaves = leaves_of(op)
    assert_same(values_and_gradients(op.call, leaves), values_and_gradients(recomputed, leaves))


@every_op
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=str)
def test_agrees_with_the_twin(op: OpSample, size: Size) -> None:
    kernel = values_and_gradients(op.call, leaves_of(op, size=size))
    twin = values_and_gradients(op.twin, leaves_of(op, size=size))
    wide = leaves_of(op, dtype=torch.float64, size=size)
    truth, double = values_and_gradients(op.twin, wide), values_and_gradients(op.call, wide)
    assert len(kernel) == len(twin) == len(truth)
    for i, (value, theirs, true, exact) in enumerate(zip(kernel, twin, truth, double, strict=True)):
        if value.ndim:
            assert_as_accurate(value, theirs, true, f"result {i}")
        assert error(value, true) < 5e-6
        assert error(exact, true) < 1e-13


@every_op
def test_first_and_second_derivatives(op: OpSample) -> None:
    assert_gradients(op.call, *op.make(1, torch.float64, SMALL))


@every_op
def test_outputs_may_be_overwritten(op: OpSample) -> None:
    """By an activation in place, as in most networks: no op keeps its result for the backward pass."""

    def activated(inplace: bool) -> Callable[..., Result]:
        def function(*tensors: Tensor) -> Result:
            results = outputs(op.call(*tensors))
            real = [torch.view_as_real(out) if out.is_complex() else out for out in results]
            return tuple(torch.nn.functional.leaky_relu(out, 0.2, inplace) for out in real)

        return function

    leaves = leaves_of(op)
    assert_same(values_and_gradients(activated(True), leaves), values_and_gradients(activated(False), leaves))


# --- registration --------------------------------------------------------------------------------------------------
def calls_of(op: OpSample) -> list[tuple[Any, tuple[Any, ...]]]:
    """What the op calls, forward and backward."""
    with RecordedCalls() as recorded:
        random_loss(op.call(*leaves_of(op))).backward()
    return recorded.calls


def signature(call: tuple[Any, tuple[Any, ...]]) -> str:
    """Calls with the same signature need one check."""
    func, args = call
    kinds = tree_map(lambda x: (str(x.dtype), x.ndim) if isinstance(x, Tensor) else x, args)
    return f"{func} {kinds}"


@every_op
def test_opcheck(op: OpSample) -> None:
    """Schema, autograd registration, fake and AOT dispatch of every registered op on the way, there and back."""
    distinct = {signature(call): call for call in calls_of(op)}
    assert distinct
    for func, args in distinct.values():
        forward = not func.__name__.split(".")[0].endswith("_backward")

        def fresh(x: Any, forward: bool = forward) -> Any:
            if not isinstance(x, Tensor):
                return x
            differentiable = forward and x.requires_grad
            return x.detach().clone().requires_grad_(differentiable)

        torch.library.opcheck(func, tree_map(fresh, args))


def test_every_registered_op_has_a_sample() -> None:
    reached = {func.name() for op in SAMPLES for func, _ in calls_of(op)}
    assert registered_ops() - INFERENCE_ONLY == {name.split(".")[0] for name in reached}


# --- tracing -------------------------------------------------------------------------------------------------------
@every_op
def test_compiled_equals_eager(op: OpSample) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(op.call, fullgraph=True, backend="aot_eager")
    leaves = leaves_of(op)
    for ours, expected in zip(
        values_and_gradients(compiled, leaves), values_and_gradients(op.call, leaves), strict=True
    ):
        torch.testing.assert_close(ours, expected)


@pytest.mark.filterwarnings("ignore")  # of torch itself: deprecated parts, no code generation for complex numbers
@pytest.mark.parametrize("name", ["data_consistency-xy", "split_depthwise"])
def test_compiled_by_inductor(name: str) -> None:
    """Twice in a row with element-wise work around, which inductor fuses; the op stays one call."""
    (op,) = (sample for sample in SAMPLES if sample.name == name)

    def twice(x: Tensor, *others: Tensor) -> Result:
        y = op.call(2 * x + 1, *others)
        assert isinstance(y, Tensor)
        return 3 * op.call(y - x, *others)

    torch._dynamo.reset()
    compiled = torch.compile(twice, fullgraph=True)
    leaves = leaves_of(op)
    for ours, expected in zip(values_and_gradients(compiled, leaves), values_and_gradients(twice, leaves), strict=True):
        torch.testing.assert_close(ours, expected)


@every_op
def test_flops_are_counted(op: OpSample) -> None:
    leaves = leaves_of(op)
    with FlopCounterMode(display=False) as forward:
        result = op.call(*leaves)
    with FlopCounterMode(display=False) as backward:
        random_loss(result).backward()
    assert any("csmri_ext" in str(key) for key in forward.get_flop_counts()["Global"])
    assert 0 < forward.get_total_flops() <= 4 * backward.get_total_flops()


# --- dtypes and devices --------------------------------------------------------------------------------------------
@every_op
def test_autocast_computes_in_float32(op: OpSample) -> None:
    inputs = op.make(2, torch.float32, SMALL)
    half = [x if x.is_complex() else x.bfloat16() for x in inputs]
    rounded = [x if x.is_complex() else x.float() for x in half]
    with torch.autocast("cpu", torch.bfloat16):
        values = outputs(op.call(*half))
    for value, expected in zip(values, outputs(op.call(*rounded)), strict=True):
        assert value.dtype == expected.dtype
        torch.testing.assert_close(value, expected)


@every_op
def test_errors_name_both_sides(op: OpSample) -> None:
    inputs = op.make(2, torch.float32, SMALL)
    first, others = inputs[0], inputs[1:]
    wider = torch.complex128 if first.is_complex() else torch.float64
    for wrong in (first.to(wider), torch.ones_like(first, dtype=torch.int32)):
        with pytest.raises(TypeError) as raised:
            op.call(wrong, *others)
        assert str(wrong.dtype) in str(raised.value)
    with pytest.raises(ValueError, match=r"meta.*cpu|cpu.*meta"):
        op.call(first.to("meta"), *others)
    misfit = op.misfit(inputs)
    with pytest.raises(ValueError, match=re.split("[_-]", op.name)[0]) as raised:
        op.call(*misfit)
    named = {str(tuple(x.shape)) for x in misfit if str(tuple(x.shape)) in str(raised.value)}
    assert len(named) >= 2, f"{raised.value}: names {named}, not two shapes"


# --- memory layouts ------------------------------------------------------------------------------------------------
def slice_of_larger(x: Tensor) -> Tensor:
    """The same values in the middle of a tensor that is larger along every axis."""
    wide = x.new_full([n + 3 for n in x.shape], math.nan)
    for axis, n in enumerate(x.shape):
        wide = wide.narrow(axis, 1, n)
    return wide.copy_(x)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "slice of a larger tensor": slice_of_larger,
    "columns apart": lambda x: x.mT.contiguous().mT if x.ndim > 1 else x,
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x,
    "batch innermost": lambda x: x.movedim(0, -1).contiguous().movedim(-1, 0) if x.ndim > 1 else x,
    "lazy conjugate": lambda x: x.conj().resolve_conj().conj() if x.is_complex() else x,
    "lazy negative": lambda x: torch._neg_view(-x),
}


@every_op
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_does_not_matter(op: OpSample, layout: str) -> None:
    inputs = op.make(2, torch.float32, SMALL)
    expected = list(outputs(op.call(*inputs)))
    for i in range(len(inputs)):
        given = [LAYOUTS[layout](x) if i == j else x for j, x in enumerate(inputs)]
        results = outputs(op.call(*given))
        assert_same(list(results), expected)
        assert [out.stride() for out in results] == [out.stride() for out in expected]


@every_op
def test_gradients_may_be_expanded_conjugated_or_strided(op: OpSample) -> None:
    leaves = leaves_of(op)
    results = outputs(op.call(*leaves))
    views: list[Callable[[Tensor], Tensor]] = [
        lambda g: g.flatten()[0].expand(g.shape),
        *LAYOUTS.values(),
    ]
    for view in views:
        lazy = [view(torch.randn_like(out)) for out in results]
        dense = [g.resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format) for g in lazy]
        gradients = [
            torch.autograd.grad(results, leaves, given, retain_graph=True, allow_unused=True) for given in (lazy, dense)
        ]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other)


@every_op
def test_empty_batch(op: OpSample) -> None:
    leaves = [x.requires_grad_() for x in op.make(0, torch.float32, SMALL)]
    result = op.call(*leaves)
    assert all(out.shape[0] == 0 for out in outputs(result))
    random_loss(result).backward()
    for shared in leaves[op.n_batched :]:
        assert shared.grad is not None
        assert torch.equal(shared.grad, torch.zeros_like(shared))


# --- determinism, threads ------------------------------------------------------------------------------------------
@every_op
def test_bits_do_not_depend_on_threads_or_batch(op: OpSample) -> None:
    leaves = leaves_of(op, batch=5, size=LARGE)
    results = at_thread_counts((1, 2, 3), lambda: values_and_gradients(op.call, leaves))
    assert_same(results[0], results[1])
    assert_same(results[0], results[2])
    with torch.no_grad():
        whole = outputs(op.call(*leaves))
        alone = [
            outputs(op.call(*[x[b : b + 1] for x in leaves[: op.n_batched]], *leaves[op.n_batched :])) for b in range(5)
        ]
    assert_same([torch.cat(parts) for parts in zip(*alone, strict=True)], list(whole))


@every_op
def test_calls_from_several_python_threads(op: OpSample) -> None:
    """At the same time, with gradients: the GIL is released, nothing is shared, threads start with other defaults."""
    leaves = leaves_of(op, batch=3, size=LARGE)
    expected = values_and_gradients(op.call, leaves)
    results: list[list[Tensor]] = []

    def work() -> None:
        for _ in range(5):
            results.append(values_and_gradients(op.call, leaves))

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 10
    for result in results:
        assert_same(result, expected)


@every_op
def test_inference_mode(op: OpSample) -> None:
    leaves = leaves_of(op)
    with torch.inference_mode():
        results = outputs(op.call(*leaves))
        made_inside = outputs(op.call(*op.make(2, torch.float32, SMALL)))
    expected = [out.detach() for out in outputs(op.call(*leaves))]
    assert all(out.is_inference() for out in results)
    assert_same([out.clone() for out in results], expected)
    assert_same([out.clone() for out in made_inside], expected)


@pytest.mark.slow
def test_instruction_sets_agree(tmp_path: Path) -> None:
    """To rounding, every op, forward and backward."""
    code = (
        "import sys, torch; sys.path.insert(0, sys.argv[2]);"
        "from op_samples import SAMPLES; from ops.test_every_op import leaves_of, values_and_gradients;"
        "torch.save([values_and_gradients(op.call, leaves_of(op, size=(37, 70))) for op in SAMPLES], sys.argv[1])"
    )
    results = results_at_every_level(code, tmp_path)
    for level in results[1:]:
        for op, one, other in zip(SAMPLES, results[0], level, strict=True):
            for a, b in zip(one, other, strict=True):
                assert error(a, b) < 5e-6, op.name


# --- the reference switch ------------------------------------------------------------------------------------------
@every_op
def test_reference_ops_runs_the_twin(op: OpSample) -> None:
    leaves = leaves_of(op)
    with csmri_ext.reference_ops(), RecordedCalls() as recorded:
        result = op.call(*leaves)
        random_loss(result).backward()
    assert not recorded.calls
    assert_same([out.detach() for out in outputs(result)], [out.detach() for out in outputs(op.twin(*leaves))])
    with RecordedCalls() as recorded:
        op.call(*leaves)
    assert recorded.calls


def test_reference_ops_ends_when_all_threads_have_left() -> None:
    """Also where the first to enter is the first to leave."""
    first_left, second_entered = threading.Event(), threading.Event()

    def second() -> None:
        with csmri_ext.reference_ops():
            second_entered.set()
            first_left.wait(10)

    worker = threading.Thread(target=second)
    with csmri_ext.reference_ops():
        worker.start()
        assert second_entered.wait(10)
    assert reference.active()
    first_left.set()
    worker.join()
    assert not reference.active()
