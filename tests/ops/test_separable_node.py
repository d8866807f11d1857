from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from instruction_sets import results_at_every_level
from properties import assert_gradients, at_thread_counts
from separable_problems import shapes_of
from tolerance import assert_as_accurate, relative_error
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import csmri_ext
from csmri_ext.ops import reference, separable_node

OPERATIONS = ("conv_1x1", "sep_conv_3x3", "dil_2_conv_3x3", "dil_3_conv_3x3", "conv_9x1_1x9", "skip", "none")
# batch, channels, ny, nx, operations
CASES: list[tuple[int, int, int, int, tuple[str, ...]]] = [
    (1, 32, 70, 53, ("dil_2_conv_3x3", "dil_3_conv_3x3")),
    (2, 32, 33, 40, ("sep_conv_3x3", "skip")),
    (1, 32, 12, 90, ("skip", "conv_9x1_1x9")),
    (2, 5, 7, 3, OPERATIONS),  # smaller than the kernels
    (1, 70, 9, 41, OPERATIONS),  # three groups of channels, the last one not full
    (1, 1, 1, 1, OPERATIONS),
    (1, 8, 5, 6, ("none", "none")),
]


def make(case: Any, dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], list[str], list[list[Tensor]]]:
    batch, channels, ny, nx, operations = case
    generator = torch.Generator().manual_seed(ny * nx + channels)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    inputs = [random(batch, channels, ny, nx) for _ in operations]
    return inputs, list(operations), [[random(*s) for s in shapes_of(o, channels, channels)] for o in operations]


def run(op: Any, dtype: torch.dtype, case: Any) -> dict[str, Tensor]:
    """Output of `op` and gradients of a random function of it."""
    inputs, operations, weights = make(case)
    inputs = [x.to(dtype, copy=True).requires_grad_() for x in inputs]
    weights = [[w.to(dtype, copy=True).requires_grad_() for w in own] for own in weights]
    out = op(inputs, operations, weights)
    factor = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    named = {f"{o} x {i}": x for i, (o, x) in enumerate(zip(operations, inputs, strict=True))}
    named |= {f"{o} w {i}{j}": w for i, o in enumerate(operations) for j, w in enumerate(weights[i])}
    grads = [torch.zeros_like(x) for x in named.values()]
    if out.requires_grad:
        grads = torch.autograd.grad(out, list(named.values()), factor, allow_unused=True, materialize_grads=True)
    return {"out": out.detach(), **dict(zip(named, grads, strict=True))}


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_reference(case: Any) -> None:
    kernel = run(separable_node, torch.float32, case)
    twin = run(reference.separable_node, torch.float32, case)
    truth = run(reference.separable_node, torch.float64, case)
    double = run(separable_node, torch.float64, case)
    for name, value in kernel.items():
        assert_as_accurate(value, twin[name], truth[name], name)
        assert relative_error(double[name], truth[name]) < 1e-13, name


def test_results_too_large_for_the_cache() -> None:
    """Written past it, at every level: 1.5 groups of channels, rows that end within a tile of pixels."""
    inputs, operations, weights = make((1, 48, 150, 147, ("dil_2_conv_3x3", "skip")), torch.float64)
    truth = reference.separable_node(inputs, operations, weights)
    out = separable_node([x.float() for x in inputs], operations, [[w.float() for w in own] for own in weights])
    assert out.numel() * 4 > 4 << 20
    assert relative_error(out, truth) < 1e-6


def test_inputs_and_outputs_of_different_widths() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(1, c, 6, 13, generator=generator, dtype=torch.float64).requires_grad_() for c in (96, 7, 40)]
    operations = ["conv_1x1", "dil_2_conv_3x3", "skip"]
    weights = [
        [
            torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_()
            for s in shapes_of(o, x.shape[1], 40)
        ]
        for o, x in zip(operations, inputs, strict=True)
    ]
    leaves = [*inputs, *(w for own in weights for w in own)]
    results = []
    for op in (separable_node, reference.separable_node):
        out = op(inputs, operations, weights)
        results.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
    for ours, truth in zip(*results, strict=True):
        assert relative_error(ours, truth) < 1e-13


@pytest.mark.parametrize("operation", OPERATIONS)
def test_gradients_in_float64(operation: str) -> None:
    inputs, operations, weights = make((1, 2, 3, 2, (operation, "skip")), torch.float64)
    n = len(inputs)

    def function(*tensors: Tensor) -> Tensor:
        return separable_node(tensors[:n], operations, [list(tensors[n:]), []])

    assert_gradients(function, *inputs, *weights[0])


def test_opcheck() -> None:
    inputs, operations, weights = make((2, 3, 5, 4, OPERATIONS))
    flat = [w for own in weights for w in own]
    arguments = ([x.requires_grad_() for x in inputs], operations, [w.requires_grad_() for w in flat])
    torch.library.opcheck(torch.ops.csmri_ext.separable_node.default, arguments)
    grad = torch.randn(2, 3, 5, 4)
    detached = ([x.detach() for x in inputs], operations, [w.detach() for w in flat])
    for needs in ((True, True), (True, False), (False, True)):
        torch.library.opcheck(torch.ops.csmri_ext.separable_node_backward.default, (grad, *detached, *needs))


def test_result_does_not_depend_on_batch_or_threads() -> None:
    case = (3, 32, 70, 45, OPERATIONS)
    results = at_thread_counts((1, 2, 3, 16), lambda: run(separable_node, torch.float32, case))
    assert all(torch.equal(result[name], value) for result in results[1:] for name, value in results[0].items())
    inputs, operations, weights = make(case)
    alone = [separable_node([x[i : i + 1] for x in inputs], operations, weights) for i in range(3)]
    assert torch.equal(torch.cat(alone), results[0]["out"])


@pytest.mark.parametrize("layout", ["channels_last", "slice", "crop", "negative"])
def test_any_layout(layout: str) -> None:
    inputs, operations, weights = make((2, 8, 9, 11, ("sep_conv_3x3", "skip")))
    last = torch.channels_last
    given = {
        "channels_last": lambda x: x.contiguous(memory_format=last),
        "slice": lambda x: torch.cat([x, x, x], dim=1).contiguous(memory_format=last)[:, 5:13],
        "crop": lambda x: x[:, :, 1:7, 2:9],
        "negative": torch._neg_view,
    }[layout]
    changed = [given(x) for x in inputs]
    out = separable_node(changed, operations, weights)
    truth = reference.separable_node(
        [x.double() for x in changed], operations, [[w.double() for w in o] for o in weights]
    )
    assert out.is_contiguous(memory_format=last)
    assert relative_error(out, truth) < 1e-6


def test_expanded_gradient_and_empty_batch() -> None:
    inputs, operations, weights = make((1, 4, 6, 7, ("dil_3_conv_3x3", "skip")))
    for x in inputs:
        x.requires_grad_()
    out = separable_node(inputs, operations, weights)
    twin = reference.separable_node(inputs, operations, weights)
    for ours, theirs in zip(
        torch.autograd.grad(out.sum(), inputs), torch.autograd.grad(twin.sum(), inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    for shape in ((0, 4, 6, 7), (2, 4, 0, 7), (2, 4, 6, 0)):
        weight = weights[0][0].clone().requires_grad_()
        empty = separable_node([torch.empty(shape)] * 2, operations, [[weight, weights[0][1]], []])
        assert empty.shape == shape
        empty.sum().backward()
        assert torch.equal(weight.grad, torch.zeros_like(weight))


def test_not_a_number_is_kept() -> None:
    x = torch.ones(1, 2, 4, 4)
    x[0, 0, 1, 1] = float("nan")
    assert separable_node([x], ["conv_1x1"], [[torch.ones(2, 2)]]).isnan().sum() == 2


@pytest.mark.slow
def test_instruction_sets_agree(tmp_path: Path) -> None:
    code = (
        "import torch, sys; from csmri_ext.ops import separable_node; torch.manual_seed(0);"
        "ops = ['sep_conv_3x3', 'dil_3_conv_3x3', 'conv_9x1_1x9', 'conv_1x1', 'skip'];"
        "w = [[torch.randn(20, 3, 3), torch.randn(20, 20)], [torch.randn(20, 3, 3), torch.randn(20, 20)],"
        "[torch.randn(20, 9), torch.randn(20, 9)], [torch.randn(20, 20)], []];"
        "xs = [torch.randn(1, 20, 40, 23, requires_grad=True) for _ in ops];"
        "leaves = xs + [t.requires_grad_() for own in w for t in own];"
        "y = separable_node(xs, ops, w); grads = torch.autograd.grad(y.square().mean(), leaves);"
        "torch.save([y.detach(), *grads], sys.argv[1])"
    )
    results = results_at_every_level(code, tmp_path)
    for result in results[1:]:
        for one, other in zip(results[0], result, strict=True):
            assert relative_error(one, other.double()) < 2e-6


@pytest.mark.parametrize(
    ("inputs", "operations", "weights", "words"),
    [
        ([(1, 4, 5, 5)], ["skip", "skip"], [[]], ["1 inputs, 2 operations, 1 lists"]),
        ([], [], [], ["0 inputs"]),
        ([(1, 4, 5, 5)] * 33, ["skip"] * 33, [[]] * 33, ["33 inputs", "1 to 32"]),
        ([(1, 4, 5, 5), (1, 4, 5, 6)], ["skip"] * 2, [[]] * 2, ["(1, 4, 5, 5)", "(1, 4, 5, 6)"]),
        ([(4, 5, 5)], ["skip"], [[]], ["(4, 5, 5)", "(batch, channels, ny, nx)"]),
        ([(1, 4, 5, 5)], ["conv_5x5"], [[]], ["'conv_5x5'", "sep_conv_3x3"]),
        ([(1, 4, 5, 5)], ["sep_conv_3x3"], [[(4, 3, 3)]], ["4 channels", "(outputs, 4)"]),
        ([(1, 4, 5, 5)], ["sep_conv_3x3"], [[(4, 3, 3), (4, 5)]], ["(4, 5)", "(outputs, 4)"]),
        ([(1, 4, 5, 5)], ["conv_9x1_1x9"], [[(4, 9), (4, 3)]], ["(4, 3)", "(4, 9), (4, 9)"]),
        ([(1, 4, 5, 5)] * 2, ["skip", "conv_1x1"], [[], [(5, 4)]], ["5 outputs", "before it 4"]),
    ],
)
def test_wrong_arguments(inputs: Any, operations: list[str], weights: Any, words: list[str]) -> None:
    with pytest.raises(ValueError, match="separable_node") as raised:
        separable_node([torch.zeros(s) for s in inputs], operations, [[torch.zeros(s) for s in own] for own in weights])
    assert all(word in str(raised.value) for word in words), raised.value


def test_wrong_dtype_and_device() -> None:
    inputs, operations, weights = make((1, 2, 4, 4, ("conv_1x1",)))
    with pytest.raises(TypeError, match=r"torch\.float32, torch\.float64"):
        separable_node(inputs, operations, [[weights[0][0].double()]])
    with pytest.raises(ValueError, match="cpu, meta"):
        separable_node(inputs, operations, [[weights[0][0].to("meta")]])
    with pytest.raises(TypeError, match=r"torch\.complex64"):
        separable_node([inputs[0].to(torch.complex64)], operations, weights)
    with pytest.raises(TypeError, match=r"torch\.bfloat16"):
        separable_node([inputs[0].bfloat16()], operations, [[weights[0][0].bfloat16()]])


def test_autocast_compile_flops_and_reference_switch() -> None:
    inputs, operations, weights = make((1, 6, 12, 13, ("sep_conv_3x3", "conv_9x1_1x9")))
    expected = reference.separable_node(inputs, operations, weights)
    with csmri_ext.reference_ops():
        assert torch.equal(separable_node(inputs, operations, weights), expected)
    compiled = torch.compile(separable_node, fullgraph=True, backend="aot_eager")
    assert relative_error(compiled(inputs, operations, weights), expected.double()) < 1e-6
    with torch.autocast("cpu", torch.bfloat16):
        assert separable_node([x.bfloat16() for x in inputs], operations, weights).dtype == torch.float32
    with FlopCounterMode(display=False) as counter:
        separable_node(inputs, operations, weights)
    assert counter.get_total_flops() == 2 * 6 * (9 + 6 + 18) * 12 * 13


@pytest.mark.parametrize("first", OPERATIONS[:-1])
@pytest.mark.parametrize("second", OPERATIONS[:-1])
def test_two_operations_on_one_input(first: str, second: str) -> None:
    """They share its rows, but a skip wants them as they are and a filter rectified, some filters more than others."""
    (x, _), operations, weights = make((1, 8, 9, 20, (first, second)))
    x = x.to(memory_format=torch.channels_last)  # else each operation gets a copy, with rows of its own
    truth = reference.separable_node([x.double()] * 2, operations, [[w.double() for w in own] for own in weights])
    assert relative_error(separable_node([x, x], operations, weights), truth) < 1e-6
