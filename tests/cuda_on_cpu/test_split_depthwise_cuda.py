"""The CUDA kernels of the split depth-wise chain, run on the CPU, against float64 references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from cuda_on_cpu.emulator import ORDERS, ROOT, Emulator, SanitizerError, float_variant
from cuda_on_cpu.formats import SUMS, Array, decode, encode, relative_error, unwritten

from csmri_ext.ops import reference

ROOM = ROOT / "csrc" / "split_depthwise"
SOURCES = [*sorted(ROOM.glob("*.cu")), Path(__file__).parent / "split_depthwise_entries.cpp"]
TOLERANCE = {"f32": 5e-7, "f64": 1e-14}
ROUNDING = {"bf16": 3e-3, "f16": 4e-4}  # relative rms error of one rounding, and a little more

# (batch, splits, channels, ny, nx): around a tile of 32 x 64 and its rings, smaller than a ring, several passes
SHAPES = [
    (2, 4, 2, 45, 77),
    (1, 4, 1, 33, 68),
    (1, 4, 2, 3, 2),
    (1, 4, 1, 1, 1),
    (3, 2, 1, 32, 64),
    (1, 3, 2, 5, 67),
    (2, 5, 1, 34, 65),
    (1, 7, 1, 40, 8),
    (1, 16, 1, 9, 21),
]
SMALL = [(2, 4, 1, 34, 66), (1, 6, 1, 5, 12)]  # for the sanitizers: several tiles; several passes
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape)))
small = pytest.mark.parametrize("shape", SMALL, ids=lambda shape: "-".join(map(str, shape)))


@pytest.fixture(scope="module")
def plain(cuda_cache: Path) -> Emulator:
    return Emulator(SOURCES, cuda_cache)


variant = partial(float_variant, SOURCES)


@dataclass
class Result:
    out: Array
    grad_x: Array
    grad_weight: Array  # one per image

    def arrays(self) -> tuple[Array, Array, Array]:
        return self.out, self.grad_x, self.grad_weight


class Problem:
    """Random inputs of one shape. `dtype` is what lies in memory: f32, f64, bf16 or f16."""

    def __init__(self, shape: tuple[int, ...], dtype: str = "f32", seed: int = 0) -> None:
        batch, splits, channels, ny, nx = self.shape = shape
        self.dtype = dtype
        rng = torch.Generator().manual_seed(seed)
        images = (batch, splits * channels, ny, nx)

        def random(*size: int) -> torch.Tensor:  # exact in `dtype`
            return decode(encode(torch.randn(size, generator=rng, dtype=torch.float64), dtype), dtype)

        self.x, self.grad, self.weight = random(*images), random(*images), random(splits - 1, channels, 3, 3)

    def run(self, emulator: Emulator, order: str = "forward", dtype: str = "", out: Array | None = None) -> Result:
        """Forward and backward pass; the latter sees `out`, by default the result of the former."""
        dtype = dtype or self.dtype
        x, weight, grad = (encode(t, dtype) for t in (self.x, self.weight, self.grad))
        result = Result(
            unwritten(self.x.shape, dtype),
            unwritten(self.x.shape, dtype),
            unwritten((self.shape[0], *self.weight.shape), SUMS[dtype]),
        )
        emulator.call(f"forward_{dtype}", [x, weight, result.out], self.shape, order)
        saved, n_bytes = result.out if out is None else out, np.zeros(1, np.int64)
        arrays = [grad, x, saved, weight, result.grad_x, result.grad_weight]
        emulator.call(f"scratch_bytes_{dtype}", [*arrays, n_bytes], self.shape)
        scratch = np.full(int(n_bytes[0]), 0xFF, np.uint8)  # NaN
        emulator.call(f"backward_{dtype}", [*arrays, scratch], self.shape, order)
        return result

    def reference(self) -> tuple[torch.Tensor, ...]:
        x, weight = self.x.clone().requires_grad_(), self.weight.clone().requires_grad_()
        out = reference.split_depthwise(x, weight)
        return out.detach(), *torch.autograd.grad(out, (x, weight), self.grad)

    def check(self, emulator: Emulator, order: str = "forward") -> None:
        result = self.run(emulator, order)
        out, grad_x, grad_weight = self.reference()
        tolerance = TOLERANCE[self.dtype]
        assert relative_error(decode(result.out, self.dtype), out) < tolerance
        assert relative_error(decode(result.grad_x, self.dtype), grad_x) < 5 * tolerance
        assert relative_error(decode(result.grad_weight, self.dtype).sum(0), grad_weight) < 5 * tolerance


@shapes
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_agrees_with_reference(plain: Emulator, shape: tuple[int, ...], dtype: str) -> None:
    Problem(shape, dtype).check(plain)


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
@pytest.mark.parametrize("shape", [(2, 4, 1, 33, 68), (1, 4, 1, 7, 65)])
def test_sixteen_bits_are_storage_only(plain: Emulator, shape: tuple[int, ...], dtype: str) -> None:
    """All sums are in float32: the results are those of float32, rounded once."""
    problem = Problem(shape, dtype)
    result = problem.run(plain)
    wide = problem.run(plain, dtype="f32", out=encode(decode(result.out, dtype), "f32"))
    np.testing.assert_array_equal(result.out, encode(torch.from_numpy(wide.out), dtype))
    np.testing.assert_array_equal(result.grad_x, encode(torch.from_numpy(wide.grad_x), dtype))
    np.testing.assert_array_equal(result.grad_weight, wide.grad_weight)
    for value, expected in zip((result.out, result.grad_x), problem.reference()[:2], strict=True):
        assert relative_error(decode(value, dtype), expected) < ROUNDING[dtype]


def test_sixteen_bit_formats(plain: Emulator) -> None:
    """Every number survives the way through the kernel; ties, subnormals, infinities and NaN round as torch does."""
    for dtype in ("bf16", "f16"):
        every = np.arange(65536, dtype=np.uint16).reshape(1, 1, 256, 256)
        x = np.ascontiguousarray(np.repeat(every, 2, 1))
        x = x if dtype == "bf16" else x.view(np.float16)
        for weight, factor in ((1.0, 1.0), (1.0 + 2.0**-7, 1.0 + 2.0**-7), (2.0**-9, 2.0**-9)):
            taps = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
            taps[..., 1, 1] = weight
            finite = np.where(np.isfinite(decode(x, dtype).numpy()), x, np.zeros_like(x))
            out = np.zeros_like(finite)
            plain.call(f"forward_{dtype}", [finite, encode(taps, dtype), out], (1, 2, 1, 256, 256))
            expected = encode(decode(finite[:, 1:], dtype) * factor, dtype)
            np.testing.assert_array_equal(decode(out[:, 1:], dtype), decode(expected, dtype))
        copied = np.zeros_like(x)
        plain.call(f"forward_{dtype}", [x, encode(taps, dtype), copied], (1, 2, 1, 256, 256))
        np.testing.assert_array_equal(decode(copied[:, :1], dtype), decode(x[:, :1], dtype))  # inf and NaN, too


def test_border_is_zero_padded_at_every_convolution(plain: Emulator) -> None:
    """An impulse at the corner: no convolution may see what the one before would give outside the image."""
    problem = Problem((1, 4, 1, 5, 6), "f64")
    problem.x.zero_()
    problem.x[0, 1, 0, 0] = 1
    problem.weight.fill_(1)
    out, grad_x, _ = problem.reference()
    result = problem.run(plain)
    np.testing.assert_array_equal(result.out, out.numpy())
    assert relative_error(decode(result.grad_x, "f64"), grad_x) < 1e-15


@pytest.mark.parametrize("direction", ["out", "grad_x"])
def test_rings_outside_the_image_must_be_cleared(cuda_cache: Path, direction: str) -> None:
    """Without it, the test above and those against the reference fail."""
    edit = (ROOM / "chain_tile.cuh", "if (next && inside) next", "if (next) next")
    problem = Problem((1, 4, 1, 9, 13))
    out, grad_x, _ = problem.reference()
    result = problem.run(variant(cuda_cache, edit))
    value, expected = (result.out, out) if direction == "out" else (result.grad_x, grad_x)
    assert relative_error(decode(value, "f32"), expected) > 0.1


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_any_order_of_threads_and_blocks_gives_the_same_bits(plain: Emulator, dtype: str) -> None:
    problem = Problem((2, 5, 2, 37, 70), dtype)
    first, *others = [problem.run(plain, order) for order in ORDERS]
    for other in others:
        for one, two in zip(first.arrays(), other.arrays(), strict=True):
            np.testing.assert_array_equal(one, two)


def test_results_do_not_depend_on_the_batch(plain: Emulator) -> None:
    many = Problem((3, 4, 2, 35, 67))
    one = Problem((1, 4, 2, 35, 67))
    one.x, one.grad, one.weight = many.x[1:2], many.grad[1:2], many.weight
    for alone, among in zip(one.run(plain).arrays(), many.run(plain).arrays(), strict=True):
        np.testing.assert_array_equal(alone, among[1:2])


def test_no_images(plain: Emulator) -> None:
    result = Problem((0, 4, 2, 5, 6)).run(plain)
    assert result.grad_weight.shape == (0, 3, 2, 3, 3)


def test_rows_that_do_not_start_on_a_quad(plain: Emulator) -> None:
    """A slice of a larger array, whose address rules wide accesses out."""
    x = np.random.default_rng(0).standard_normal(1 + 2 * 33 * 64).astype(np.float32)
    weight = np.random.default_rng(1).standard_normal((1, 1, 3, 3)).astype(np.float32)
    shape = (1, 2, 1, 33, 64)
    here, there = np.zeros_like(x), np.zeros((2, 33, 64), np.float32)
    plain.call("forward_f32", [x[1:], weight, here[1:]], shape)
    plain.call("forward_f32", [x[1:].copy(), weight, there], shape)
    np.testing.assert_array_equal(here[1:], there.reshape(-1))


@small
def test_no_overrun_and_nothing_undefined(
    cuda_cache: Path, needs_sanitizer: Callable[[str], None], shape: tuple[int, ...]
) -> None:
    needs_sanitizer("address,undefined")
    Problem(shape).check(variant(cuda_cache, sanitizer="address,undefined"))


@small
def test_no_race(cuda_cache: Path, needs_sanitizer: Callable[[str], None], shape: tuple[int, ...]) -> None:
    needs_sanitizer("thread")
    Problem(shape).check(variant(cuda_cache, sanitizer="thread"))


BARRIERS = {
    "loaded": ("split_depthwise_cuda.cu", "  copy_async_wait<0>();\n  __syncthreads();\n", "  copy_async_wait<0>();\n"),
    "convolved": ("split_depthwise_cuda.cu", "pass, place);\n    __syncthreads();\n", "pass, place);\n"),
    "summed": ("split_depthwise_backward_cuda.cu", "    __syncthreads();\n    CSMRI", "    CSMRI"),
}


@pytest.mark.parametrize("barrier", ["convolved", "summed"])
def test_a_missing_barrier_is_found(plain: Emulator, cuda_cache: Path, barrier: str) -> None:
    file, old, new = BARRIERS[barrier]
    broken = variant(cuda_cache, (ROOM / file, old, new))
    problem = Problem((1, 4, 1, 34, 66))
    right = problem.run(plain).arrays()
    wrong = [problem.run(broken, order).arrays() for order in ORDERS]
    assert any(not np.array_equal(a, b, equal_nan=True) for w in wrong for a, b in zip(right, w, strict=True))


def test_a_race_is_found(cuda_cache: Path, needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer("thread")
    file, old, new = BARRIERS["loaded"]
    with pytest.raises(SanitizerError, match="data race"):
        Problem((1, 2, 1, 4, 6)).run(variant(cuda_cache, (ROOM / file, old, new), sanitizer="thread"))


def test_an_overrun_is_found(cuda_cache: Path, needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer("address,undefined")
    short = (ROOM / "split_depthwise_cuda.cu", "tile_start(pass.n, pass.n) *", "(tile_start(pass.n, pass.n) - 4) *")
    with pytest.raises(SanitizerError, match="heap-buffer-overflow"):
        Problem((1, 2, 1, 4, 6)).run(variant(cuda_cache, short, sanitizer="address,undefined"))
