"""The CUDA kernels of the NasN node, run on the CPU, against float64 references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from cuda_on_cpu.emulator import ORDERS, ROOT, Emulator, SanitizerError, float_variant
from cuda_on_cpu.formats import Array, decode, encode, relative_error, unwritten

from csmri_ext.ops import reference

ROOM = ROOT / "csrc" / "nasn"
SOURCES = [*sorted(ROOM.glob("*.cu")), Path(__file__).parent / "separable_node_entries.cpp"]
CODES = {  # enum class Separable
    "conv_1x1": 0,
    "sep_conv_3x3": 1,
    "dil_2_conv_3x3": 2,
    "dil_3_conv_3x3": 3,
    "conv_9x1_1x9": 4,
    "skip": 6,
}
LEARNED = [name for name in CODES if name != "skip"]
TOLERANCE = {"f32": 2e-6, "f64": 1e-14}  # three tf32 products lose a little more than float32
TF32 = 1e-3  # one tf32 product: half a unit of eleven bits in each factor, 2.4e-4, and cancellation
ROUNDING = {"bf16": 3e-3, "f16": 4e-4}


@dataclass(frozen=True)
class Shape:
    ny: int
    nx: int
    channels: int = 32
    outputs: int = 32
    batch: int = 1
    gap: int = 0  # elements between the pixels of out that belong to others: out is a slice


class Problem:
    """Random inputs of one shape. `dtype` is what lies in memory: f32, f64, bf16 or f16; tf32: of products of f32."""

    def __init__(self, shape: Shape, operations: tuple[str, ...], dtype: str = "f32", tf32: bool = False) -> None:
        self.shape, self.operations, self.dtype, self.tf32 = shape, operations, dtype, tf32
        rng = torch.Generator().manual_seed(shape.ny * shape.nx + shape.channels)

        def random(*size: int) -> torch.Tensor:  # exact in `dtype`
            return decode(encode(torch.randn(size, generator=rng, dtype=torch.float64), dtype), dtype)

        pixels = (shape.batch, shape.ny, shape.nx)
        self.inputs = [random(*pixels, shape.channels) for _ in operations]
        self.weights = [[random(*size) for size in self._sizes(name)] for name in operations]
        self.grad, self.addend = random(*pixels, shape.outputs), random(*pixels, shape.channels)

    def _sizes(self, operation: str) -> list[tuple[int, ...]]:
        c, point = self.shape.channels, (self.shape.outputs, self.shape.channels)
        return {"skip": [], "conv_1x1": [point], "conv_9x1_1x9": [(c, 9), (c, 9)]}.get(operation, [(c, 3, 3), point])

    def _numbers(self, pixel: int) -> list[int]:
        s = self.shape
        return [s.batch, s.ny, s.nx, s.outputs, pixel, self.tf32]

    def forward(self, emulator: Emulator, order: str = "forward", dtype: str = "") -> Array:
        """The node, (batch, ny, nx, outputs); checks that nothing beside its slice is written."""
        s, dtype = self.shape, dtype or self.dtype
        pixel = s.outputs + s.gap
        whole = unwritten((s.batch, s.ny, s.nx, pixel), dtype)
        out = whole.reshape(-1)[s.gap // 2 :]
        arrays, numbers = [], [*self._numbers(pixel), len(self.operations)]
        for name, x, own in zip(self.operations, self.inputs, self.weights, strict=True):
            arrays += [encode(t, dtype) for t in (x, *own)]
            numbers += [CODES[name], s.channels, s.channels, name == "skip" and bool(own)]
        emulator.call(f"forward_{dtype}", [*arrays, out], numbers, order)
        inside = whole[..., s.gap // 2 : s.gap // 2 + s.outputs]
        outside = np.delete(decode(whole, dtype).numpy(), range(s.gap // 2, s.gap // 2 + s.outputs), axis=-1)
        assert np.isnan(outside).all()
        return np.ascontiguousarray(inside)

    def backward(
        self, emulator: Emulator, order: str = "forward", dtype: str = "", *, addend: bool = True, weights: bool = True
    ) -> list[Array]:
        """Gradients of x and of the weights, for a problem of one operation."""
        s, dtype = self.shape, dtype or self.dtype
        given = [encode(t, dtype) for t in (self.inputs[0], *self.weights[0], self.grad)]
        given += [encode(self.addend, dtype)] * addend
        results = [unwritten(self.inputs[0].shape, dtype)]
        results += [unwritten(w.shape, dtype) for w in self.weights[0] if weights]
        numbers = [*self._numbers(s.outputs), addend, 1, weights, CODES[self.operations[0]], s.channels, s.channels, 0]
        n_bytes = np.zeros(1, np.int64)
        emulator.call(f"scratch_bytes_{dtype}", [*given, *results, n_bytes], numbers)
        scratch = np.full(int(n_bytes[0]), 0xFF, np.uint8)
        emulator.call(f"backward_{dtype}", [*given, *results, scratch], numbers, order)
        return results

    def reference(self) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The node, and the gradients of the first operation with the addend."""
        inputs = [x.permute(0, 3, 1, 2).clone().requires_grad_() for x in self.inputs]
        weights = [[w.clone().requires_grad_() for w in own] for own in self.weights]
        out = reference.separable_node(inputs, self.operations, weights)
        grads: list[torch.Tensor] = []
        if len(inputs) == 1 and weights[0]:
            first, *rest = torch.autograd.grad(out, [inputs[0], *weights[0]], self.grad.permute(0, 3, 1, 2))
            grads = [first.permute(0, 2, 3, 1) + self.addend, *rest]
        return out.detach().permute(0, 2, 3, 1), grads

    def check(self, emulator: Emulator, order: str = "forward") -> None:
        out, grads = self.reference()
        tolerance = TOLERANCE[self.dtype]
        assert relative_error(decode(self.forward(emulator, order), self.dtype), out) < tolerance
        if grads:
            for value, expected in zip(self.backward(emulator, order), grads, strict=True):
                assert relative_error(decode(value, self.dtype), expected) < 5 * tolerance


@dataclass
class Emulators:
    """The kernels as they are, and variants for the sanitizers and with faults planted."""

    cache: Path
    plain: Emulator = field(init=False)

    def __post_init__(self) -> None:
        self.plain = Emulator(SOURCES, self.cache)

    def variant(self, *edits: tuple[Path, str, str], sanitizer: str = "") -> Emulator:
        return float_variant(SOURCES, self.cache, *edits, sanitizer=sanitizer)


@pytest.fixture(scope="module")
def emulators(cuda_cache: Path) -> Emulators:
    return Emulators(cuda_cache)


# A block is 8 x 32 pixels forward, 8 x 64 or 64 x 8 backward; a chunk 32 channels.
@pytest.mark.parametrize("operation", LEARNED)
@pytest.mark.parametrize(
    "shape",
    [Shape(9, 69), Shape(3, 2, 5, 5), Shape(1, 1, 1, 1), Shape(67, 10, 7, 7, batch=2), Shape(8, 33, 40, 40)],
    ids=str,
)
def test_one_operation(emulators: Emulators, operation: str, shape: Shape) -> None:
    Problem(shape, (operation,)).check(emulators.plain)


@pytest.mark.parametrize("operation", LEARNED)
def test_one_operation_in_float64(emulators: Emulators, operation: str) -> None:
    Problem(Shape(9, 35, 6, 6), (operation,), "f64").check(emulators.plain)


@pytest.mark.parametrize("operation", ["conv_1x1", "dil_2_conv_3x3"])
def test_more_inputs_than_outputs_and_more_outputs_than_inputs(emulators: Emulators, operation: str) -> None:
    Problem(Shape(5, 37, 96, 32), (operation,)).check(emulators.plain)
    Problem(Shape(5, 7, 10, 45), (operation,)).check(emulators.plain)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_a_node_of_all_operations_in_its_slice(emulators: Emulators, dtype: str) -> None:
    Problem(Shape(10, 35, 12, 12, batch=2, gap=6), tuple(CODES), dtype).check(emulators.plain)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_a_supernet_node(emulators: Emulators, dtype: str) -> None:
    """Several edges, alphas folded into the last weights, of skip the factor itself."""
    names = ("sep_conv_3x3", "dil_3_conv_3x3", "conv_9x1_1x9", "skip")
    problem = Problem(Shape(9, 37, 36, 36, batch=2), 3 * names, dtype)
    alphas = decode(encode(torch.linspace(0, 1, 12, dtype=torch.float64), dtype), dtype)
    inputs = [problem.inputs[4 * (i // 4)] for i in range(12)]
    edges = [problem.weights[i : i + 4] for i in (0, 4, 8)]
    images = [x.permute(0, 3, 1, 2) for x in inputs[::4]]
    truth = reference.supernet_node(images, names, alphas.reshape(3, 4), edges).permute(0, 2, 3, 1)
    problem.inputs = inputs
    problem.weights = [
        [*own[:-1], alpha * own[-1]] if own else [alpha.reshape(1)]
        for own, alpha in zip(problem.weights, alphas, strict=True)
    ]
    assert relative_error(decode(problem.forward(emulators.plain), dtype), truth) < TOLERANCE[dtype]


def test_a_node_of_nothing_is_zero(emulators: Emulators) -> None:
    assert not Problem(Shape(3, 5, 4, 4), ()).forward(emulators.plain).any()


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_sixteen_bits_are_storage_only(emulators: Emulators, dtype: str) -> None:
    """Sums are in float32: the results are those of float32 with tf32 products, rounded once."""
    problem = Problem(Shape(9, 34, 8, 8), ("dil_3_conv_3x3",), dtype)
    narrow = [problem.forward(emulators.plain), *problem.backward(emulators.plain)]
    problem.tf32 = True
    wide = [problem.forward(emulators.plain, dtype="f32"), *problem.backward(emulators.plain, dtype="f32")]
    for one, other in zip(narrow, wide, strict=True):
        np.testing.assert_array_equal(one, encode(torch.from_numpy(other), dtype))
    out, grads = problem.reference()
    for value, expected in zip(narrow, [out, *grads], strict=True):
        assert relative_error(decode(value, dtype), expected) < ROUNDING[dtype]


@pytest.mark.parametrize("operation", ["conv_1x1", "dil_2_conv_3x3"])
@pytest.mark.parametrize("shape", [Shape(9, 69), Shape(5, 37, 96, 10)], ids=str)
def test_products_of_one_tf32_pass(emulators: Emulators, operation: str, shape: Shape) -> None:
    """As inexact as factors of eleven bits: the second and third product of the exact form are really not made."""
    problem = Problem(shape, (operation,), tf32=True)
    out, grads = problem.reference()
    results = [problem.forward(emulators.plain), *problem.backward(emulators.plain)]
    for value, expected in zip(results, [out, *grads], strict=True):
        assert TF32 / 20 < relative_error(decode(value, "f32"), expected) < TF32


def test_one_tf32_pass_is_exact_where_its_factors_are(emulators: Emulators) -> None:
    """Integers below 2048: only the factors of a product are rounded, not the product, and not sums."""
    problem = Problem(Shape(3, 35), ("conv_1x1",), tf32=True)
    whole = [t.mul(300).round().clamp(-2047, 2047) for t in (problem.inputs[0], problem.weights[0][0])]
    problem.inputs[0], problem.weights[0][0] = whole
    assert relative_error(decode(problem.forward(emulators.plain), "f32"), problem.reference()[0]) < 2e-7


@pytest.mark.parametrize("operation", ["conv_9x1_1x9", "skip"])
def test_tf32_is_for_point_wise_products_only(emulators: Emulators, operation: str) -> None:
    rounded, exact = (Problem(Shape(9, 35, 6, 6), (operation,), tf32=tf32) for tf32 in (True, False))
    np.testing.assert_array_equal(rounded.forward(emulators.plain), exact.forward(emulators.plain))


@pytest.mark.parametrize("operation", ["sep_conv_3x3", "conv_9x1_1x9", "conv_1x1"])
def test_any_order_of_threads_and_blocks_gives_the_same_bits(emulators: Emulators, operation: str) -> None:
    problem = Problem(Shape(10, 70, 8, 8, batch=2), (operation,))
    first, *others = [
        [problem.forward(emulators.plain, order), *problem.backward(emulators.plain, order)] for order in ORDERS
    ]
    for other in others:
        for one, two in zip(first, other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("operation", ["dil_2_conv_3x3", "conv_9x1_1x9"])
def test_results_do_not_depend_on_the_batch(emulators: Emulators, operation: str) -> None:
    many, one = Problem(Shape(9, 40, 8, 8, batch=3), (operation,)), Problem(Shape(9, 40, 8, 8), (operation,))
    one.inputs, one.weights = [x[1:2] for x in many.inputs], many.weights
    one.grad, one.addend = many.grad[1:2], many.addend[1:2]
    np.testing.assert_array_equal(one.forward(emulators.plain), many.forward(emulators.plain)[1:2])
    np.testing.assert_array_equal(one.backward(emulators.plain)[0], many.backward(emulators.plain)[0][1:2])


@pytest.mark.parametrize("operation", ["dil_2_conv_3x3", "conv_9x1_1x9", "conv_1x1"])
def test_only_what_is_wanted(emulators: Emulators, operation: str) -> None:
    """Without addend and without weights' gradients, the input's gradient is what it was."""
    problem = Problem(Shape(6, 20, 8, 8), (operation,))
    grad_x, *_ = problem.backward(emulators.plain, addend=False)
    np.testing.assert_array_equal(problem.backward(emulators.plain, addend=False, weights=False)[0], grad_x)
    expected = problem.reference()[1][0] - problem.addend
    assert relative_error(decode(grad_x, "f32"), expected) < 5 * TOLERANCE["f32"]


def test_no_images(emulators: Emulators) -> None:
    problem = Problem(Shape(4, 5, 8, 8, batch=0), ("sep_conv_3x3",))
    assert problem.forward(emulators.plain).shape == (0, 4, 5, 8)
    _, first, second = problem.backward(emulators.plain)
    assert not first.any() and not second.any()


SMALL = [
    (Shape(9, 34, 4, 4), "dil_3_conv_3x3"),
    (Shape(9, 66, 3, 3), "conv_9x1_1x9"),
    (Shape(2, 9, 34, 33), "conv_1x1"),
]
small = pytest.mark.parametrize(("shape", "operation"), SMALL, ids=[operation for _, operation in SMALL])


@small
def test_no_overrun_and_nothing_undefined(
    emulators: Emulators, needs_sanitizer: Callable[[str], None], shape: Shape, operation: str
) -> None:
    needs_sanitizer("address,undefined")
    Problem(shape, (operation,)).check(emulators.variant(sanitizer="address,undefined"))


@small
def test_no_race(emulators: Emulators, needs_sanitizer: Callable[[str], None], shape: Shape, operation: str) -> None:
    needs_sanitizer("thread")
    Problem(shape, (operation,)).check(emulators.variant(sanitizer="thread"))


def test_a_missing_barrier_is_found(emulators: Emulators, needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer("thread")
    edit = (ROOM / "backward.cuh", "sums[tap];\n  __syncthreads();\n", "sums[tap];\n")
    with pytest.raises(SanitizerError, match="data race"):
        Problem(Shape(2, 3, 3, 3), ("sep_conv_3x3",)).backward(emulators.variant(edit, sanitizer="thread"))


def test_a_missing_warp_barrier_is_found(emulators: Emulators) -> None:
    """A lane that multiplies before the others have filtered."""
    fill = "c + lane_of_thread(), y, x0);\n      __syncwarp();\n"
    edit = (ROOM / "separable_node_cuda.cu", fill, fill.replace("      __syncwarp();\n", ""))
    problem = Problem(Shape(2, 9, 6, 6), ("conv_9x1_1x9",))
    right = problem.forward(emulators.plain)
    broken = emulators.variant(edit)
    results = [problem.forward(broken, order) for order in ORDERS]
    assert any(not np.array_equal(right, value, equal_nan=True) for value in results)


def test_an_overrun_is_found(emulators: Emulators, needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer("address,undefined")
    edit = (ROOM / "separable_node_cuda.cu", "kWarps * kTile * sizeof", "(kWarps - 1) * kTile * sizeof")
    with pytest.raises(SanitizerError, match="heap-buffer-overflow"):
        Problem(Shape(8, 9, 6, 6), ("conv_9x1_1x9",)).forward(emulators.variant(edit, sanitizer="address,undefined"))
