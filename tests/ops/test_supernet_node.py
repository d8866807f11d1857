from __future__ import annotations

from typing import Any

import pytest
import torch
from properties import assert_gradients, at_thread_counts
from separable_problems import shapes_of
from tolerance import assert_as_accurate, relative_error
from torch import Tensor

import csmri_ext
from csmri_ext.ops import _separable_kernels, reference, separable_node, supernet_node

SPACES = {
    "A": ("sep_conv_3x3", "dil_2_conv_3x3", "dil_3_conv_3x3", "skip", "none"),
    "B": ("sep_conv_3x3", "dil_2_conv_3x3", "conv_9x1_1x9", "skip", "none"),
    "extended": ("sep_conv_3x3", "dil_2_conv_3x3", "dil_3_conv_3x3", "conv_9x1_1x9", "skip", "none"),
}
# space, edges, batch, channels, ny, nx
CASES = [
    ("A", 4, 1, 5, 13, 43),
    ("B", 2, 1, 32, 11, 13),
    ("extended", 5, 1, 8, 9, 41),
    ("extended", 1, 2, 70, 7, 3),  # three groups of channels, the last one not full; smaller than the kernels
    ("A", 2, 1, 1, 1, 1),
]


class Problem:
    """Leaves of one node, the same numbers whatever the dtype."""

    def __init__(self, case: Any, dtype: torch.dtype = torch.float32) -> None:
        space, edges, batch, channels, ny, nx = case
        self.operations = SPACES.get(space, space)
        generator = torch.Generator().manual_seed(ny * nx + channels)

        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

        self.inputs = [random(batch, channels, ny, nx) for _ in range(edges)]
        self.alphas = random(edges, len(self.operations)).detach().softmax(1).requires_grad_()
        self.weights = [
            [[random(*s) for s in shapes_of(o, channels, channels)] for o in self.operations] for _ in range(edges)
        ]
        self.grad = random(batch, channels, ny, nx).detach()

    @property
    def leaves(self) -> list[Tensor]:
        return [*self.inputs, self.alphas, *(w for edge in self.weights for own in edge for w in own)]

    def __call__(self, op: Any = supernet_node) -> Tensor:
        result: Tensor = op(self.inputs, self.operations, self.alphas, self.weights)
        return result

    def results(self, op: Any = supernet_node) -> list[Tensor]:
        """The node and the gradients of all leaves."""
        out = self(op)
        return [out.detach(), *torch.autograd.grad(out, self.leaves, self.grad)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees_with_reference(case: Any) -> None:
    kernel, twin = Problem(case).results(), Problem(case).results(reference.supernet_node)
    wide = Problem(case, torch.float64)
    double, truth = wide.results(), wide.results(reference.supernet_node)
    for i, (value, theirs, exact, true) in enumerate(zip(kernel, twin, double, truth, strict=True)):
        assert_as_accurate(value, theirs, true, f"result {i}")
        assert relative_error(exact, true) < 1e-13


@pytest.mark.parametrize(("space", "channels"), [("A", 2), ("extended", 1)])
def test_gradients_in_float64(space: str, channels: int) -> None:
    problem = Problem((space, 2, 1, channels, 3, 2), torch.float64)
    n = len(problem.inputs)

    def function(*tensors: Tensor) -> Tensor:
        problem.inputs, problem.alphas, rest = list(tensors[:n]), tensors[n], iter(tensors[n + 1 :])
        problem.weights = [[[next(rest) for _ in own] for own in edge] for edge in problem.weights]
        return problem()

    assert_gradients(function, *problem.leaves, twice=False)  # twice: tests/op_samples.py


@pytest.mark.parametrize("space", SPACES)
def test_one_operation_of_weight_one_is_a_node(space: str) -> None:
    """With all other alphas zero: the same bits, gradients of the inputs and weights included."""
    problem = Problem((space, 3, 1, 8, 11, 23))
    chosen = [1, 3, 2]
    problem.alphas = torch.zeros(3, len(problem.operations))
    problem.alphas[range(3), chosen] = 1
    problem.alphas.requires_grad_()
    own = [problem.weights[j][o] for j, o in enumerate(chosen)]
    leaves = [*problem.inputs, *(w for weights in own for w in weights)]
    node = separable_node(problem.inputs, [problem.operations[o] for o in chosen], own)
    out = problem()
    assert torch.equal(out, node)
    ours, theirs = (torch.autograd.grad(y, leaves, problem.grad) for y in (out, node))
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_gradients_of_alphas_do_not_depend_on_the_alphas() -> None:
    """The node is linear in them; a kernel that divided by them would show it here."""
    problem = Problem(("extended", 3, 2, 6, 13, 9))
    expected = problem.results()[1 + len(problem.inputs)]
    assert expected[:, :-1].all() and not expected[:, -1].any()  # none has no gradient
    for alphas in (torch.zeros(3, 6), torch.full((3, 6), 1e-38), torch.full((3, 6), -2.0)):
        problem.alphas = alphas.requires_grad_()
        results = problem.results()
        assert all(result.isfinite().all() for result in results)
        assert torch.equal(results[1 + len(problem.inputs)], expected)


def test_through_a_softmax() -> None:
    problem = Problem(("B", 2, 1, 5, 6, 7), torch.float64)
    logits = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    grads = []
    for op in (supernet_node, reference.supernet_node):
        out = op(problem.inputs, problem.operations, logits.softmax(1), problem.weights)
        grads += torch.autograd.grad(out.square().sum(), logits)
    assert relative_error(*grads) < 1e-13


def test_result_does_not_depend_on_batch_or_threads() -> None:
    case = ("extended", 3, 3, 32, 70, 25)
    results = at_thread_counts((1, 2, 3, 16), lambda: Problem(case).results())
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))
    problem, alone = Problem(case), []
    for i in range(3):
        inputs = [x[i : i + 1] for x in problem.inputs]
        alone.append(supernet_node(inputs, problem.operations, problem.alphas, problem.weights))
    assert torch.equal(torch.cat(alone), results[0][0])


def test_wide_alphas_sum_in_the_same_order_on_any_number_of_threads() -> None:
    """Weights of more numbers than torch adds on one thread."""
    results = at_thread_counts((1, 2, 5), lambda: Problem((("conv_1x1",), 1, 1, 300, 2, 3)).results())
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


def test_only_what_is_wanted() -> None:
    """Gradients of alphas alone, of inputs alone, of one weight alone."""
    problem = Problem(("B", 2, 1, 4, 9, 6))
    everything = problem.results()[1:]
    for i, leaf in enumerate(problem.leaves):
        for other in problem.leaves:
            other.requires_grad_(other is leaf)
        (grad,) = torch.autograd.grad(problem(), leaf, problem.grad)
        assert torch.equal(grad, everything[i])


def test_nothing_but_none() -> None:
    problem = Problem((("none", "none"), 2, 1, 3, 4, 5))
    assert all(not result.any() for result in problem.results())


def test_inputs_of_different_widths() -> None:
    problem = Problem((("sep_conv_3x3", "conv_1x1"), 2, 1, 6, 5, 14), torch.float64)
    wide = torch.randn(1, 9, 5, 14, dtype=torch.float64, requires_grad=True)
    problem.inputs[1] = wide
    problem.weights[1] = [
        [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes_of(o, 9, 6)]
        for o in problem.operations
    ]
    for ours, truth in zip(problem.results(), problem.results(reference.supernet_node), strict=True):
        assert relative_error(ours, truth) < 1e-13


def test_empty_images() -> None:
    for size in ((0, 4, 6, 7), (2, 4, 0, 7), (2, 4, 6, 0)):
        problem = Problem(("extended", 2, size[0], *size[1:]))
        out, *grads = problem.results()
        assert out.shape == size
        assert [g.shape for g in grads] == [leaf.shape for leaf in problem.leaves]
        assert not any(g.any() for g in grads)


@pytest.mark.parametrize("addend", [False, True])
@pytest.mark.parametrize("channels", [5, 16, 37])
def test_scaled_skip_is_what_torch_has(addend: bool, channels: int) -> None:
    generator = torch.Generator().manual_seed(channels)
    x, grad, added = (
        torch.randn(2, channels, 5, 7, generator=generator).contiguous(memory_format=torch.channels_last)
        for _ in range(3)
    )
    factor, grad_x, grad_factor = torch.tensor(0.3), torch.full_like(x, torch.nan), torch.tensor(torch.nan)
    _separable_kernels.scaled_skip_backward(x, factor, grad, grad_x, added if addend else None, grad_factor)
    torch.testing.assert_close(grad_x, factor * grad + (added if addend else 0))
    torch.testing.assert_close(grad_factor.double(), (grad.double() * x).sum())


def test_compile_and_reference_switch() -> None:
    problem = Problem(("A", 2, 1, 6, 12, 13))
    expected = problem(reference.supernet_node)
    with csmri_ext.reference_ops():
        assert torch.equal(problem(), expected)
    compiled = torch.compile(supernet_node, fullgraph=True, backend="aot_eager")
    assert relative_error(problem(compiled), expected.double()) < 1e-6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"alphas": (2, 4)}, ["alphas (2, 4)", "(2, 5)"]),
        ({"alphas": (2,)}, ["alphas (2,)", "(edges, operations)"]),
        ({"operations": ("skip", "none")}, ["2 inputs, 2 operations", "[5, 5]"]),
        ({"inputs": [(1, 4, 5, 6), (1, 4, 5, 7)]}, ["(1, 4, 5, 6)", "(1, 4, 5, 7)"]),
        ({"inputs": [(1, 4, 5, 6), (1, 3, 5, 6)]}, ["3 channels", "(4, 3, 3)", "(3, 3, 3)"]),
        ({"inputs": []}, ["0 inputs", "at least one"]),
    ],
)
def test_wrong_arguments(changes: dict[str, Any], words: list[str]) -> None:
    problem = Problem(("A", 2, 1, 4, 5, 6))
    problem.operations = changes.get("operations", problem.operations)
    problem.inputs = [torch.zeros(s) for s in changes["inputs"]] if "inputs" in changes else problem.inputs
    problem.alphas = torch.zeros(changes["alphas"]) if "alphas" in changes else problem.alphas
    with pytest.raises(ValueError, match="supernet_node") as raised:
        problem()
    assert all(word in str(raised.value) for word in words), raised.value


def test_too_many_operations_and_different_outputs() -> None:
    with pytest.raises(ValueError, match=r"supernet_node: 33 operations over all edges, expected at most 32"):
        Problem((("skip",) * 11, 3, 1, 2, 3, 3))()
    problem = Problem((("conv_1x1", "skip"), 1, 1, 4, 3, 3))
    problem.weights[0][0] = [torch.zeros(5, 4)]
    with pytest.raises(ValueError, match=r"skip on \(1, 4, 3, 3\) has 4 outputs, those before it 5"):
        problem()
    with pytest.raises(TypeError, match=r"torch\.float64"):
        supernet_node(problem.inputs, ("skip",), torch.ones(1, 1, dtype=torch.float64), [[[]]])
