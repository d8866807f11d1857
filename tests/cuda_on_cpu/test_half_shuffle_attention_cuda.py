"""The CUDA kernels of HSAB's attention half, run on the CPU, against float64 references."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cuda_on_cpu import hsab_forward
from cuda_on_cpu.emulator import ROOT, Emulator, SanitizerError
from cuda_on_cpu.formats import relative_error

from csmri_ext.ops import reference

KERNEL = ROOT / "csrc" / "hsab" / "half_shuffle_attention_cuda.cu"
SOURCES = [KERNEL, Path(__file__).parent / "half_shuffle_attention_entries.cpp"]

# (batch, ny, nx, channels, heads): one window; heads narrower and wider than 32; more windows than 32 keys; one head
SHAPES = [(1, 8, 8, 3, 1), (2, 8, 16, 8, 4), (1, 16, 8, 70, 2), (1, 48, 48, 4, 2), (1, 8, 24, 40, 1)]


class Problem(hsab_forward.Problem):
    def fill(self) -> None:
        batch, ny, nx, c, _ = self.shape
        self.x = self.stored(self.random(batch, ny, nx, c) + 1)
        products = [self.stored(c**-0.5 * self.random(n * c, c)) for n in (1, 2, 1)]
        self.weights = [self.stored(1 + self.random(c)), self.random(c), *products, self.random(c)]

    def reference(self) -> torch.Tensor:
        inputs: list[Any] = [self.x.permute(0, 3, 1, 2), *self.weights, self.shape[-1], 1e-5]
        return reference.half_shuffle_attention(*inputs).permute(0, 2, 3, 1)

    def error(self, value: torch.Tensor) -> float:
        return relative_error(value - self.x, self.reference() - self.x)


class TestHalfShuffleAttention(hsab_forward.ForwardTests):
    problem, sources, shapes = Problem, SOURCES, SHAPES
    small, batches, of_sixteen_bits = (1, 8, 16, 6, 2), (3, 8, 16, 6, 2), (1, 8, 16, 8, 2)

    def test_large_scores_do_not_overflow(self, plain: Emulator) -> None:
        problem = Problem((1, 8, 8, 6, 2), "f64")
        problem.weights[2] *= 1e3
        problem.check(plain)

    def test_an_overrun_is_found(self, cuda_cache: Path, needs_sanitizer: Callable[[str], None]) -> None:
        needs_sanitizer("address,undefined")
        short = (KERNEL, "kWarps * sizeof(WarpMemory<S>)", "kWarps * sizeof(WarpMemory<S>) - 300")
        with pytest.raises(SanitizerError, match="heap-buffer-overflow"):
            Problem(self.small).run(self.variant(cuda_cache, short, sanitizer="address,undefined"))
