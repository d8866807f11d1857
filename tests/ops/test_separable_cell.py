from __future__ import annotations

from typing import Any

import pytest
import torch
from properties import at_thread_counts
from separable_problems import assert_at_home_in_torch, shapes_of
from tolerance import assert_as_accurate, relative_error
from torch import Tensor

from csmri_ext.ops import reference, separable_cell
from csmri_ext.ops.separable_cell import _read, _slices

SEP, DIL2, DIL3, CONV9 = "sep_conv_3x3", "dil_2_conv_3x3", "dil_3_conv_3x3", "conv_9x1_1x9"
GENOTYPES: dict[str, Any] = {
    "dilated": (((SEP, 0), (DIL2, 1)), ((DIL2, 0), (DIL3, 2)), ((DIL3, 2), (DIL3, 3))),
    "skips": (((SEP, 0), (DIL2, 1)), (("skip", 0), (CONV9, 2)), ((DIL2, 2), (CONV9, 3))),
    "one node": (((SEP, 1),),),
    "no weights": ((("none", 0), ("skip", 0)), (("none", 0), ("none", 2)), (("skip", 2), ("skip", 2), ("skip", 3))),
}


def make(genotype: Any, shape: Any, channels: int = 8, dtype: torch.dtype = torch.float32) -> list[Any]:
    """Arguments of `separable_cell`."""
    batch, wide_before, wide_last, ny, nx = shape
    generator = torch.Generator().manual_seed(ny * nx + channels)

    def random(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

    inputs = [random(batch, wide_before, ny, nx), random(batch, wide_last, ny, nx)]
    preprocess = random(channels, wide_before), random(channels, wide_last)
    weights = [[[random(*s) for s in shapes_of(o, channels, channels)] for o, _ in node] for node in genotype]
    return [*inputs, genotype, preprocess, weights]


def leaves_of(arguments: list[Any]) -> list[Tensor]:
    before, last, _, preprocess, weights = arguments
    return [before, last, *preprocess, *(w for node in weights for edge in node for w in edge)]


def run(op: Any, arguments: list[Any]) -> list[Tensor]:
    """Output of `op` and gradients of a random function of it."""
    out = op(*arguments)
    factor = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    leaves = leaves_of(arguments)
    return [out.detach(), *torch.autograd.grad(out, leaves, factor, allow_unused=True, materialize_grads=True)]


@pytest.mark.parametrize("name", GENOTYPES)
@pytest.mark.parametrize(("shape", "channels"), [((2, 24, 16, 35, 13), 8), ((1, 96, 96, 20, 41), 32)])
def test_agrees_with_reference(name: str, shape: Any, channels: int) -> None:
    genotype = GENOTYPES[name]
    kernel = run(separable_cell, make(genotype, shape, channels))
    twin = run(reference.separable_cell, make(genotype, shape, channels))
    truth = run(reference.separable_cell, make(genotype, shape, channels, torch.float64))
    double = run(separable_cell, make(genotype, shape, channels, torch.float64))
    for i, value in enumerate(kernel):
        assert_as_accurate(value, twin[i], truth[i], str(i))
        assert relative_error(double[i], truth[i]) < 1e-13, i


def test_gradients_in_float64() -> None:
    arguments = make(GENOTYPES["skips"], (1, 2, 1, 2, 3), 1, torch.float64)

    def function(*_: Tensor) -> Tensor:
        return separable_cell(*arguments)

    assert torch.autograd.gradcheck(function, leaves_of(arguments), fast_mode=True)
    assert torch.autograd.gradgradcheck(function, leaves_of(arguments), fast_mode=True)


@pytest.mark.parametrize("name", ["skips", "no weights"])
def test_opcheck(name: str) -> None:
    before, last, genotype, preprocess, weights = make(GENOTYPES[name], (2, 3, 5, 4, 6), 2)
    edges = [edge for node in genotype for edge in node]
    table = [o for o, _ in edges], [s for _, s in edges], [len(node) for node in genotype]
    flat = [w for node in weights for own in node for w in own]
    torch.library.opcheck(torch.ops.csmri_ext.separable_cell.default, (before, last, *preprocess, *table, flat))
    inputs = [t.detach() for t in (before, last, *preprocess)]
    flat = [w.detach() for w in flat]
    out, *states = torch.ops.csmri_ext.separable_cell(*inputs, *table, flat)
    nodes = _slices(out, len(genotype))
    saved = [*inputs, *states, *(nodes[i - 2] for i in _read(table[1]))]  # as the forward pass saves them
    grad = torch.randn_like(out)
    for needs in ((True, True), (True, False), (False, True)):
        torch.library.opcheck(torch.ops.csmri_ext.separable_cell_backward.default, (grad, saved, *table, flat, *needs))


def test_only_some_gradients_are_wanted() -> None:
    arguments = make(GENOTYPES["dilated"], (1, 4, 4, 9, 9), 4)
    everything = run(separable_cell, arguments)[1:]
    for wanted in (slice(0, 2), slice(2, 4), slice(4, None)):
        leaves = leaves_of(arguments)
        for leaf in leaves:
            leaf.requires_grad_(False)
        for leaf in leaves[wanted]:
            leaf.requires_grad_()
        out = separable_cell(*arguments)
        factor = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
        for ours, expected in zip(torch.autograd.grad(out, leaves[wanted], factor), everything[wanted], strict=True):
            assert torch.equal(ours, expected)


def test_result_does_not_depend_on_threads() -> None:
    case = GENOTYPES["dilated"], (2, 32, 32, 70, 33), 32
    results = at_thread_counts((1, 2, 7), lambda: run(separable_cell, make(*case)))
    assert all(torch.equal(a, b) for result in results[1:] for a, b in zip(result, results[0], strict=True))


def test_empty_batch_compile_flops_and_reference_switch() -> None:
    empty = run(separable_cell, make(GENOTYPES["skips"], (0, 3, 5, 4, 6), 2))
    assert empty[0].shape == (0, 6, 4, 6)
    assert not any(g.any() for g in empty[3:])
    arguments = make(GENOTYPES["skips"], (1, 3, 5, 9, 6), 2)
    flops = 2 * sum(w.numel() for w in leaves_of(arguments)[2:]) * 54
    assert_at_home_in_torch(separable_cell, reference.separable_cell, arguments, flops, tolerance=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({0: torch.zeros(1, 3, 9, 7)}, ["(1, 3, 9, 7)", "(1, 5, 9, 6)"]),
        ({3: (torch.zeros(2, 4), torch.zeros(2, 5))}, ["conv_1x1 on 3 channels", "(2, 4)"]),
        ({3: (torch.zeros(2, 3), torch.zeros(4, 5))}, ["2 and 4 outputs"]),
        ({2: (((SEP, 2),),), 4: [[[torch.zeros(2, 3, 3), torch.zeros(2, 2)]]]}, ["node 0 reads state 2", "0 to 1"]),
        ({2: (((SEP, 1),),), 4: [[[torch.zeros(2, 3, 3), torch.zeros(3, 2)]]]}, ["3 outputs, expected 2"]),
        ({2: (), 4: []}, ["at least one node"]),
        ({2: ((("skip", 0), ("skip", 1)),), 4: [[[]]]}, ["[2] operations per node, weights for [1]"]),
        ({2: ((),), 4: [[]]}, ["node 0 has 0 operations"]),
    ],
)
def test_wrong_arguments(change: dict[int, Any], words: list[str]) -> None:
    arguments = make(GENOTYPES["one node"], (1, 3, 5, 9, 6), 2)
    for i, value in change.items():
        arguments[i] = value
    with pytest.raises(ValueError, match="separable_cell") as raised:
        separable_cell(*arguments)
    assert all(word in str(raised.value) for word in words), raised.value
