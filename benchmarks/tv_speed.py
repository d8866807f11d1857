"""Our TV against ``bart pics -S -i 200 -R T:3:0:0.01``, on one core: ``python -m benchmarks.tv_speed``.

Slices of the phantom, or the middle slice of each file that is named, at ``equispaced_fraction`` 4x or its own mask.
Both get arrays in memory and return one; BART's side includes its files (on a memory disk) and its process. Rounds
alternate. CPU time is of this process and its children; on a busy machine it is the number to look at.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.tv_problems import TvProblem, file_problems, phantom_problem
from csmri_ext.bridge import bart_version, pics

CASES = (
    ((256, 256), 1, "equispaced_fraction", 4.0),
    ((320, 320), 1, "equispaced_fraction", 4.0),
    ((320, 320), 1, "radial_golden", 4.0),
    ((640, 368), 1, "equispaced_fraction", 4.0),
    ((320, 320), 8, "equispaced_fraction", 4.0),
    ((320, 320), 8, "poisson", 8.0),
)


@dataclass
class Elapsed:
    """Seconds of one call: on the clock, and of processors."""

    wall: float
    cpu: float
    image: Any


def timed(call: Callable[[], Any]) -> Elapsed:
    """Run `call` once."""
    before, start = os.times(), time.perf_counter()
    image = call()
    wall, after = time.perf_counter() - start, os.times()
    return Elapsed(wall, sum(after[:4]) - sum(before[:4]), image)


def measure(problem: TvProblem, rounds: int) -> str:
    """One row of the table."""
    options: dict[str, Any] = {"regularization": "T:3:0:0.01", "pattern": problem.mask, "processes": 1}
    ways = [lambda: problem.solve().image, lambda: pics(problem.kspace, problem.sens_maps, **options).image]
    times: list[list[Elapsed]] = [[], []]
    for turn in range(rounds + 1):
        for way in (0, 1) if turn % 2 else (1, 0):
            elapsed = timed(ways[way])
            if turn:  # the first round warms up
                times[way].append(elapsed)
    ours, bart = times
    image, reference = ours[0].image, bart[0].image
    difference = np.linalg.norm(image - reference) / np.linalg.norm(reference)
    wall = [statistics.median(t.wall for t in side) for side in times]
    cpu = [statistics.median(t.cpu for t in side) for side in times]
    ratios = [
        statistics.median(getattr(b, clock) / getattr(o, clock) for o, b in zip(ours, bart, strict=True))
        for clock in ("wall", "cpu")
    ]
    return (
        f"| {problem.name} | {wall[0]:.2f} | {wall[1]:.2f} | {ratios[0]:.1f} "
        f"| {cpu[0]:.2f} | {cpu[1]:.2f} | {ratios[1]:.1f} | {difference:.1e} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILES", help="slices or k-space to use instead of phantoms")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core for both, BLAS threads included
    print(f"BART {bart_version()}; median of {args.rounds} rounds, seconds for one slice, one core\n")
    print("| data | ours, wall | BART, wall | BART / ours | ours, CPU | BART, CPU | BART / ours | difference |")
    print("|---|---|---|---|---|---|---|---|")
    phantoms = (phantom_problem(size, n_coils, mask, acceleration) for size, n_coils, mask, acceleration in CASES)
    for problem in file_problems(args.files, ["equispaced_fraction"], [4.0]) if args.files else phantoms:
        print(measure(problem, args.rounds), flush=True)


if __name__ == "__main__":
    main()
