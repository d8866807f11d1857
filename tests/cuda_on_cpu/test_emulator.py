"""The emulator finds what it is there to find, and accepts what is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cuda_on_cpu.emulator import ORDERS, Emulator, SanitizerError

SOURCE = Path(__file__).parent / "selftest.cu"


@pytest.fixture(scope="module")
def plain(cuda_cache: Path) -> Emulator:
    return Emulator([SOURCE], cuda_cache)


@pytest.fixture(scope="module")
def thread_checked(cuda_cache: Path, needs_sanitizer: Callable[[str], None]) -> Emulator:
    needs_sanitizer("thread")
    return Emulator([SOURCE], cuda_cache, sanitizer="thread")


@pytest.fixture(scope="module")
def address_checked(cuda_cache: Path, needs_sanitizer: Callable[[str], None]) -> Emulator:
    needs_sanitizer("address,undefined")
    return Emulator([SOURCE], cuda_cache, sanitizer="address,undefined")


def block_sums(emulator: Emulator, order: str = "forward") -> None:
    x = np.random.default_rng(0).integers(-8, 8, 2000).astype(np.float32)
    out = np.zeros(8, np.float32)
    emulator.call("run_block_sums", [x, out], [x.size], order)
    np.testing.assert_array_equal(out, np.pad(x, (0, 48)).reshape(8, 256).sum(1))


def neighbour_sums(
    emulator: Emulator, order: str = "forward", *, barrier: bool = True, shared: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    out = np.zeros_like(x)
    emulator.call("run_neighbour_sums", [x, out], [4, barrier, shared], order)
    return out, x + np.roll(x, -1, 1)


@pytest.mark.parametrize("order", ORDERS)
def test_reduction_with_shuffles(plain: Emulator, order: str) -> None:
    block_sums(plain, order)


@pytest.mark.parametrize("order", ORDERS)
def test_barrier(plain: Emulator, order: str) -> None:
    out, expected = neighbour_sums(plain, order)
    np.testing.assert_array_equal(out, expected)


def test_missing_barrier_shows_in_the_values(plain: Emulator) -> None:
    results = [neighbour_sums(plain, order, barrier=False)[0] for order in ORDERS]
    assert np.isnan(results[0]).any()  # read before it was written
    assert not np.array_equal(results[0], results[1], equal_nan=True)
    assert not np.array_equal(results[1], results[2], equal_nan=True)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (0, "divergent __syncthreads"),
        (1, "returned"),
        (2, "deadlock"),
        (3, "not in its own mask"),
        (4, "divergent warp collective"),
    ],
)
@pytest.mark.parametrize("order", ORDERS)
def test_misuse_is_an_error(plain: Emulator, kind: int, message: str, order: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        plain.call("run_misuse", [np.zeros(64, np.float32)], [kind], order)
    block_sums(plain)  # and the next launch works


def test_asynchronous_copy_arrives_at_the_wait(plain: Emulator) -> None:
    x = np.arange(1, 129, dtype=np.float32)
    out = np.zeros(160, np.float32)
    plain.call("run_staged_copy", [x, out], [20, 1])
    np.testing.assert_array_equal(out, np.concatenate([x[:20], np.zeros(12), x]))
    plain.call("run_staged_copy", [x, out], [20, 0])
    assert np.isnan(out[:32]).all()


@pytest.mark.parametrize("order", ORDERS)
def test_cluster(plain: Emulator, order: str) -> None:
    x = np.arange(256, dtype=np.float32)
    out = np.zeros_like(x)
    plain.call("run_rotate_blocks", [x, out], order=order)
    np.testing.assert_array_equal(out.reshape(2, 4, 32), np.roll(x.reshape(2, 4, 32), -1, axis=1))


def test_small_products(plain: Emulator) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-64, 64, shape).astype(np.float32) / 16 for shape in ((16, 16), (16, 8)))
    start = rng.integers(-64, 64, (16, 8)).astype(np.float32)
    tf32, bf16 = start.copy(), np.zeros_like(start)
    plain.call("run_small_products", [a, b, tf32, bf16])
    np.testing.assert_array_equal(tf32, start + a[:, :8] @ b[:8])  # all values exact
    np.testing.assert_array_equal(bf16, a @ b)


def test_sanitizers_accept_correct_kernels(thread_checked: Emulator, address_checked: Emulator) -> None:
    for emulator in (thread_checked, address_checked):
        block_sums(emulator)
        out, expected = neighbour_sums(emulator, "random:2")
        np.testing.assert_array_equal(out, expected)
        x = np.arange(256, dtype=np.float32)
        emulator.call("run_rotate_blocks", [x, np.zeros_like(x)])
        emulator.call("run_staged_copy", [x, np.zeros(160, np.float32)], [20, 1])


def test_thread_sanitizer_finds_a_missing_barrier(thread_checked: Emulator) -> None:
    with pytest.raises(SanitizerError, match="data race"):
        neighbour_sums(thread_checked, barrier=False)


def test_thread_sanitizer_finds_blocks_that_write_the_same_element(thread_checked: Emulator) -> None:
    with pytest.raises(SanitizerError, match="data race"):
        thread_checked.call("run_overlapping_blocks", [np.zeros(4, np.float32)], [8])


def test_address_sanitizer_finds_an_overrun_of_shared_memory(address_checked: Emulator) -> None:
    with pytest.raises(SanitizerError, match="heap-buffer-overflow"):
        neighbour_sums(address_checked, shared=63)


def test_address_sanitizer_finds_an_overrun_of_an_argument(address_checked: Emulator) -> None:
    with pytest.raises(SanitizerError, match="heap-buffer-overflow"):
        address_checked.call("run_block_sums", [np.zeros(2000, np.float32), np.zeros(7, np.float32)], [2000])


def test_errors_cross_the_process_border(address_checked: Emulator) -> None:
    with pytest.raises(RuntimeError, match="deadlock"):
        address_checked.call("run_misuse", [np.zeros(64, np.float32)], [2])


def test_only_changed_sources_are_compiled(plain: Emulator, cuda_cache: Path) -> None:
    first = plain.build()
    before = first.stat().st_mtime_ns
    assert Emulator([SOURCE], cuda_cache).build() == first
    assert first.stat().st_mtime_ns == before
