"""The CUDA kernel of HSAB's feed-forward layer, run on the CPU, against float64 references."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from cuda_on_cpu.emulator import ORDERS, ROOT, Emulator, SanitizerError, float_variant
from cuda_on_cpu.formats import Array, decode, encode, relative_error, unwritten

from csmri_ext.ops import reference

KERNEL = ROOT / "csrc" / "hsab" / "hsab_feed_forward_cuda.cu"
SOURCES = [KERNEL, Path(__file__).parent / "hsab_feed_forward_entries.cpp"]
TOLERANCE = {"f32": 2e-6, "f64": 1e-14}  # three tf32 products lose a little more than float32
ROUNDING = {"bf16": 3e-3, "f16": 4e-4}

# (batch, ny, nx, channels, hidden): around a block of 6 x 30 pixels, 64 outputs and chunks of 32 channels
SHAPES = [(1, 7, 31, 32, 128), (2, 6, 30, 5, 20), (1, 1, 1, 1, 1), (1, 13, 61, 8, 33), (1, 3, 4, 70, 40)]
SMALL = (1, 7, 31, 3, 34)  # for the sanitizers: several blocks, two chunks
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape)))


class Problem:
    """Random inputs of one shape. `dtype` is what lies in memory: f32, f64, bf16 or f16."""

    def __init__(self, shape: tuple[int, ...], dtype: str = "f32") -> None:
        self.shape, self.dtype = shape, dtype
        batch, ny, nx, channels, hidden = shape
        generator = torch.Generator().manual_seed(ny * nx + channels)

        def random(*size: int) -> torch.Tensor:  # exact in `dtype`
            return decode(encode(torch.randn(size, generator=generator, dtype=torch.float64), dtype), dtype)

        self.x = random(batch, ny, nx, channels)
        self.weights = [random(hidden, channels), random(hidden, 3, 3), random(channels, hidden)]

    def run(self, emulator: Emulator, order: str = "forward", dtype: str = "") -> Array:
        dtype = dtype or self.dtype
        out = unwritten(self.x.shape, dtype)
        arrays = [encode(t, dtype) for t in (self.x, *self.weights)]
        emulator.call(f"forward_{dtype}", [*arrays, out], self.shape, order)
        return out

    def reference(self) -> torch.Tensor:
        return reference.hsab_feed_forward(self.x.permute(0, 3, 1, 2), *self.weights).permute(0, 2, 3, 1)

    def check(self, emulator: Emulator, order: str = "forward") -> None:
        value = decode(self.run(emulator, order), self.dtype)
        assert relative_error(value, self.reference()) < TOLERANCE[self.dtype]


@pytest.fixture(scope="module")
def plain(cuda_cache: Path) -> Emulator:
    return Emulator(SOURCES, cuda_cache)


variant = partial(float_variant, SOURCES)


@shapes
def test_agrees_with_reference(plain: Emulator, shape: tuple[int, ...]) -> None:
    Problem(shape).check(plain)


def test_agrees_with_reference_in_float64(plain: Emulator) -> None:
    Problem((1, 7, 31, 5, 20), "f64").check(plain)


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_sixteen_bits_are_storage_only(plain: Emulator, dtype: str) -> None:
    """All sums are in float32: the result is that of float32, rounded once."""
    problem = Problem((1, 7, 31, 8, 32), dtype)
    result = problem.run(plain)
    np.testing.assert_array_equal(result, encode(torch.from_numpy(problem.run(plain, dtype="f32")), dtype))
    assert relative_error(decode(result, dtype), problem.reference()) < ROUNDING[dtype]


def test_any_order_of_threads_and_blocks_gives_the_same_bits(plain: Emulator) -> None:
    problem = Problem((2, 8, 33, 5, 20))
    first, *others = [problem.run(plain, order) for order in ORDERS]
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_results_do_not_depend_on_the_batch(plain: Emulator) -> None:
    many, one = Problem((3, 7, 9, 5, 20)), Problem((1, 7, 9, 5, 20))
    one.x, one.weights = many.x[1:2], many.weights
    np.testing.assert_array_equal(one.run(plain), many.run(plain)[1:2])


def test_no_images(plain: Emulator) -> None:
    assert Problem((0, 4, 5, 3, 12)).run(plain).shape == (0, 4, 5, 3)


def test_no_overrun_and_nothing_undefined(cuda_cache: Path, needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer("address,undefined")
    Problem(SMALL).check(variant(cuda_cache, sanitizer="address,undefined"))


def test_no_race(cuda_cache: Path, needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer("thread")
    Problem(SMALL).check(variant(cuda_cache, sanitizer="thread"))


BARRIERS = {
    "filled": ("    __syncthreads();\n    if (warp < kRows) {", "    if (warp < kRows) {"),
    "read": ("    __syncthreads();\n  }\n", "  }\n"),
}


@pytest.mark.parametrize("barrier", BARRIERS)
def test_a_missing_barrier_is_found(cuda_cache: Path, needs_sanitizer: Callable[[str], None], barrier: str) -> None:
    needs_sanitizer("thread")
    with pytest.raises(SanitizerError, match="data race"):
        Problem(SMALL).run(variant(cuda_cache, (KERNEL, *BARRIERS[barrier]), sanitizer="thread"))


def test_an_overrun_is_found(cuda_cache: Path, needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer("address,undefined")
    short = (KERNEL, "kShared * sizeof", "(kShared - 5) * sizeof")
    with pytest.raises(SanitizerError, match="heap-buffer-overflow"):
        Problem(SMALL).run(variant(cuda_cache, short, sanitizer="address,undefined"))
