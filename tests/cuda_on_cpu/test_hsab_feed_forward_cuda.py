"""The CUDA kernel of HSAB's feed-forward layer, run on the CPU, against float64 references."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cuda_on_cpu import hsab_forward
from cuda_on_cpu.emulator import ROOT, SanitizerError

from csmri_ext.ops import reference

KERNEL = ROOT / "csrc" / "hsab" / "hsab_feed_forward_cuda.cu"
SOURCES = [KERNEL, Path(__file__).parent / "hsab_feed_forward_entries.cpp"]

# (batch, ny, nx, channels, hidden): around a block of 6 x 30 pixels, 64 outputs and chunks of 32 channels
SHAPES = [(1, 7, 31, 32, 128), (2, 6, 30, 5, 20), (1, 1, 1, 1, 1), (1, 13, 61, 8, 33), (1, 3, 4, 70, 40)]

BROKEN = {  # a barrier left out, shared memory too short
    "filled": ("    __syncthreads();\n    if (warp < kRows) {", "    if (warp < kRows) {"),
    "read": ("    __syncthreads();\n  }\n", "  }\n"),
    "overrun": ("kShared * sizeof", "(kShared - 5) * sizeof"),
}


class Problem(hsab_forward.Problem):
    def fill(self) -> None:
        batch, ny, nx, channels, hidden = self.shape
        self.x = self.random(batch, ny, nx, channels)
        self.weights = [self.random(hidden, channels), self.random(hidden, 3, 3), self.random(channels, hidden)]

    def reference(self) -> torch.Tensor:
        return reference.hsab_feed_forward(self.x.permute(0, 3, 1, 2), *self.weights).permute(0, 2, 3, 1)


class TestHsabFeedForward(hsab_forward.ForwardTests):
    problem, sources, shapes = Problem, SOURCES, SHAPES
    small, batches, of_sixteen_bits = (1, 7, 31, 3, 34), (3, 8, 33, 5, 20), (1, 7, 31, 8, 32)

    @pytest.mark.parametrize("fault", BROKEN)
    def test_a_fault_is_found(self, cuda_cache: Path, needs_sanitizer: Callable[[str], None], fault: str) -> None:
        sanitizer, told = (
            ("address,undefined", "heap-buffer-overflow") if fault == "overrun" else ("thread", "data race")
        )
        needs_sanitizer(sanitizer)
        with pytest.raises(SanitizerError, match=told):
            Problem(self.small).run(self.variant(cuda_cache, (KERNEL, *BROKEN[fault]), sanitizer=sanitizer))
