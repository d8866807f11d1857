"""How closely `csmri_ext.iterative.tv` agrees with ``bart pics``: ``python -m benchmarks.bart_agreement [FILES...]``.

Without FILES, phantoms of several sizes, masks and coils. Prints one row per problem and weight:

- relative difference ``||ours - bart|| / ||bart||``;
- the number of ADMM and of CG iterations of both;
- what BART's own image changes by when the phase of k-space is turned by 1 rad, an operation without meaning: no other
  program can be expected to agree better than that.
"""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.tv_problems import TvProblem, file_problems, phantom_problem
from csmri_ext.bridge import bart_version, pics

WEIGHTS = (0.001, 0.003, 0.01, 0.03, 0.1)
MASKS = ("equispaced_fraction", "radial_golden", "poisson")
ACCELERATIONS = (4.0, 8.0)
PHANTOMS = (((256, 256), 1), ((181, 230), 1), ((192, 192), 4), ((145, 130), 4))  # odd sizes too
HEADER = "| data | w | difference | BART itself | ADMM / CG, ours | ADMM / CG, BART |\n|---|---|---|---|---|---|"


class IterationLog(logging.Handler):
    """Collects what BART prints at debug level 4, and reads the iteration counts from it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = ""
        self.logger = logging.getLogger("csmri_ext.bridge.bart_program.run")
        self.logger.setLevel(logging.DEBUG)
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the last message."""
        self.text = record.getMessage()

    def counts(self) -> tuple[int, int]:
        """ADMM iterations and CG iterations in total."""
        totals = re.findall(r"^\s*\d+\s+(\d+)\t", self.text, re.MULTILINE)
        return len(totals), int(totals[-1])


def compare(problem: TvProblem, weight: float, log: IterationLog) -> tuple[str, float]:
    """One row of the table, and the relative difference."""

    def bart(kspace: NDArray[np.complex64]) -> NDArray[np.complex64]:
        term = f"T:3:0:{weight}"
        return pics(kspace, problem.sens_maps, regularization=term, pattern=problem.mask, debug_level=4).image

    reference = bart(problem.kspace)
    counts = log.counts()
    turn = np.complex64(np.exp(1j))
    spread = difference(bart(problem.kspace * turn) / turn, reference)
    ours = problem.solve(weight=weight)
    error = difference(ours.image, reference)
    own_counts = f"{len(ours.cg_iterations)} / {sum(ours.cg_iterations)}"
    row = f"| {problem.name} | {weight:g} | {error:.1e} | {spread:.1e} | {own_counts} | {counts[0]} / {counts[1]} |"
    return row, error


def difference(image: NDArray[np.complex64], reference: NDArray[np.complex64]) -> float:
    """``||image - reference|| / ||reference||``."""
    return float(np.linalg.norm(image - reference) / np.linalg.norm(reference))


def problems(files: list[str], masks: list[str], accelerations: list[float]) -> Iterator[TvProblem]:
    """Every problem, made when it is its turn."""
    if files:
        yield from file_problems(files, masks, accelerations)
        return
    for i, (size, n_coils) in enumerate(PHANTOMS):
        for j, mask in enumerate(masks):
            yield phantom_problem(size, n_coils, mask, accelerations[(i + j) % len(accelerations)], seed=i)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILES", help="slices or k-space to use instead of phantoms")
    parser.add_argument("--weight", nargs="+", type=float, default=WEIGHTS)
    parser.add_argument("--mask", nargs="+", default=MASKS)
    parser.add_argument("--acceleration", nargs="+", type=float, default=ACCELERATIONS)
    args = parser.parse_args()

    print(f"BART {bart_version()}, bart pics -S -i 200 -R T:3:0:w\n\n{HEADER}")
    log = IterationLog()
    errors: dict[float, list[float]] = {weight: [] for weight in args.weight}
    for problem in problems(args.files, list(args.mask), list(args.acceleration)):
        for weight in args.weight:
            row, error = compare(problem, weight, log)
            errors[weight].append(error)
            print(row, flush=True)
    print("\n| w | problems | median difference | largest |\n|---|---|---|---|")
    for weight, values in errors.items():
        print(f"| {weight:g} | {len(values)} | {np.median(values):.1e} | {max(values):.1e} |")


if __name__ == "__main__":
    main()
