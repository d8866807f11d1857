from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import at_thread_counts
from separable_problems import assert_at_home_in_torch, shapes_of
from tolerance import assert_as_accurate, relative_error
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from csmri_ext.ops import nasn_cascade, reference
from csmri_ext.ops._library import CUDA_BUILT

SEP, DIL2, DIL3, CONV9 = "sep_conv_3x3", "dil_2_conv_3x3", "dil_3_conv_3x3", "conv_9x1_1x9"
OPERATIONS = (SEP, DIL2, DIL3, CONV9, "skip", "none")
FIRST, SECOND = ((SEP, 0), (DIL2, 1)), ((DIL2, 0), (DIL3, 2))
GENOTYPES: dict[str, Any] = {
    "knee": (FIRST, SECOND, ((DIL3, 2), (DIL3, 3))),
    "brain": (FIRST, SECOND, ((DIL3, 2), (CONV9, 3))),
    "space b": (FIRST, (("skip", 0), (CONV9, 2)), ((DIL2, 2), (CONV9, 3))),
    "2 nodes": (FIRST, SECOND),
    "4 nodes": (FIRST, SECOND, ((DIL3, 2), (DIL3, 3)), ((SEP, 0), (DIL3, 4))),
}


def make(genotype: Any, shape: Any, channels: int, cells: int, dtype: torch.dtype = torch.float32) -> list[Any]:
    """Arguments of `nasn_cascade`; weights as large as keeps the numbers of all layers of order one."""
    generator = torch.Generator().manual_seed(shape[2] * shape[3] + channels)

    def random(*size: int) -> Tensor:
        fan = 1 if size == tuple(shape) else torch.Size(size[1:]).numel()
        return (torch.randn(size, generator=generator, dtype=torch.float64) * (2 / fan) ** 0.5).to(dtype)

    wide = channels * len(genotype)
    stem = random(channels, shape[1], 3, 3), random(channels, channels, 3, 3)
    preprocess = [
        (random(channels, channels if i < 2 else wide), random(channels, channels if i < 1 else wide))
        for i in range(cells)
    ]
    weights = [
        [[[random(*s) for s in shapes_of(o, channels, channels)] for o, _ in node] for node in genotype]
        for _ in range(cells)
    ]
    return [random(*shape), genotype, stem, preprocess, weights, random(shape[1], wide, 3, 3)]


def assert_agrees(genotype: Any, shape: Any, channels: int, cells: int) -> None:
    single, double = (make(genotype, shape, channels, cells, dtype) for dtype in (torch.float32, torch.float64))
    twin, truth = reference.nasn_cascade(*single), reference.nasn_cascade(*double)
    for composite in (False, True):
        ours = nasn_cascade(*single, composite=composite)
        assert_as_accurate(ours, twin, truth, f"composite {composite}")
        assert relative_error(nasn_cascade(*double, composite=composite), truth) < 1e-13


@pytest.mark.parametrize("name", GENOTYPES)
def test_named_genotypes(name: str) -> None:
    assert_agrees(GENOTYPES[name], (2, 2, 37, 45), 32, 3)


@st.composite
def genotypes(draw: Any) -> Any:
    nodes = draw(st.integers(1, 4))
    edge = lambda i: st.tuples(st.sampled_from(OPERATIONS), st.integers(0, i + 1))  # noqa: E731
    return [draw(st.lists(edge(i), min_size=1, max_size=3)) for i in range(nodes)]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    genotype=genotypes(),
    batch=st.integers(0, 3),
    ny=st.integers(1, 24),
    nx=st.integers(1, 30),
    channels=st.sampled_from((1, 8, 16, 33)),
    cells=st.integers(1, 4),
    inputs=st.integers(1, 3),
)
def test_any_genotype(genotype: Any, batch: int, ny: int, nx: int, channels: int, cells: int, inputs: int) -> None:
    assert_agrees(genotype, (batch, inputs, ny, nx), channels, cells)


@pytest.mark.parametrize("name", GENOTYPES)
@pytest.mark.parametrize("cells", [1, 2, 4])
def test_layer_by_layer_as_on_a_gpu(name: str, cells: int) -> None:
    """What calls the CUDA kernels, with those of the CPU: buffers that are written again, slices, several images."""
    single, double = (make(GENOTYPES[name], (3, 2, 9, 11), 6, cells, d) for d in (torch.float32, torch.float64))
    twin, truth = reference.nasn_cascade(*single), reference.nasn_cascade(*double)
    assert_as_accurate(layer_by_layer(*single), twin, truth)
    assert relative_error(layer_by_layer(*double), truth) < 1e-13
    assert layer_by_layer(single[0][:0], *single[1:]).shape == (0, 2, 9, 11)


def layer_by_layer(image: Tensor, genotype: Any, stem: Any, preprocess: Any, weights: Any, last: Tensor) -> Tensor:
    flat = [*stem]
    for pair, cell in zip(preprocess, weights, strict=True):
        flat += [*pair, *(w for node in cell for own in node for w in own)]
    edges = [edge for node in genotype for edge in node]
    table = [o for o, _ in edges], [s for _, s in edges], [len(node) for node in genotype]
    cascade = import_module("csmri_ext.ops.nasn_cascade")  # the package has a function of the same name
    result: Tensor = cascade._layer_by_layer(image, [*flat, last], *table)
    return result


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available() or not CUDA_BUILT, reason="needs a GPU and kernels for it")
@pytest.mark.parametrize("name", GENOTYPES)
def test_on_a_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    move = lambda x: x.cuda() if isinstance(x, Tensor) else x if isinstance(x, str) else [move(y) for y in x]  # noqa: E731
    single, double = (make(GENOTYPES[name], (3, 2, 37, 45), 32, 3, d) for d in (torch.float32, torch.float64))
    image, _, *weights = single
    moved = [move(image), GENOTYPES[name], *map(move, weights)]
    truth = reference.nasn_cascade(*double)
    assert_as_accurate(nasn_cascade(*moved).cpu(), reference.nasn_cascade(*moved).cpu(), truth)
    with torch.autocast("cuda", torch.bfloat16):
        assert relative_error(nasn_cascade(*moved).cpu(), truth) < 3e-2


def test_wide_image_in_strips() -> None:
    assert_agrees(GENOTYPES["brain"], (1, 2, 9, 1400), 8, 2)


def test_result_does_not_depend_on_batch_threads_or_layout() -> None:
    arguments = make(GENOTYPES["space b"], (5, 2, 21, 83), 16, 3)
    alone = [(x.contiguous(memory_format=torch.channels_last), *arguments[1:]) for x in arguments[0].split(1)]

    def run() -> list[Tensor]:
        return [nasn_cascade(*arguments) for _ in range(3)] + [torch.cat([nasn_cascade(*image) for image in alone])]

    counts = (1, 2, 3, 4, 7)  # rounds of whole images, then teams
    first, *others = [result for of_count in at_thread_counts(counts, run) for result in of_count]
    assert all(torch.equal(other, first) for other in others)


def test_opcheck_compile_flops_and_reference_switch() -> None:
    arguments = make(GENOTYPES["2 nodes"], (1, 2, 6, 7), 4, 2)
    image, genotype, stem, preprocess, weights, last = arguments
    edges = [edge for node in genotype for edge in node]
    flat = [*stem]
    for pair, cell in zip(preprocess, weights, strict=True):
        flat += [*pair, *(w for node in cell for own in node for w in own)]
    flat.append(last)
    table = [o for o, _ in edges], [s for _, s in edges], [2, 2], True
    torch.library.opcheck(torch.ops.csmri_ext.nasn_cascade.default, (image, flat, *table))
    flops = 2 * sum(w.numel() for w in flat) * 42
    assert_at_home_in_torch(nasn_cascade, reference.nasn_cascade, arguments, flops, tolerance=2e-6)


def gradients(function: Any, arguments: list[Any], image: bool = True, weights: bool = True) -> list[Tensor]:
    """With respect to the image and all weights, as far as they are wanted, of a random function of the result."""
    tree, spec = tree_flatten([arguments[0], *arguments[2:]])
    leaves = [x.detach().requires_grad_(image if i == 0 else weights) for i, x in enumerate(tree)]
    first, *rest = tree_unflatten(leaves, spec)
    out = function(first, arguments[1], *rest)
    generator = torch.Generator().manual_seed(1)
    grad = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out.dtype)
    wanted = [x for x in leaves if x.requires_grad]
    return list(torch.autograd.grad(out, wanted, grad, allow_unused=True, materialize_grads=True))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    genotype=genotypes(),
    batch=st.integers(0, 2),
    ny=st.integers(1, 40),
    nx=st.integers(1, 24),
    channels=st.sampled_from((1, 8, 17, 33)),
    cells=st.integers(1, 3),
    inputs=st.integers(1, 3),
)
def test_gradients(genotype: Any, batch: int, ny: int, nx: int, channels: int, cells: int, inputs: int) -> None:
    """In float64, where no activation flips; among genotypes with states and nodes that nobody reads."""
    arguments = make(genotype, (batch, inputs, ny, nx), channels, cells, torch.float64)
    truth = gradients(reference.nasn_cascade, arguments)
    ours = gradients(nasn_cascade, arguments)
    for value, true in zip(ours, truth, strict=True):
        assert value.shape == true.shape
        assert float((value - true).norm()) <= 1e-12 * max(float(true.norm()), 1e-300)


@pytest.mark.parametrize(("image", "weights"), [(True, False), (False, True)])
def test_some_gradients(image: bool, weights: bool) -> None:
    arguments = make(GENOTYPES["brain"], (2, 2, 35, 21), 8, 2, torch.float64)
    truth = gradients(reference.nasn_cascade, arguments, image, weights)
    for value, true in zip(gradients(nasn_cascade, arguments, image, weights), truth, strict=True):
        assert relative_error(value, true) < 1e-12


def test_gradients_do_not_depend_on_threads_and_strips_are_whole() -> None:
    arguments = make(GENOTYPES["2 nodes"], (1, 2, 5, 1400), 8, 1)
    first, *others = at_thread_counts((1, 2, 3), lambda: gradients(nasn_cascade, arguments))
    assert all(torch.equal(x, y) for other in others for x, y in zip(first, other, strict=True))
    double = make(GENOTYPES["2 nodes"], (1, 2, 5, 1400), 8, 1, torch.float64)
    for value, true in zip(gradients(nasn_cascade, double), gradients(reference.nasn_cascade, double), strict=True):
        assert relative_error(value, true) < 1e-12


def test_a_step_of_training_is_one_op() -> None:
    """No sum of gradients and no convolution is left to autograd; no zeros are gradients of what was saved."""
    arguments = make(GENOTYPES["knee"], (1, 2, 9, 11), 8, 3)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        gradients(nasn_cascade, arguments)
    names = {event.key for event in profile.key_averages()}
    assert "csmri_ext::nasn_cascade_backward" in names
    assert not {name for name in names if "conv" in name} | names & {"aten::add_", "aten::zeros", "aten::zeros_like"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({0: torch.zeros(2, 6, 7)}, ["(2, 6, 7)"]),
        ({0: torch.zeros(1, 3, 6, 7)}, ["(4, 2, 3, 3)", "(4, 3, 3, 3)"]),
        ({5: torch.zeros(2, 4, 3, 3)}, ["(2, 4, 3, 3)", "(2, 8, 3, 3)"]),
        ({3: []}, ["0 with preprocess"]),
        ({3: [(torch.zeros(4, 4), torch.zeros(4, 4))] * 2}, ["8 channels", "(4, 4)"]),
    ],
)
def test_wrong_arguments(change: dict[int, Any], words: list[str]) -> None:
    arguments = make(GENOTYPES["2 nodes"], (1, 2, 6, 7), 4, 2)
    for i, value in change.items():
        arguments[i] = value
    with pytest.raises(ValueError, match="nasn_cascade") as raised:
        nasn_cascade(*arguments)
    assert all(word in str(raised.value) for word in words), raised.value
