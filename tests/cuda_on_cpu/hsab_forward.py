"""What both CUDA kernels of HSAB's forward pass are held to, run on the CPU, against float64 references."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from cuda_on_cpu.emulator import ORDERS, Emulator, float_variant
from cuda_on_cpu.formats import Array, decode, encode, relative_error, unwritten

TOLERANCE = {"f32": 2e-6, "f64": 1e-14}  # three tf32 products lose a little more than float32
ROUNDING = {"bf16": 3e-3, "f16": 4e-4}

Shape = tuple[int, ...]


class Problem(ABC):
    """Random inputs of one shape. `dtype` is what lies in memory: f32, f64, bf16 or f16."""

    x: torch.Tensor  # (batch, ny, nx, channels)
    weights: list[torch.Tensor]

    def __init__(self, shape: Shape, dtype: str = "f32") -> None:
        self.shape, self.dtype = shape, dtype
        _, ny, nx, channels, _ = shape
        self.generator = torch.Generator().manual_seed(ny * nx + channels)
        self.fill()

    @abstractmethod
    def fill(self) -> None:
        """Draw `x` and `weights`."""

    @abstractmethod
    def reference(self) -> torch.Tensor:
        """Return the result in float64."""

    def random(self, *size: int) -> torch.Tensor:
        """Draw numbers that are exact in `dtype`."""
        return self.stored(torch.randn(size, generator=self.generator, dtype=torch.float64))

    def stored(self, x: torch.Tensor) -> torch.Tensor:
        return decode(encode(x, self.dtype), self.dtype)

    def run(self, emulator: Emulator, order: str = "forward", dtype: str = "") -> Array:
        dtype = dtype or self.dtype
        out = unwritten(self.x.shape, dtype)
        arrays = [encode(t, dtype) for t in (self.x, *self.weights)]
        emulator.call(f"forward_{dtype}", [*arrays, out], self.shape, order)
        return out

    def error(self, value: torch.Tensor) -> float:
        return relative_error(value, self.reference())

    def check(self, emulator: Emulator, order: str = "forward") -> None:
        assert self.error(decode(self.run(emulator, order), self.dtype)) < TOLERANCE[self.dtype]


class ForwardTests:
    """Tests of a kernel, to be inherited; conftest.py makes `plain` from `sources`, and `shape` of `shapes`."""

    problem: ClassVar[type[Problem]]
    sources: ClassVar[list[Path]]
    shapes: ClassVar[list[Shape]]
    small: ClassVar[Shape]  # for the sanitizers
    batches: ClassVar[Shape]  # three images
    of_sixteen_bits: ClassVar[Shape]

    def test_agrees_with_reference(self, plain: Emulator, shape: Shape) -> None:
        self.problem(shape).check(plain)

    def test_agrees_with_reference_in_float64(self, plain: Emulator) -> None:
        self.problem(self.small, "f64").check(plain)

    @pytest.mark.parametrize("dtype", ["bf16", "f16"])
    def test_sixteen_bits_are_storage_only(self, plain: Emulator, dtype: str) -> None:
        """All sums are in float32: the result is that of float32, rounded once."""
        problem = self.problem(self.of_sixteen_bits, dtype)
        result = problem.run(plain)
        np.testing.assert_array_equal(result, encode(torch.from_numpy(problem.run(plain, dtype="f32")), dtype))
        assert relative_error(decode(result, dtype), problem.reference()) < ROUNDING[dtype]

    def test_any_order_of_threads_and_blocks_gives_the_same_bits(self, plain: Emulator) -> None:
        problem = self.problem(self.batches)
        first, *others = [problem.run(plain, order) for order in ORDERS]
        for other in others:
            np.testing.assert_array_equal(first, other)

    def test_results_do_not_depend_on_the_batch(self, plain: Emulator) -> None:
        many, one = self.problem(self.batches), self.problem((1, *self.batches[1:]))
        one.x, one.weights = many.x[1:2], many.weights
        np.testing.assert_array_equal(one.run(plain), many.run(plain)[1:2])

    def test_no_images(self, plain: Emulator) -> None:
        assert self.problem((0, *self.small[1:])).run(plain).shape == (0, *self.small[1:4])

    @pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
    def test_no_overrun_and_no_race(
        self, cuda_cache: Path, needs_sanitizer: Callable[[str], None], sanitizer: str
    ) -> None:
        needs_sanitizer(sanitizer)
        self.problem(self.small).check(self.variant(cuda_cache, sanitizer=sanitizer))

    def variant(self, *arguments: Any, **options: Any) -> Emulator:
        return float_variant(self.sources, *arguments, **options)
