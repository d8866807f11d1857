"""The CUDA kernels of the convolution pyramid, run on the CPU, against float64 references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from cuda_on_cpu.emulator import ORDERS, Emulator, SanitizerError, float_variant
from cuda_on_cpu.formats import decode, encode, relative_error
from cuda_on_cpu.pyramid_attention_problem import ROOM, SOURCES, Problem, Shape

TOLERANCE = {"f32": 1e-6, "f64": 1e-14}
ROUNDING = {"bf16": 3e-3, "f16": 4e-4}  # relative rms error of one rounding, and a little more

# Around a tile of 16 x 32 and its halo; parts and groups that end inside a chunk of four channels; groups of more and
# of fewer outputs than a warp takes together; more outputs than a block takes; one branch; odd numbers of inputs.
SHAPES = {
    "paper": Shape(9, 12, parts=(32, 32, 32)),
    "tiles": Shape(35, 70, batch=2),
    "aligned": Shape(17, 36, parts=(8, 16)),
    "tiny": Shape(2, 3),
    "pixel": Shape(1, 1, batch=3),
    "bands": Shape(70, 5),
    "parts": Shape(5, 33, parts=(3, 7, 2), outputs=2, kernels=(9, 3), groups=(2, 1)),
    "odd": Shape(18, 7, parts=(15,), outputs=6, kernels=(7, 5, 3), groups=(3, 1, 3)),
    "wide": Shape(6, 9, parts=(6,), outputs=11, kernels=(3, 5, 7, 9), groups=(1, 1, 1, 1)),
    "one": Shape(20, 8, parts=(5,), outputs=3, kernels=(5,), groups=(1,)),
}
SMALL = [
    Shape(17, 35, parts=(3, 1), outputs=4, kernels=(3, 5), groups=(1, 2)),
    Shape(3, 5, parts=(3,), outputs=3, kernels=(9, 7), groups=(3, 1)),
]
shapes = pytest.mark.parametrize("name", SHAPES)
small = pytest.mark.parametrize("shape", SMALL, ids=["tiles", "odd"])


@pytest.fixture(scope="module")
def plain(cuda_cache: Path) -> Emulator:
    return Emulator(SOURCES, cuda_cache)


variant = partial(float_variant, SOURCES)


def check(problem: Problem, emulator: Emulator) -> None:
    results, expected = problem.run(emulator), problem.reference()
    tolerance = TOLERANCE[problem.dtype]
    for i, (result, reference) in enumerate(zip(results, expected, strict=True)):
        if i == 3:
            np.testing.assert_array_equal(result, reference.numpy())  # random: no two pixels are equal
        else:
            assert relative_error(decode(result, problem.dtype), reference) < tolerance * (1 if i < 3 else 5)


@shapes
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_agrees_with_reference(plain: Emulator, name: str, dtype: str) -> None:
    check(Problem(SHAPES[name], dtype), plain)


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
@pytest.mark.parametrize("name", ["aligned", "parts"])
def test_sixteen_bits_are_storage_only(plain: Emulator, name: str, dtype: str) -> None:
    """All sums are in float32: the results are those of float32, rounded once."""
    problem = Problem(SHAPES[name], dtype)
    features, _, maximum, argmax = problem.forward(plain)
    wide = problem.forward(plain, "f32")
    np.testing.assert_array_equal(features, encode(torch.from_numpy(wide[0]), dtype))
    stored = decode(features, dtype).flatten(2)
    np.testing.assert_array_equal(argmax, stored.max(-1).indices.numpy())  # of what was stored, the first
    np.testing.assert_array_equal(decode(maximum, dtype).numpy(), stored.max(-1).values.numpy())
    gradients = problem.backward(plain, argmax)
    for value, exact in zip(gradients, problem.backward(plain, argmax, "f32"), strict=True):
        np.testing.assert_array_equal(value, encode(torch.from_numpy(exact), dtype))
    assert relative_error(decode(features, dtype), problem.reference()[0]) < ROUNDING[dtype]


def test_first_of_equal_maxima_and_nan(plain: Emulator) -> None:
    """Of equal maxima the first pixel counts, in whatever tiles they lie; NaN comes before everything."""
    problem = Problem(Shape(33, 40, parts=(1,), outputs=2, kernels=(3,), groups=(1,)))
    problem.parts[0].zero_()
    problem.weights[0].zero_()
    problem.weights[0][:, 0, 1, 1] = torch.tensor([1.0, -1.0])
    problem.scales.fill_(1)
    for y, x in ((32, 39), (20, 3), (4, 35), (5, 1)):
        problem.parts[0][0, 0, y, x] = 2
    _, mean, maximum, argmax = problem.forward(plain)
    assert argmax.tolist() == [[4 * 40 + 35, 0]]
    np.testing.assert_array_equal(maximum, [[2, 0]])
    np.testing.assert_allclose(mean, [[8 / 1320, -8 / 1320]], rtol=1e-6)
    problem.parts[0][0, 0, 7, 36] = problem.parts[0][0, 0, 30, 2] = torch.nan
    _, _, maximum, argmax = problem.forward(plain)
    assert np.isnan(maximum).all()
    assert argmax.tolist() == [[6 * 40 + 35] * 2]  # NaN reaches its neighbours, times zero


def test_what_is_not_wanted_is_not_computed(plain: Emulator) -> None:
    problem = Problem(SHAPES["aligned"])
    argmax = problem.forward(plain)[3]
    both = problem.backward(plain, argmax)
    only_x = problem.backward(plain, argmax, need_weight=False)
    only_weight = problem.backward(plain, argmax, need_x=False)
    for one, other in zip([*only_x, *only_weight], both, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["tiles", "odd"])
def test_any_order_of_threads_and_blocks_gives_the_same_bits(plain: Emulator, name: str) -> None:
    first, *others = [Problem(SHAPES[name], order=order).run(plain) for order in ORDERS]
    for other in others:
        for one, two in zip(first, other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_results_do_not_depend_on_the_batch(plain: Emulator) -> None:
    shape = Shape(18, 34, batch=3, parts=(4, 4))
    many, one = Problem(shape), Problem(replace(shape, batch=1))
    one.parts, one.grads = [p[1:2] for p in many.parts], [g[1:2] for g in many.grads]
    one.weights, one.scales = many.weights, many.scales
    of_many, alone = many.run(plain), one.run(plain)
    for result, expected in zip(alone[:6], of_many[:6], strict=True):  # all but the gradients of the weights
        np.testing.assert_array_equal(result, expected[1:2])


def test_no_images(plain: Emulator) -> None:
    problem = Problem(Shape(4, 5, batch=0))
    outputs = problem.forward(plain)
    gradients = problem.backward(plain, outputs[3])
    assert all(not gradient.any() for gradient in gradients[1:])  # zero, not unwritten


@small
def test_no_overrun_and_nothing_undefined(
    cuda_cache: Path, needs_sanitizer: Callable[[str], None], shape: Shape
) -> None:
    needs_sanitizer("address,undefined")
    emulator = variant(cuda_cache, sanitizer="address,undefined")
    check(Problem(shape), emulator)
    Problem(shape, "bf16").run(emulator)


@small
def test_no_race(cuda_cache: Path, needs_sanitizer: Callable[[str], None], shape: Shape) -> None:
    needs_sanitizer("thread")
    check(Problem(shape), variant(cuda_cache, sanitizer="thread"))


# Asynchronous copies arrive late in the emulator, so it takes a storage type without them to see a buffer reused early.
BARRIERS = {
    "forward": ("pyramid_attention_cuda.cu", "    __syncthreads();  // before the planes are overwritten\n", "bf16"),
    "grad_x": ("pyramid_attention_grad_x_cuda.cu", "    __syncthreads();\n    for (int i = 0; i < n; ++i)", "f32"),
    "grad_weight": ("pyramid_attention_grad_weight_cuda.cu", "    __syncthreads();\n    if (active)", "f32"),
}


def without(barrier: str) -> tuple[Path, str, str]:
    file, old, _ = BARRIERS[barrier]
    return ROOM / file, old, old.removeprefix("    __syncthreads();")


@pytest.mark.parametrize("barrier", BARRIERS)
def test_a_missing_barrier_is_found(plain: Emulator, cuda_cache: Path, barrier: str) -> None:
    broken = variant(cuda_cache, without(barrier))
    problem = Problem(Shape(17, 33, parts=(16,), kernels=(3, 5), groups=(1, 2)), BARRIERS[barrier][2])
    right = problem.run(plain)
    wrong = []
    for problem.order in ORDERS:
        wrong.append(problem.run(broken))
    assert any(not np.array_equal(a, b, equal_nan=True) for w in wrong for a, b in zip(right, w, strict=True))


def test_a_race_is_found(cuda_cache: Path, needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer("thread")
    problem = Problem(SMALL[1])
    argmax = np.zeros(problem.grads[1].shape, np.int64)
    with pytest.raises(SanitizerError, match="data race"):
        problem.backward(variant(cuda_cache, without("grad_weight"), sanitizer="thread"), argmax, need_x=False)


def test_an_overrun_is_found(cuda_cache: Path, needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer("address,undefined")
    file, size = "pyramid_attention_grad_weight_cuda.cu", "2 * stage * sizeof(S) + args.planes * sizeof(int)"
    edit = (ROOM / file, size, "2 * stage * sizeof(S)")  # without the list of channels behind the stages
    problem = Problem(SMALL[1])
    argmax = np.zeros(problem.grads[1].shape, np.int64)
    with pytest.raises(SanitizerError, match="heap-buffer-overflow"):
        problem.backward(variant(cuda_cache, edit, sanitizer="address,undefined"), argmax, need_x=False)
