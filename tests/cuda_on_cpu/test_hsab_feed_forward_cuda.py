"""The CUDA kernels of HSAB's feed-forward layer, run on the CPU, against float64 references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from cuda_on_cpu import hsab_forward
from cuda_on_cpu.emulator import ORDERS, ROOT, Emulator, SanitizerError, float_variant
from cuda_on_cpu.formats import Array, decode, encode, relative_error, unwritten

from csmri_ext.ops import reference

ROOM = ROOT / "csrc" / "hsab"
KERNEL, BACKWARD = ROOM / "hsab_feed_forward_cuda.cu", ROOM / "hsab_feed_forward_backward_cuda.cu"
SOURCES = [KERNEL, BACKWARD, Path(__file__).parent / "hsab_feed_forward_entries.cpp"]

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


class Gradients(Problem):
    """Of x, expand, depthwise and contract."""

    def fill(self) -> None:
        super().fill()
        self.grad = self.random(*self.x.shape)

    def backward(self, emulator: Emulator, order: str = "forward", dtype: str = "") -> list[Array]:
        dtype, inputs = dtype or self.dtype, [self.x, *self.weights]
        grads = [unwritten(t.shape, dtype) for t in inputs]
        emulator.call(
            f"backward_{dtype}", [*(encode(t, dtype) for t in (*inputs, self.grad)), *grads], self.shape, order
        )
        return grads

    def truth(self) -> Sequence[torch.Tensor]:
        leaves = [t.clone().requires_grad_() for t in (self.x, *self.weights)]
        out = reference.hsab_feed_forward(leaves[0].permute(0, 3, 1, 2), *leaves[1:])
        return torch.autograd.grad(out, leaves, self.grad.permute(0, 3, 1, 2))

    def errors(self, grads: list[Array]) -> list[float]:
        pairs = zip(grads, self.truth(), strict=True)
        return [relative_error(decode(value, self.dtype), true) for value, true in pairs]

    def check(self, emulator: Emulator, order: str = "forward") -> None:
        assert max(self.errors(self.backward(emulator, order))) < hsab_forward.TOLERANCE[self.dtype]


def equal(one: list[Array], other: list[Array]) -> bool:
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True))


SMALL = (1, 3, 29, 3, 34)  # two tiles of 4 x 28 pixels, two chunks of 32 hidden channels

# Barriers between the steps of the kernel: what stands there, and what is left.
STEPS = {
    "a": ("      __syncthreads();\n      S taps[9];", "      S taps[9];"),
    "dq": ("      __syncthreads();\n      S sums[9] = {};", "      S sums[9] = {};"),
    "dp": ("      __syncthreads();\n      if (has_dx) {\n        CSMRI", "      if (has_dx) {\n        CSMRI"),
    "products": ("      __syncthreads();\n      const bool begins", "      const bool begins"),
}
LAST_STEP = ("      __syncthreads();\n    }\n    if (!group_exists", "    }\n    if (!group_exists")
WRONG = {
    "pixels of two tiles count twice": ("return i >= 2 && i < 2 + kPixels;", "return i >= 1 && i < 3 + kPixels;"),
    "taps are not turned": ("taps[8 - tap] * dq[at]", "taps[tap] * dq[at]"),
    "what scratch held is added": ("part[at] = begins ? sum", "part[at] = begins && false ? sum"),
}
SHORT = {
    "shared memory": ("* kRow * sizeof(S);", "* kRow * sizeof(S) - 5 * kPitch * sizeof(S);"),
    "scratch": ("blocks * size() * static_cast", "(blocks * size() - 1) * static_cast"),
}


class TestBackward:
    sources = SOURCES
    # Around a tile and a chunk; channels beyond 32 and beyond 64, which two blocks share
    shapes = (
        *[(1, 5, 29, 32, 64), (2, 4, 28, 5, 20), (1, 1, 1, 1, 1), (1, 9, 57, 8, 33), (1, 3, 4, 70, 40)],
        *[(1, 4, 5, 40, 64), (3, 2, 3, 96, 8)],
    )

    def test_agrees_with_reference(self, plain: Emulator, shape: hsab_forward.Shape) -> None:
        Gradients(shape).check(plain)

    def test_agrees_with_reference_in_float64(self, plain: Emulator, shape: hsab_forward.Shape) -> None:
        Gradients(shape, "f64").check(plain)

    def test_blocks_go_on_to_more_tiles(self, plain: Emulator) -> None:
        """270 tiles of two rows: some blocks make two of them, some three."""
        Gradients((3, 90, 30, 2, 3), "f64").check(plain)

    def test_more_tiles_in_float32(self, cuda_cache: Path) -> None:
        few = float_variant(SOURCES, cuda_cache, (BACKWARD, "kMostBlocks = 132", "kMostBlocks = 3"))
        Gradients((1, 9, 57, 8, 33)).check(few)

    @pytest.mark.parametrize("dtype", ["bf16", "f16"])
    def test_sixteen_bits_are_storage_only(self, plain: Emulator, dtype: str) -> None:
        """All sums are in float32: the gradients are those of float32, rounded once."""
        problem = Gradients((1, 5, 29, 8, 33), dtype)
        grads = problem.backward(plain)
        for value, wide in zip(grads, problem.backward(plain, dtype="f32"), strict=True):
            np.testing.assert_array_equal(value, encode(torch.from_numpy(wide), dtype))
        assert max(problem.errors(grads)) < hsab_forward.ROUNDING[dtype]

    def test_any_order_of_threads_and_blocks_gives_the_same_bits(self, plain: Emulator) -> None:
        problem = Gradients((3, 5, 29, 5, 20))
        first, *others = [problem.backward(plain, order) for order in ORDERS]
        assert all(equal(first, other) for other in others)

    def test_dx_does_not_depend_on_the_batch(self, plain: Emulator) -> None:
        many, one = Gradients((3, 5, 29, 5, 20)), Gradients((1, 5, 29, 5, 20))
        one.x, one.weights, one.grad = many.x[1:2], many.weights, many.grad[1:2]
        np.testing.assert_array_equal(one.backward(plain)[0], many.backward(plain)[0][1:2])

    def test_no_images(self, plain: Emulator) -> None:
        grads = Gradients((0, 5, 6, 3, 34)).backward(plain)
        assert all(not grad.any() for grad in grads)  # zero, not unwritten

    def test_nan_stays_where_it_is_seen(self, plain: Emulator) -> None:
        """Two 3x3 filters away, across tiles too."""
        problem = Gradients((1, 9, 31, 3, 5))
        problem.x[0, 4, 28, 1] = torch.nan
        bad = np.isnan(problem.backward(plain)[0]).all(-1)
        assert bad[:, 2:7, 26:31].all() and bad.sum() == 25

    @pytest.mark.parametrize("value", [1e4, 3e38])
    def test_far_from_zero_the_slope_is_exact(self, plain: Emulator, value: float) -> None:
        problem = Gradients((1, 1, 2, 1, 1))
        problem.x[:] = torch.tensor([value, -value]).reshape(1, 1, 2, 1)
        problem.weights = [torch.ones(1, 1), torch.zeros(1, 3, 3), torch.ones(1, 1)]
        problem.weights[1][0, 1, 1] = 1
        grad_x = problem.backward(plain)[0]
        np.testing.assert_allclose(grad_x.ravel() / problem.grad.numpy().ravel(), [1, 0], atol=1e-6)

    @pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
    def test_no_overrun_and_no_race(
        self, cuda_cache: Path, needs_sanitizer: Callable[[str], None], sanitizer: str
    ) -> None:
        needs_sanitizer(sanitizer)
        Gradients(SMALL).check(float_variant(SOURCES, cuda_cache, sanitizer=sanitizer))

    @pytest.mark.parametrize("fault", WRONG)
    def test_a_wrong_number_is_found(self, cuda_cache: Path, fault: str) -> None:
        wrong = float_variant(SOURCES, cuda_cache, (BACKWARD, *WRONG[fault]))
        with pytest.raises(AssertionError):
            Gradients(SMALL).check(wrong)

    @pytest.mark.parametrize("step", STEPS)
    def test_a_missing_barrier_is_found(self, cuda_cache: Path, step: str) -> None:
        broken, problem = float_variant(SOURCES, cuda_cache, (BACKWARD, *STEPS[step])), Gradients(SMALL)
        assert any(max(problem.errors(problem.backward(broken, order))) > 1e-3 for order in ORDERS)

    def test_a_race_is_found(self, cuda_cache: Path, needs_sanitizer: Callable[[str], None]) -> None:
        needs_sanitizer("thread")
        broken = float_variant(SOURCES, cuda_cache, (BACKWARD, *LAST_STEP), sanitizer="thread")
        with pytest.raises(SanitizerError, match="data race"):
            Gradients(SMALL).backward(broken)

    @pytest.mark.parametrize("what", SHORT)
    def test_an_overrun_is_found(self, cuda_cache: Path, needs_sanitizer: Callable[[str], None], what: str) -> None:
        needs_sanitizer("address,undefined")
        short = float_variant(SOURCES, cuda_cache, (BACKWARD, *SHORT[what]), sanitizer="address,undefined")
        with pytest.raises(SanitizerError, match="heap-buffer-overflow"):
            Gradients(SMALL).backward(short)
