"""What the differences between methods are worth: paired over volumes, with an interval and a test."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.first_few import first_few
from csmri_ext.report.summary import Group, Line, Setting, count

FEWEST_VOLUMES = 6  # the exact two-sided signed-rank test of five cannot give p < 0.05, whatever the differences
LEVEL_OF_SIGNIFICANCE = 0.05
RESAMPLES = 9999
METRICS = ("psnr", "ssim")
HOW = (
    "Paired differences to the best baseline (the method of highest mean PSNR without learned parameters; else the "
    "best method), over volumes. Interval: 95 %, bootstrap over volumes (BCa, 9999 resamples). p: Wilcoxon signed-rank "
    "test, two-sided, corrected after Holm for all comparisons of one metric. Volumes count as independent subjects."
)


@dataclass(frozen=True)
class Difference:
    """One method against the baseline at one setting, in one metric.

    Attributes
    ----------
    mask, acceleration, method, baseline, metric
        What is compared.
    volumes
        n, how many volumes both have.
    mean
        Mean over volumes of the score of `method` less that of `baseline`.
    lowest, highest
        Of the differences.
    interval
        95 % bootstrap confidence interval of the mean; None below `FEWEST_VOLUMES`.
    p, p_holm
        Of the signed-rank test, without and with Holm's correction; None below `FEWEST_VOLUMES`.
    spread
        Standard deviation (n - 1) of the scores of `method` between volumes; None for one.
    """

    mask: str
    acceleration: float | None
    method: str
    baseline: str
    metric: str
    volumes: int
    mean: float
    lowest: float
    highest: float
    interval: tuple[float, float] | None
    p: float | None
    p_holm: float | None
    spread: float | None

    @property
    def setting(self) -> Setting:
        """The mask setting."""
        return Setting(self.mask, self.acceleration)

    @property
    def conclusive(self) -> bool:
        """Whether it can hardly be chance."""
        return self.p_holm is not None and self.p_holm < LEVEL_OF_SIGNIFICANCE

    def short(self) -> str:
        """For a cell: ``+1.70 [1.10, 2.30]``; below `FEWEST_VOLUMES` the mean alone."""
        text = _signed(self.metric, self.mean)
        if self.interval is None:
            return text
        low, high = (_signed(self.metric, value) for value in self.interval)
        return f"{text} [{low}, {high}]"

    def p_words(self) -> str:
        """``p = 0.031``, ``p < 0.001``; empty where there is no test."""
        if self.p_holm is None:
            return ""
        return "p < 0.001" if self.p_holm < 0.001 else f"p = {self.p_holm:.2g}"

    def words(self) -> str:
        """For text: ``+1.70 dB [+1.10, +2.30], p = 0.031, n = 12; spread between subjects 4.40 dB``."""
        unit = " dB" if self.metric == "psnr" else ""
        mean, *rest = self.short().split(" ", 1)
        parts = [f"{mean}{unit}" + (f" {rest[0]}" if rest else ""), self.p_words(), f"n = {self.volumes}"]
        text = ", ".join(filter(None, parts))
        if self.spread is None:
            return text
        spread = f"{self.spread:.2f} dB" if self.metric == "psnr" else f"{self.spread:.3f}"
        return f"{text}; spread between subjects {spread}"


def paired_differences(groups: Sequence[Group]) -> list[Difference]:
    """Compare every method with the best baseline of its setting, on the volumes that both groups' methods share.

    Parameters
    ----------
    groups
        From `summary.summarise`; those without a reference, and methods that are not ranked, take no part.

    Returns
    -------
        In the order of groups, methods and `METRICS`, p-values corrected over all of one metric.
    """
    found = []
    for group in groups:
        lines = [line for line in group.lines if group.has_reference and line.ranked and _is_known(line)]
        baseline = best_baseline(group, lines)
        if baseline is None:
            continue
        for line in lines:
            if line is not baseline:
                found += [_difference(group, line, baseline, metric) for metric in METRICS]
    return _corrected(found)


def best_baseline(group: Group, lines: Sequence[Line]) -> Line | None:
    """Return the line of highest mean PSNR that learns nothing, or of all where every method learns; None below two."""
    if len(lines) < 2:
        return None
    learned = {row.method for row in group.rows if row.parameters}
    classical = [line for line in lines if line.method not in learned]
    return max(classical or lines, key=lambda line: line.means["psnr"].mean)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number after Holm (1979): ``max_{j <= i} min(1, (m - j) p_(j))``, j from 0."""
    order = np.argsort(p_values, kind="stable")
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def conclusion(groups: Sequence[Group], differences: Sequence[Difference]) -> str:
    """Say in a sentence or two what may be concluded about other subjects; empty where nothing is compared."""
    in_psnr = [difference for difference in differences if difference.metric == "psnr"]
    if not in_psnr:
        return ""
    fewest = min(difference.volumes for difference in in_psnr)
    if max(difference.volumes for difference in in_psnr) < FEWEST_VOLUMES:
        return (
            f"With {count(fewest, 'volume')} nothing can be concluded about other subjects: "
            f"a test needs {FEWEST_VOLUMES} at least."
        )
    smallest = _smallest_p(in_psnr)
    parts: list[str] = []
    for group in groups:
        own = [difference for difference in in_psnr if difference.setting == group.setting]
        best = max(own, key=lambda difference: difference.mean, default=None)
        if best is None:
            continue
        if best.volumes < FEWEST_VOLUMES:
            doubt = " (too few volumes to conclude anything)"
        elif not best.conclusive and smallest[best] >= LEVEL_OF_SIGNIFICANCE:
            doubt = f" (too few volumes for {len(smallest)} comparisons: p cannot be below {smallest[best]:.2g})"
        else:
            doubt = "" if best.conclusive else " (may be chance)"
        where = f"{best.method} against {best.baseline} at {group.setting.title}"
        if best.mean <= 0:
            first = "Nothing" if parts else "nothing"  # of a sentence, or after a colon
            where = f"{first} is above {best.baseline} at {group.setting.title}, the nearest is {best.method}"
        parts.append(f"{where}: {best.words()}{doubt}")
    return "PSNR, paired: " + ". ".join(first_few(parts, 4, "{} more settings in the table")) + "."


def as_provenance(groups: Sequence[Group], differences: Sequence[Difference]) -> dict[str, Any]:
    """Entry of the provenance: how, the conclusion, every difference, and the scores per slice of every method."""
    return {
        "how": HOW,
        "conclusion": conclusion(groups, differences),
        "differences": [asdict(difference) for difference in differences],
        "slices": [entry for group in groups if group.has_reference for entry in _per_slice(group)],
    }


def _is_known(line: Line) -> bool:
    return all(metric in line.means and not math.isnan(line.means[metric].mean) for metric in METRICS)


def _difference(group: Group, line: Line, baseline: Line, metric: str) -> Difference:
    scores = {(row.method, row.volume): getattr(row, metric) for row in group.rows}
    ours, theirs = (
        np.array([scores[method, volume] for volume in group.common], dtype=np.float64)
        for method in (line.method, baseline.method)
    )
    with np.errstate(invalid="ignore"):
        differences = np.where(ours == theirs, 0.0, ours - theirs)  # also where both are infinite
    enough = len(differences) >= FEWEST_VOLUMES and bool(np.isfinite(differences).all())
    p = _signed_rank(differences) if enough else None
    return Difference(
        mask=group.setting.mask,
        acceleration=group.setting.acceleration,
        method=line.method,
        baseline=baseline.method,
        metric=metric,
        volumes=len(differences),
        mean=float(differences.mean()),
        lowest=float(differences.min()),
        highest=float(differences.max()),
        interval=_interval(differences) if enough else None,
        p=p,
        p_holm=p,
        spread=line.means[metric].sd,
    )


def _signed_rank(differences: NDArray[np.float64]) -> float:
    """Two-sided p-value; methods that are equal everywhere do not differ."""
    if not differences.any():
        return 1.0
    from scipy.stats import wilcoxon

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ties among few volumes: the test falls back to the normal approximation
        return float(wilcoxon(differences, zero_method="pratt").pvalue)


def _interval(differences: NDArray[np.float64]) -> tuple[float, float]:
    from scipy.stats import bootstrap

    if np.ptp(differences) == 0:
        return float(differences[0]), float(differences[0])
    for method in ("BCa", "percentile"):  # BCa has no answer where leaving one out changes nothing
        # A generator of its own with a fixed seed: the same rows give the same interval.
        random = np.random.default_rng(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = bootstrap((differences,), np.mean, n_resamples=RESAMPLES, method=method, random_state=random)
        low, high = (float(value) for value in result.confidence_interval)
        if math.isfinite(low) and math.isfinite(high):
            break
    return low, high


def _smallest_p(differences: Sequence[Difference]) -> dict[Difference, float]:
    """Corrected p-value of each tested difference of one metric, were all signs equal: no data give a smaller one."""
    tested = [difference for difference in differences if difference.p is not None]
    return dict(zip(tested, holm([2.0 ** (1 - difference.volumes) for difference in tested]), strict=True))


def _corrected(differences: Sequence[Difference]) -> list[Difference]:
    values = list(differences)
    for metric in METRICS:
        tested = [i for i, difference in enumerate(values) if difference.metric == metric and difference.p is not None]
        corrected = holm([values[i].p or 0.0 for i in tested])
        for i, p in zip(tested, corrected, strict=True):
            values[i] = Difference(**{**asdict(values[i]), "p_holm": p})
    return values


def _per_slice(group: Group) -> list[dict[str, Any]]:
    entries = []
    for line in group.lines:
        for metric in METRICS:
            rows = [row for row in group.rows if row.method == line.method]
            scores = np.array([value for row in rows for value in getattr(row, f"slice_{metric}")], dtype=np.float64)
            if scores.size == 0:
                continue
            with np.errstate(invalid="ignore"):
                quartiles = [float(value) for value in np.percentile(scores, (25, 50, 75))]
                mean, sd = float(scores.mean()), float(scores.std(ddof=1)) if scores.size > 1 else None
            entries.append(
                {
                    "mask": group.setting.mask,
                    "acceleration": group.setting.acceleration,
                    "method": line.method,
                    "metric": metric,
                    "slices": int(scores.size),
                    "mean": mean,
                    "sd": sd,
                    "quartiles": quartiles,
                }
            )
    return entries


def _signed(metric: str, value: float) -> str:
    return (f"{value:+.2f}" if metric == "psnr" else f"{value:+.4f}").replace("-", "−")
