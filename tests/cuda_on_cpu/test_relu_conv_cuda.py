"""The CUDA kernels of the dense convolution at the end of a NasN module, run on the CPU, against float64 references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from cuda_on_cpu.emulator import ORDERS, ROOT, Emulator, SanitizerError, float_variant
from cuda_on_cpu.formats import Array, decode, encode, relative_error, unwritten

from csmri_ext.ops import reference

ROOM = ROOT / "csrc" / "nasn"
ENTRIES = [Path(__file__).parent / f"{name}_entries.cpp" for name in ("relu_conv", "separable_node")]
SOURCES = [*sorted(ROOM.glob("*.cu")), *ENTRIES]
RELU_CONV = 5  # enum class Separable
TOLERANCE = {"f32": 1e-6, "f64": 1e-14}
ROUNDING = {"bf16": 3e-3, "f16": 4e-4}


@dataclass(frozen=True)
class Shape:
    ny: int
    nx: int
    channels: int
    outputs: int = 2
    batch: int = 1
    gap: int = 0  # elements between the pixels of x and of out that belong to others: both are slices


class Problem:
    """Random inputs of one shape. `dtype` is what lies in memory: f32, f64, bf16 or f16."""

    def __init__(self, shape: Shape, dtype: str = "f32") -> None:
        self.shape, self.dtype = shape, dtype
        rng = torch.Generator().manual_seed(shape.ny * shape.nx + shape.channels)

        def random(*size: int) -> torch.Tensor:  # exact in `dtype`
            return decode(encode(torch.randn(size, generator=rng, dtype=torch.float64), dtype), dtype)

        pixels = (shape.batch, shape.ny, shape.nx)
        self.x, self.addend = (random(*pixels, shape.channels) for _ in range(2))
        self.residual, self.grad = (random(*pixels, shape.outputs) for _ in range(2))
        self.weight = random(shape.outputs, shape.channels, 3, 3)

    def forward(self, emulator: Emulator, order: str = "forward", dtype: str = "", *, residual: bool = True) -> Array:
        """The convolution, (batch, ny, nx, outputs); checks that nothing beside its slice is read or written."""
        s, dtype = self.shape, dtype or self.dtype
        whole, wide = (unwritten((*self.x.shape[:3], n + s.gap), dtype) for n in (s.outputs, s.channels))
        wide[..., s.gap // 2 : s.gap // 2 + s.channels] = encode(self.x, dtype)
        given = [wide.reshape(-1)[s.gap // 2 :], encode(self.weight, dtype)]
        given += [encode(self.residual, dtype)] * residual
        numbers = [s.batch, s.ny, s.nx, s.outputs, s.outputs + s.gap, s.channels, s.channels + s.gap, residual]
        emulator.call(f"relu_conv_{dtype}", [*given, whole.reshape(-1)[s.gap // 2 :]], numbers, order)
        own = range(s.gap // 2, s.gap // 2 + s.outputs)
        assert np.isnan(decode(np.delete(whole, own, axis=-1), dtype).numpy()).all()
        return np.ascontiguousarray(whole[..., own])

    def backward(
        self, emulator: Emulator, order: str = "forward", dtype: str = "", *, grad_x: bool = True, weight: bool = True
    ) -> list[Array]:
        """What is wanted of the gradients of x, to which the addend is added, and of the weight."""
        s, dtype = self.shape, dtype or self.dtype
        given = [encode(t, dtype) for t in (self.x, self.weight, self.grad, self.addend)]
        results = [unwritten(self.x.shape, dtype)] * grad_x + [unwritten(self.weight.shape, dtype)] * weight
        numbers = [
            s.batch,
            s.ny,
            s.nx,
            s.outputs,
            s.outputs,
            0,
            1,
            grad_x,
            weight,
            RELU_CONV,
            s.channels,
            s.channels,
            0,
        ]
        n_bytes = np.zeros(1, np.int64)
        emulator.call(f"scratch_bytes_{dtype}", [*given, *results, n_bytes], numbers)
        scratch = np.full(int(n_bytes[0]), 0xFF, np.uint8)
        emulator.call(f"backward_{dtype}", [*given, *results, scratch], numbers, order)
        return results

    def reference(self) -> list[torch.Tensor]:
        """The convolution, and the gradients of x, with the addend, and of the weight."""
        x, weight = self.x.permute(0, 3, 1, 2).clone().requires_grad_(), self.weight.clone().requires_grad_()
        out = reference.relu_conv(x, weight, self.residual.permute(0, 3, 1, 2))
        grad_x, grad_weight = torch.autograd.grad(out, (x, weight), self.grad.permute(0, 3, 1, 2))
        return [out.detach().permute(0, 2, 3, 1), grad_x.permute(0, 2, 3, 1) + self.addend, grad_weight]

    def check(self, emulator: Emulator, order: str = "forward") -> None:
        results = [self.forward(emulator, order), *self.backward(emulator, order)]
        for value, expected in zip(results, self.reference(), strict=True):
            assert relative_error(decode(value, self.dtype), expected) < TOLERANCE[self.dtype]


@pytest.fixture(scope="module")
def emulator(cuda_cache: Path) -> Emulator:
    return Emulator(SOURCES, cuda_cache)


variant = partial(float_variant, SOURCES)


# A block is 8 x 16 pixels forward, 8 x 64 backward; a chunk 32 channels; a pair two outputs.
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(
    "shape",
    [Shape(9, 70, 96), Shape(1, 1, 1, 1), Shape(10, 17, 33, 3, batch=2, gap=4), Shape(3, 2, 5, 8), Shape(8, 16, 32)],
    ids=str,
)
def test_values_and_gradients(emulator: Emulator, shape: Shape, dtype: str) -> None:
    Problem(shape, dtype).check(emulator)


def test_without_residual(emulator: Emulator) -> None:
    problem = Problem(Shape(5, 19, 8))
    expected = problem.reference()[0] - problem.residual
    assert relative_error(decode(problem.forward(emulator, residual=False), "f32"), expected) < TOLERANCE["f32"]


def test_only_what_is_wanted(emulator: Emulator) -> None:
    problem = Problem(Shape(6, 20, 8, 3))
    grad_x, grad_weight = problem.backward(emulator)
    np.testing.assert_array_equal(problem.backward(emulator, weight=False)[0], grad_x)
    np.testing.assert_array_equal(problem.backward(emulator, grad_x=False)[0], grad_weight)


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_sixteen_bits_are_storage_only(emulator: Emulator, dtype: str) -> None:
    problem = Problem(Shape(9, 34, 8, 5), dtype)
    narrow = [problem.forward(emulator), *problem.backward(emulator)]
    wide = [problem.forward(emulator, dtype="f32"), *problem.backward(emulator, dtype="f32")]
    for one, other, expected in zip(narrow, wide, problem.reference(), strict=True):
        np.testing.assert_array_equal(one, encode(torch.from_numpy(other), dtype))
        assert relative_error(decode(one, dtype), expected) < ROUNDING[dtype]


def test_any_order_of_threads_and_blocks_gives_the_same_bits(emulator: Emulator) -> None:
    problem = Problem(Shape(10, 70, 40, batch=2))
    first, *others = [[problem.forward(emulator, order), *problem.backward(emulator, order)] for order in ORDERS]
    for other in others:
        for one, two in zip(first, other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_results_do_not_depend_on_the_batch(emulator: Emulator) -> None:
    many, one = Problem(Shape(9, 40, 8, batch=3)), Problem(Shape(9, 40, 8))
    one.x, one.addend, one.residual, one.grad = (t[1:2] for t in (many.x, many.addend, many.residual, many.grad))
    one.weight = many.weight
    np.testing.assert_array_equal(one.forward(emulator), many.forward(emulator)[1:2])
    np.testing.assert_array_equal(one.backward(emulator)[0], many.backward(emulator)[0][1:2])


def test_no_images(emulator: Emulator) -> None:
    problem = Problem(Shape(4, 5, 8, batch=0))
    assert problem.forward(emulator).shape == (0, 4, 5, 2)
    assert not problem.backward(emulator)[1].any()


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_no_overrun_and_no_race(cuda_cache: Path, needs_sanitizer: Callable[[str], None], sanitizer: str) -> None:
    needs_sanitizer(sanitizer)
    Problem(Shape(9, 17, 33, 3, gap=2)).check(variant(cuda_cache, sanitizer=sanitizer))


def test_a_missing_barrier_is_found(cuda_cache: Path, needs_sanitizer: Callable[[str], None]) -> None:
    """Between the sums of two outputs, which share memory."""
    needs_sanitizer("thread")
    edit = (ROOM / "relu_conv_cuda.cu", "if (o > 0) __syncthreads();", "")
    with pytest.raises(SanitizerError, match="data race"):
        Problem(Shape(2, 3, 3)).backward(variant(cuda_cache, edit, sanitizer="thread"))


def test_an_overrun_is_found(cuda_cache: Path, needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer("address,undefined")
    edit = (ROOM / "relu_conv_cuda.cu", "9 * kThreads * sizeof", "8 * kThreads * sizeof")
    with pytest.raises(SanitizerError, match="heap-buffer-overflow"):
        Problem(Shape(2, 3, 3)).backward(variant(cuda_cache, edit, sanitizer="address,undefined"))
