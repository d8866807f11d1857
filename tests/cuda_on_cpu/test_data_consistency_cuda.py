"""The CUDA kernels of data consistency, run on the CPU, against float64 references."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu.data_consistency_problem import CSRC, SOURCES, Problem, relative_error
from cuda_on_cpu.emulator import ORDERS, Emulator, SanitizerError

SPLITS = [
    tuple(map(int, pair)) for pair in re.findall(r"Split<(\d+), (\d+)>", (CSRC / "fft/line_launch.cuh").read_text())
]
TOLERANCE = {np.float32: 5e-7, np.float64: 1e-14}
FEW_SPLITS = ["CSMRI_LINE_SPLITS=Split<8, 16>, Split<5, 21>"]  # 128 and 105: quick to build
CASES: list[dict[str, Any]] = [
    {"axes": "x", "ny": 19, "nx": 128, "batch": 4, "n_masks": 2, "replicas": 3, "planar": True},
    {"axes": "y", "ny": 128, "nx": 19, "batch": 4, "n_masks": 4},
    {"axes": "xy", "ny": 105, "nx": 128, "batch": 2, "n_masks": 1, "replicas": 2},
    {"axes": "x", "ny": 5, "nx": 77, "batch": 2, "n_masks": 2},
    {"axes": "y", "ny": 77, "nx": 21, "planar": True},
    {"axes": "xy", "ny": 105, "nx": 26, "batch": 2, "n_masks": 2, "planar": True},
]
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['axes']}-{case['ny']}x{case['nx']}")


@pytest.fixture(scope="module")
def plain(cuda_cache: Path) -> Emulator:
    return Emulator(SOURCES, cuda_cache, optimize="-O0")


@pytest.fixture(scope="module")
def few(cuda_cache: Path) -> Emulator:
    """A smaller table of line lengths."""
    return Emulator(SOURCES, cuda_cache, defines=FEW_SPLITS, optimize="-O0")


def check(problem: Problem, tolerance: float | None = None) -> None:
    tolerance = tolerance or TOLERANCE[problem.real]
    assert relative_error(problem.apply(), problem.reference()) < tolerance
    grad_image, grad_eta = problem.backward()
    expected_image, expected_eta, sum_of_norms = problem.reference_backward()
    assert relative_error(grad_image, expected_image) < 5 * tolerance
    assert abs(grad_eta - expected_eta) < 5 * tolerance * sum_of_norms


@pytest.mark.slow
@pytest.mark.parametrize(("r1", "r2"), SPLITS)
def test_every_tabulated_length(plain: Emulator, r1: int, r2: int) -> None:
    n = r1 * r2
    check(Problem(plain, 5, n, "x"))
    check(Problem(plain, n, 11, "y"))
    value, expected = Problem(plain, 5, n, "x").sense_normal(2, False)
    assert relative_error(value, expected) < TOLERANCE[np.float32]


@cases
@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_shapes_layouts_and_masks(few: Emulator, case: dict[str, Any], real: type) -> None:
    check(Problem(few, real=real, **case))


@cases
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("own_maps", [False, True])
def test_sense_normal_operator(few: Emulator, case: dict[str, Any], real: type, own_maps: bool) -> None:
    value, expected = Problem(few, real=real, **case).sense_normal(3, own_maps)
    assert relative_error(value, expected) < TOLERANCE[real]


@pytest.mark.parametrize(("ny", "nx", "axes"), [(5, 128, "x"), (21, 6, "y"), (128, 21, "xy")])
def test_sense_normal_operator_with_a_mask_for_each_coil(few: Emulator, ny: int, nx: int, axes: str) -> None:
    problem = Problem(few, ny, nx, axes, batch=6, n_masks=6)
    value, expected = problem.sense_normal(3, True, mask_per_coil=True)
    assert relative_error(value, expected) < TOLERANCE[np.float32]


@cases
@pytest.mark.parametrize(("add_image", "with_samples"), [(False, False), (False, True), (True, False)])
def test_parts_of_the_sum(few: Emulator, case: dict[str, Any], add_image: bool, with_samples: bool) -> None:
    check(Problem(few, add_image=add_image, with_samples=with_samples, **case))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 16, 31, 49, 97, 129, 218, 264, 386, 1009])
def test_lengths_without_a_kernel_of_their_own(few: Emulator, n: int) -> None:
    check(Problem(few, 3, n, "x"))
    check(Problem(few, n, 9, "y", real=np.float64), 2e-14)


def test_longest_line(few: Emulator) -> None:
    check(Problem(few, 2, 2048, "x", real=np.float64))
    check(Problem(few, 2048, 2, "y"))


@cases
def test_pack_and_measure_are_adjoint_to_what_they_should(few: Emulator, case: dict[str, Any]) -> None:
    problem = Problem(few, real=np.float64, **case)
    rng = np.random.default_rng(1)
    other = problem.pack(rng.standard_normal(problem.kspace.shape) + 1j * rng.standard_normal(problem.kspace.shape))
    samples = problem.pack()
    # <pack(y), s> = <y, unpack(s)>
    assert np.vdot(samples, other) == pytest.approx(np.vdot(problem.kspace, problem.unpack(other)).real, rel=1e-12)
    # the samples' part of the output is eta measure^H samples
    problem.add_image, without = False, Problem(few, real=np.float64, add_image=False, with_samples=False, **case)
    part = problem.apply() - without.apply()
    expected = problem.eta[0] * np.vdot(problem.measure(problem.grad), samples)
    assert np.vdot(problem.grad, part).real == pytest.approx(expected, rel=1e-12)


@cases
def test_k_space_outside_the_mask_does_not_matter(few: Emulator, case: dict[str, Any]) -> None:
    problem = Problem(few, **case)
    other = np.where(problem.full_mask[:, 0] == 0, np.nan, problem.kspace)
    np.testing.assert_array_equal(problem.pack(other), problem.pack())


@cases
def test_any_order_of_threads_and_blocks_gives_the_same_bits(few: Emulator, case: dict[str, Any]) -> None:
    results = []
    for order in ORDERS:
        problem = Problem(few, order=order, **case)
        results.append(
            [problem.apply(), *problem.backward(), problem.measure(problem.grad), problem.sense_normal(2, True)[0]]
        )
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("ny", "nx", "axes"), [(19, 128, "x"), (128, 19, "y"), (105, 128, "xy"), (77, 21, "y")])
def test_results_do_not_depend_on_the_batch(few: Emulator, ny: int, nx: int, axes: str) -> None:
    many = Problem(few, ny, nx, axes, batch=235 if axes == "x" else 3)  # 4465 rows: eight a block; 19: two
    one = Problem(few, ny, nx, axes)
    one.image, one.grad, one.kspace = many.image[:1], many.grad[:1], many.kspace[:1]
    one.mask[...], one.weights[...] = many.mask, many.weights
    np.testing.assert_array_equal(many.apply()[:1], one.apply())
    if axes != "x":  # its block takes as many rows as that of the forward pass
        np.testing.assert_array_equal(many.backward()[0][:1], one.backward()[0])


SMALL_CASES: list[dict[str, Any]] = [  # the same paths with as little work as possible
    {"axes": "x", "ny": 3, "nx": 128, "batch": 2, "n_masks": 2, "replicas": 2, "planar": True},
    {"axes": "y", "ny": 105, "nx": 9, "batch": 2, "n_masks": 2},
    {"axes": "x", "ny": 2, "nx": 21, "planar": True},
    {"axes": "y", "ny": 22, "nx": 9},
    {"axes": "xy", "ny": 105, "nx": 18, "replicas": 2},
    {"axes": "xy", "ny": 18, "nx": 17, "batch": 2, "n_masks": 2, "planar": True},
]
small_cases = pytest.mark.parametrize("case", SMALL_CASES, ids=lambda case: f"{case['axes']}-{case['ny']}x{case['nx']}")


def sanitized(cuda_cache: Path, sanitizer: str, *edits: tuple[Path, str, str]) -> Emulator:
    return Emulator(SOURCES, cuda_cache, sanitizer=sanitizer, defines=FEW_SPLITS, optimize="-O0", edits=edits)


@small_cases
def test_no_overrun_and_nothing_undefined(
    cuda_cache: Path, needs_sanitizer: Callable[[str], None], case: dict[str, Any]
) -> None:
    needs_sanitizer("address,undefined")
    problem = Problem(sanitized(cuda_cache, "address,undefined"), **case)
    check(problem)
    problem.unpack(problem.measure(problem.grad))
    problem.sense_normal(2, True)


@small_cases
def test_no_race(cuda_cache: Path, needs_sanitizer: Callable[[str], None], case: dict[str, Any]) -> None:
    needs_sanitizer("thread")
    problem = Problem(sanitized(cuda_cache, "thread"), **case)
    check(problem)
    problem.unpack(problem.measure(problem.grad))
    problem.sense_normal(2, True)


BARRIERS: dict[str, tuple[tuple[str, str, str], dict[str, Any]]] = {
    "between the steps of the inverse transform": (
        ("fft/line_kernel.cuh", "  __syncthreads();\n  if (line.live && t < R2) {", "  if (line.live && t < R2) {"),
        {"axes": "x", "ny": 2, "nx": 128},
    ),
    "between the two transforms of backward": (
        ("fft/line_kernel.cuh", "  __syncthreads();  // the tile is free for g\n", ""),
        {"axes": "x", "ny": 2, "nx": 128},
    ),
    "between the passes of a transform": (
        ("fft/any_length.cuh", "    __syncthreads();\n    for (int i", "    for (int i"),
        {"axes": "x", "ny": 2, "nx": 21},
    ),
    "between coils": (
        ("sense_normal/sense_normal_lines_cuda.cu", "if (!pass.forward) __syncthreads();", ""),
        {"axes": "xy", "ny": 2, "nx": 128},
    ),
}


@pytest.mark.parametrize("barrier", BARRIERS)
def test_a_missing_barrier_is_found(
    few: Emulator, cuda_cache: Path, needs_sanitizer: Callable[[str], None], barrier: str
) -> None:
    (file, old, new), case = BARRIERS[barrier]

    def results(emulator: Emulator, order: str = "forward") -> list[Any]:
        problem = Problem(emulator, order=order, **case)
        return [problem.sense_normal(3, False)[0]] if file.startswith("sense") else list(problem.backward())

    edit, expected = (CSRC / file, old, new), results(few)
    edited = Emulator(SOURCES, cuda_cache, defines=FEW_SPLITS, optimize="-O0", edits=[edit])
    assert any(
        not np.array_equal(value, right)
        for order in ORDERS
        for value, right in zip(results(edited, order), expected, strict=True)
    )
    needs_sanitizer("thread")
    with pytest.raises(SanitizerError, match="data race"):
        results(sanitized(cuda_cache, "thread", edit))


OVERRUNS = {
    "of the tile": (
        "fft/line_launch.cuh",
        "Geometry::kTileElements * sizeof",
        "(Geometry::kTileElements - 20) * sizeof",
    ),
    "lines beyond the last": ("fft/line_kernel.cuh", "live = line < pass.images * pass.lanes;", "live = true;"),
}


@pytest.mark.parametrize("overrun", OVERRUNS)
def test_an_overrun_is_found(cuda_cache: Path, needs_sanitizer: Callable[[str], None], overrun: str) -> None:
    needs_sanitizer("address,undefined")
    file, old, new = OVERRUNS[overrun]
    with pytest.raises(SanitizerError, match="heap-buffer-overflow"):
        Problem(sanitized(cuda_cache, "address,undefined", (CSRC / file, old, new)), 3, 128, "x").apply()
