"""Coil sensitivities: quality and time of our estimates, of ``bart ecalib`` and, where it is installed, of SigPy.

    python -m benchmarks.calibration [FILES...] [--size N] [--phantoms N] [--lines 24,12,8,5] [--noise S] [--tv]
                                     [--echo N] [--follow] [--sigpy-python PYTHON] [--repetitions N]

Phantoms: every fourth column and some in the middle, 8 coils, noise; PSNR of the reconstruction with each set of maps
against the image without noise. Files: a tenth of the acquired samples outside the calibration region is held back, and
predicted by the reconstruction from the others. Times are those of the processor. SigPy may live in an
environment of its own.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.timing import machine
from csmri_ext.bridge import BartError, load
from csmri_ext.iterative.tv import tv
from csmri_ext.phantom import phantom_acquisition
from csmri_ext.phantom.subjects import ANATOMIES
from csmri_ext.physics import calibration_block, cg_sense, estimate_sens_maps, fft2c
from csmri_ext.recon.bart_methods import ecalib_around_echo

Estimate = Callable[[NDArray[np.complex64], NDArray[np.bool_]], tuple[NDArray[np.complex64], float]]  # maps, seconds
N_COILS = 8
SIGPY = """
import sys, time, numpy as np, sigpy.mri as mr
kspace, width = np.load(sys.argv[1]), int(sys.argv[2])
start = time.process_time()
maps = mr.app.EspiritCalib(kspace, calib_width=width, show_pbar=False).run()
np.save(sys.argv[3], maps)
print(time.process_time() - start)
"""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("files", nargs="*", help="fully or partly sampled k-space of several coils; default: phantoms")
    add("--size", type=int, default=256)
    add("--phantoms", type=int, default=6, help="number of phantoms")
    add("--lines", default="24,12,8,5", help="columns of the calibration region")
    add("--echo", type=int, default=0, metavar="N", help="columns by which the echo is off the middle")
    add("--follow", action="store_true", help="with --echo: the fully sampled columns lie around it, not in the middle")
    add("--noise", type=float, default=0.005, help="standard deviation, the brightest tissue about 1")
    add("--tv", action="store_true", help="reconstruct with total variation too")
    add("--sigpy-python", metavar="PYTHON", help="interpreter that has sigpy")
    add("--repetitions", type=int, default=3, help="the best time of them counts")
    add("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    ways = all_ways(arguments.sigpy_python, arguments.repetitions)
    print(f"{machine()}, {arguments.threads} thread(s)\n")
    if arguments.files:
        for path in arguments.files:
            print_held_back(path, ways)
        return
    for lines in map(int, arguments.lines.split(",")):
        shifts = arguments.echo, arguments.echo if arguments.follow else 0
        print_phantoms(ways, arguments.size, arguments.phantoms, lines, arguments.noise, arguments.tv, shifts)


def all_ways(sigpy_python: str | None, repetitions: int) -> dict[str, Estimate]:
    """Every estimate by name; maps are zero, and seconds not a number, where a program fails."""

    def ours(method: str) -> Estimate:
        return lambda kspace, mask: _clocked(
            lambda: estimate_sens_maps(torch.from_numpy(kspace), torch.from_numpy(mask), method).numpy()
        )

    ways: dict[str, Estimate] = {name: ours(name) for name in ("espirit", "low_resolution", "adaptive")}
    ways["bart ecalib"] = lambda kspace, mask: _clocked(lambda: ecalib_around_echo(kspace, mask))
    if sigpy_python:
        ways["sigpy"] = lambda kspace, mask: _sigpy(sigpy_python, kspace, mask)
    return {name: partial(_best, estimate, repetitions) for name, estimate in ways.items()}


def print_phantoms(
    ways: Mapping[str, Estimate],
    size: int,
    n_phantoms: int,
    lines: int,
    noise: float,
    with_tv: bool,
    shifts: tuple[int, int] = (0, 0),
) -> None:
    """Print medians over phantoms, and the least difference to ``bart ecalib``.

    `shifts`: columns by which the echo, and those in the calibration region, are off the middle.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    scores: dict[str, list[list[float]]] = {name: [] for name in ways}
    for seed in range(n_phantoms):
        kspace, target = _phantom(size, seed, noise)
        mask = _columns(size, lines, shifts[1])
        kspace = np.roll(kspace, shifts[0], -1) * mask
        for name, estimate in ways.items():
            maps, duration = estimate(kspace, mask)
            seconds[name].append(duration)
            scores[name].append(_scores(kspace, mask, maps, target, with_tv))
    print(f"{lines} columns, {n_phantoms} phantoms {size} x {size}, {N_COILS} coils, noise {noise:g}: median")
    titles = ["CG, dB", "TV, dB"][: 1 + with_tv]
    print("\n| maps | ms | " + " | ".join(f"{title} | least - ecalib" for title in titles) + " |")
    print("|---|---:|" + "---:|---:|" * len(titles))
    rival = np.array(scores["bart ecalib"])
    for name in ways:
        own = np.array(scores[name])
        cells = [f"{m:.2f} | {d:+.2f}" for m, d in zip(np.median(own, 0), (own - rival).min(0), strict=True)]
        print(f"| {name} | {1e3 * statistics.median(seconds[name]):.0f} | " + " | ".join(cells) + " |")
    print(flush=True)


def print_held_back(path: str, ways: Mapping[str, Estimate]) -> None:
    """Print the relative error of samples that the reconstruction did not see."""
    acquisition = load(path)
    kspace = np.array(acquisition.kspace[acquisition.n_slices // 2])
    sampled = (kspace != 0).any(0)
    held = sampled & (np.random.default_rng(0).random(sampled.shape) < 0.1)
    held[calibration_block(sampled)] = False
    mask = sampled & ~held
    shown = kspace * mask
    print(f"{acquisition.name}: residual of held-back samples after 5, 8, 12, 20 CG iterations\n")
    print("| maps | ms | 5 | 8 | 12 | 20 |\n|---|---:|---:|---:|---:|---:|")
    for name, estimate in ways.items():
        maps, duration = estimate(shown, mask)
        cells = []
        for iterations in (5, 8, 12, 20):
            image = cg_sense(*map(torch.from_numpy, (shown, mask, maps)), iterations=iterations)
            error = fft2c(torch.from_numpy(maps) * image).numpy() - kspace
            cells.append(np.linalg.norm(error[:, held]) / np.linalg.norm(kspace[:, held]))
        print(f"| {name} | {1e3 * duration:.0f} | " + " | ".join(f"{cell:.4f}" for cell in cells) + " |", flush=True)


def _scores(
    kspace: NDArray[np.complex64],
    mask: NDArray[np.bool_],
    maps: NDArray[np.complex64],
    target: NDArray[np.float32],
    with_tv: bool,
) -> list[float]:
    if not maps.any():
        return [0.0] * (1 + with_tv)
    arguments: Sequence[Tensor] = [torch.from_numpy(array) for array in (kspace, mask, maps)]
    images = [cg_sense(*arguments, iterations=12, regularization=0.01).numpy()]
    if with_tv:
        images.append(tv(kspace, mask, maps, weight=0.002))
    peak = float(target.max())
    return [10 * math.log10(peak**2 / float(np.mean((np.abs(image) - target) ** 2))) for image in images]


def _phantom(size: int, seed: int, noise: float) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    anatomy = ANATOMIES[seed % len(ANATOMIES)]
    scan = phantom_acquisition(1, size, seed, n_coils=N_COILS, anatomy=anatomy, noise=0)
    kspace = np.array(scan.kspace[0])
    draw = np.random.default_rng(seed).standard_normal((2, *kspace.shape), np.float32)
    assert scan.target is not None
    return kspace + np.float32(noise) * (draw[0] + 1j * draw[1]), np.asarray(scan.target[0])


def _columns(size: int, lines: int, shift: int = 0) -> NDArray[np.bool_]:
    mask = np.zeros(size, bool)
    mask[size // 2 + shift - lines // 2 :][:lines] = True
    mask[1::4] = True
    return mask


def _best(
    estimate: Estimate, repetitions: int, kspace: NDArray[np.complex64], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.complex64], float]:
    try:
        return min((estimate(kspace, mask) for _ in range(repetitions)), key=lambda done: done[1])
    except (BartError, subprocess.CalledProcessError):
        return np.zeros_like(kspace), math.nan


def _clocked(call: Callable[[], NDArray[np.complex64]]) -> tuple[NDArray[np.complex64], float]:
    """Return the result and the time of the processor, in this process and in those that it waited for."""
    before = os.times()
    result = call()
    return result, sum(os.times()[:4]) - sum(before[:4])


def _sigpy(python: str, kspace: NDArray[np.complex64], mask: NDArray[np.bool_]) -> tuple[NDArray[np.complex64], float]:
    """Run SigPy in its own environment. Its square region is as wide as the calibration block."""
    width = min(24, *(block.stop - block.start for block in calibration_block(mask)))
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "kspace.npy"), Path(folder, "maps.npy")
        np.save(source, kspace)
        command = [python, "-c", SIGPY, str(source), str(width), str(target)]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment["OPENBLAS_NUM_THREADS"] = environment["OMP_NUM_THREADS"] = str(torch.get_num_threads())
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        return np.nan_to_num(np.load(target).astype(np.complex64)), float(done.stdout)


if __name__ == "__main__":
    main()
