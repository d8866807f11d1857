"""The CUDA kernels of HSAB's attention half, run on the CPU, against float64 references."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cuda_on_cpu.emulator import ORDERS, ROOT, Emulator, SanitizerError, float_variant
from cuda_on_cpu.formats import Array, decode, encode, relative_error, unwritten

from csmri_ext.ops import reference

KERNEL = ROOT / "csrc" / "hsab" / "half_shuffle_attention_cuda.cu"
SOURCES = [KERNEL, Path(__file__).parent / "half_shuffle_attention_entries.cpp"]
TOLERANCE = {"f32": 2e-6, "f64": 1e-14}
ROUNDING = {"bf16": 3e-3, "f16": 4e-4}

# (batch, ny, nx, channels, heads): one window; heads narrower and wider than 32; more windows than 32 keys; one head
SHAPES = [(1, 8, 8, 3, 1), (2, 8, 16, 8, 4), (1, 16, 8, 70, 2), (1, 48, 48, 4, 2), (1, 8, 24, 40, 1)]
SMALL = (1, 8, 16, 6, 2)  # for the sanitizers
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape)))


class Problem:
    """Random inputs of one shape. `dtype` is what lies in memory: f32, f64, bf16 or f16."""

    def __init__(self, shape: tuple[int, ...], dtype: str = "f32") -> None:
        self.shape, self.dtype = shape, dtype
        batch, ny, nx, c, _ = shape
        generator = torch.Generator().manual_seed(ny * nx + c)

        def random(*size: int) -> torch.Tensor:  # exact in `dtype`
            return decode(encode(torch.randn(size, generator=generator, dtype=torch.float64), dtype), dtype)

        self.x = random(batch, ny, nx, c) + 1
        scale = c**-0.5
        products = [decode(encode(scale * random(n * c, c), dtype), dtype) for n in (1, 2, 1)]
        self.weights = [1 + random(c), random(c), *products, random(c)]
        self.x, self.weights[0] = (decode(encode(t, dtype), dtype) for t in (self.x, self.weights[0]))

    def run(self, emulator: Emulator, order: str = "forward", dtype: str = "") -> Array:
        dtype = dtype or self.dtype
        out = unwritten(self.x.shape, dtype)
        arrays = [encode(t, dtype) for t in (self.x, *self.weights)]
        emulator.call(f"forward_{dtype}", [*arrays, out], self.shape, order)
        return out

    def reference(self) -> torch.Tensor:
        inputs: list[Any] = [self.x.permute(0, 3, 1, 2), *self.weights, self.shape[-1], 1e-5]
        return reference.half_shuffle_attention(*inputs).permute(0, 2, 3, 1)

    def check(self, emulator: Emulator, order: str = "forward") -> None:
        value = decode(self.run(emulator, order), self.dtype)
        assert relative_error(value - self.x, self.reference() - self.x) < TOLERANCE[self.dtype]


@pytest.fixture(scope="module")
def plain(cuda_cache: Path) -> Emulator:
    return Emulator(SOURCES, cuda_cache)


variant = partial(float_variant, SOURCES)


@shapes
def test_agrees_with_reference(plain: Emulator, shape: tuple[int, ...]) -> None:
    Problem(shape).check(plain)


def test_agrees_with_reference_in_float64(plain: Emulator) -> None:
    Problem((1, 8, 16, 6, 2), "f64").check(plain)


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_sixteen_bits_are_storage_only(plain: Emulator, dtype: str) -> None:
    """All sums are in float32: the result is that of float32, rounded once."""
    problem = Problem((1, 8, 16, 8, 2), dtype)
    result = problem.run(plain)
    np.testing.assert_array_equal(result, encode(torch.from_numpy(problem.run(plain, dtype="f32")), dtype))
    assert relative_error(decode(result, dtype), problem.reference()) < ROUNDING[dtype]


def test_large_scores_do_not_overflow(plain: Emulator) -> None:
    problem = Problem((1, 8, 8, 6, 2), "f64")
    problem.weights[2] *= 1e3
    problem.check(plain)


def test_any_order_of_threads_and_blocks_gives_the_same_bits(plain: Emulator) -> None:
    problem = Problem(SMALL)
    first, *others = [problem.run(plain, order) for order in ORDERS]
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_results_do_not_depend_on_the_batch(plain: Emulator) -> None:
    many, one = Problem((3, 8, 16, 6, 2)), Problem(SMALL)
    one.x, one.weights = many.x[1:2], many.weights
    np.testing.assert_array_equal(one.run(plain), many.run(plain)[1:2])


def test_no_images(plain: Emulator) -> None:
    assert Problem((0, 8, 8, 4, 2)).run(plain).shape == (0, 8, 8, 4)


def test_no_overrun_and_nothing_undefined(cuda_cache: Path, needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer("address,undefined")
    Problem(SMALL).check(variant(cuda_cache, sanitizer="address,undefined"))


def test_no_race(cuda_cache: Path, needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer("thread")
    Problem(SMALL).check(variant(cuda_cache, sanitizer="thread"))


def test_an_overrun_is_found(cuda_cache: Path, needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer("address,undefined")
    short = (KERNEL, "kWarps * sizeof(WarpMemory<S>)", "kWarps * sizeof(WarpMemory<S>) - 300")
    with pytest.raises(SanitizerError, match="heap-buffer-overflow"):
        Problem(SMALL).run(variant(cuda_cache, short, sanitizer="address,undefined"))
