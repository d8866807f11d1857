"""The regularization weight of an iterative method, chosen on validation slices: ``--tv-weight auto``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

DEFAULT_GRID = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)

ProblemT = TypeVar("ProblemT")


@dataclass(frozen=True)
class WeightSearch:
    """The weight that was chosen, and every number that it was chosen by.

    Attributes
    ----------
    weight
        The weight of least mean error.
    weights
        All weights tried, ascending: the grid, and what it was extended by.
    errors
        float64 ``(weights, problems)``, the metric of each weight on each validation problem; infinite where a
        reconstruction was not finite.
    metric
        Name of the metric.
    """

    weight: float
    weights: tuple[float, ...]
    errors: NDArray[np.float64]
    metric: str

    @property
    def at_edge(self) -> bool:
        """Whether the best weight is the smallest or largest one tried, so that a better one may lie beyond."""
        return self.weight in (self.weights[0], self.weights[-1])

    @property
    def table(self) -> list[dict[str, Any]]:
        """One row per weight, ready for json: ``weight``, mean error under the name of the metric, ``chosen``."""
        means = self.errors.mean(axis=1)
        return [
            {"weight": weight, self.metric: float(mean), "chosen": weight == self.weight}
            for weight, mean in zip(self.weights, means, strict=True)
        ]

    def weight_without(self, problem: int) -> float:
        """Weight of least mean error on all problems but one (leave one out), at no further cost.

        Lets every slice be reported although every slice was a validation slice of the others.

        Parameters
        ----------
        problem
            Index of the problem that must not take part in its own choice.

        Raises
        ------
        ValueError
            If there is no other problem.
        """
        others = np.delete(self.errors, problem, axis=1)
        if others.shape[1] == 0:
            raise ValueError("there is no second problem to choose the weight on")
        return self.weights[int(np.argmin(others.mean(axis=1)))]

    def __str__(self) -> str:
        edge = ", at the edge of the grid" if self.at_edge else ""
        number = self.errors.shape[1]
        problems = "1 validation problem" if number == 1 else f"{number} validation problems"
        return (
            f"weight {self.weight:g} (least mean {self.metric} of {problems}, "
            f"{len(self.weights)} weights from {self.weights[0]:g} to {self.weights[-1]:g}{edge})"
        )


def tune_weight(
    reconstruct: Callable[[ProblemT, float], NDArray[Any]],
    problems: Sequence[tuple[ProblemT, NDArray[Any]]],
    grid: Sequence[float] = DEFAULT_GRID,
    metric: Callable[[NDArray[Any], NDArray[Any]], float] | None = None,
    *,
    extensions: int = 4,
    progress: Callable[[], object] | None = None,
) -> WeightSearch:
    r"""Choose the weight with the least mean error on validation problems.

    ``argmin_w mean_p metric(target_p, |reconstruct(problem_p, w)|)`` over `grid`. While the best weight is the first or
    the last one, the grid grows by one more weight on that side, in the ratio of its two outermost.

    Parameters
    ----------
    reconstruct
        ``reconstruct(problem, weight)`` returns an image of the shape of the target, complex or magnitude.
    problems
        Pairs of whatever `reconstruct` takes, and the magnitude image that it should return. They should not be among
        the slices that are reported: hold some aside, or use other seeds of a simulated phantom.
    grid
        At least one positive weight, in any order.
    metric
        ``metric(target, magnitude)``, smaller is better. Default: `csmri_ext.metrics.nmse`.
    extensions
        At most so many weights are added to the grid.
    progress
        Called without arguments after each reconstruction: ``len(grid) * len(problems)`` times, and once per problem
        for each extension.

    Returns
    -------
        The chosen weight and the table.

    Raises
    ------
    ValueError
        No problems, an empty grid, a weight that is not positive, or no finite reconstruction at all.
    """
    weights = sorted({float(weight) for weight in grid})
    if not weights or not 0 < weights[0] <= weights[-1] < math.inf:
        raise ValueError(f"the grid must hold positive weights, got {list(grid)}")
    if not problems:
        raise ValueError("no validation problems to tune the weight on")
    score = metric or _nmse()

    def errors_of(weight: float) -> NDArray[np.float64]:
        values = []
        for problem, target in problems:
            recon = np.abs(reconstruct(problem, weight))
            if recon.shape != target.shape:
                raise ValueError(f"reconstruction of shape {recon.shape} does not fit its target {target.shape}")
            values.append(float(score(target, recon)) if np.isfinite(recon).all() else math.inf)
            if progress is not None:
                progress()
        return np.array(values)

    errors = {weight: errors_of(weight) for weight in weights}
    for _ in range(extensions if len(weights) > 1 else 0):
        best = _best(errors)
        if best == weights[0]:
            weights.insert(0, _rounded(weights[0] * weights[0] / weights[1]))
            errors[weights[0]] = errors_of(weights[0])
        elif best == weights[-1]:
            weights.append(_rounded(weights[-1] * weights[-1] / weights[-2]))
            errors[weights[-1]] = errors_of(weights[-1])
        else:
            break
    best = _best(errors)
    if not math.isfinite(errors[best].mean()):
        raise ValueError(f"no weight from {weights[0]:g} to {weights[-1]:g} gave a finite image on every problem")
    table = np.stack([errors[weight] for weight in weights])
    return WeightSearch(best, tuple(weights), table, getattr(score, "__name__", "error"))


def _nmse() -> Callable[[NDArray[Any], NDArray[Any]], float]:
    from csmri_ext import metrics

    return metrics.nmse


def _rounded(weight: float) -> float:
    return float(f"{weight:.6g}")


def _best(errors: dict[float, NDArray[np.float64]]) -> float:
    return min(errors, key=lambda weight: float(errors[weight].mean()))
