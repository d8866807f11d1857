"""From rows to the table of a report: means over volumes, the best of each setting, and one sentence that says it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from csmri_ext.report.rows import Comparison, Row

# Differences below these count as level: what rounding and another machine's FFT can change, and no reader can see.
LEVEL = {"psnr": 0.05, "ssim": 0.001}


@dataclass(frozen=True)
class Column:
    """One numeric column: where its value comes from and how it is written."""

    key: str
    heading: str
    value: Callable[[Row], float | None]
    format: Callable[[float], str]
    higher_is_better: bool | None = None  # None: neither direction means a better image; no best, no deviation shown
    note: str = ""


@dataclass(frozen=True)
class Setting:
    """One way of sampling: the mask's name and its nominal acceleration (None when the scanner chose it)."""

    mask: str
    acceleration: float | None

    @property
    def title(self) -> str:
        """For example ``equispaced_fraction, R = 4``."""
        return self.mask if self.acceleration is None else f"{self.mask}, R = {self.acceleration:g}"


@dataclass(frozen=True)
class Mean:
    """Mean of a quantity over volumes; ``sd`` (n - 1) is None for a single volume."""

    mean: float
    sd: float | None


@dataclass
class Line:
    """One method at one setting, averaged over its volumes."""

    method: str
    volumes: list[str]
    complete: bool  # False when another method of this setting has volumes that this one lacks
    means: dict[str, Mean]
    trained: bool = True  # False for a network with random weights
    best: set[str] = field(default_factory=set)

    def remark(self, group: Group) -> str:
        """Say what stands behind the name of the method: ``untrained``, ``2 of 3 volumes``; usually nothing."""
        volumes = "" if self.complete else f"{len(self.volumes)} of {len(group.volumes)} volumes"
        return ", ".join(filter(None, ["" if self.trained else "untrained", volumes]))


@dataclass
class Group:
    """All methods at one setting. Volumes with and without a reference never share a group."""

    setting: Setting
    has_reference: bool
    lines: list[Line]
    rows: list[Row]
    volumes: list[str]


def three_digits(value: float) -> str:
    """Write three significant digits, trailing zeros kept: ``0.0099 -> '0.00990'``."""
    return f"{value:#.3g}" if abs(value) < 99.95 else f"{value:.3g}"


def si(value: float) -> str:
    """Write a count with three digits and an SI prefix: ``1234567 -> '1.23 M'``."""
    for power, prefix in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if abs(value) >= 0.9995 * 10**power:
            return f"{value / 10**power:.3g} {prefix}"
    return f"{value:.3g}"


COLUMNS = (
    Column("psnr", "PSNR (dB)", lambda row: row.psnr, "{:.2f}".format, True),
    Column("ssim", "SSIM", lambda row: row.ssim, "{:.4f}".format, True),
    Column("nmse", "NMSE", lambda row: row.nmse, three_digits, False),
    Column("mse", "MSE", lambda row: row.mse, three_digits, False),
    Column(
        "kspace_residual",
        "k-space residual",
        lambda row: row.kspace_residual,
        three_digits,
        note="‖M F S x − y‖ / ‖y‖, agreement with the samples; small is not the same as a good image",
    ),
    Column("seconds", "s / slice", lambda row: row.seconds / max(row.slices, 1), three_digits, note="wall time"),
    Column("parameters", "Parameters", lambda row: row.parameters or None, si, note="learned ones"),
    Column("flops", "FLOPs / slice", lambda row: row.flops, si, note="not defined for iterative methods"),
)


def summarise(rows: Iterable[Row]) -> list[Group]:
    """Average the rows over volumes, setting by setting, in order of first appearance.

    Parameters
    ----------
    rows
        Rows of any number of methods, volumes and settings.

    Returns
    -------
        One `Group` per setting. ``Line.best`` names the columns in which a line has its group's best mean at the
        precision that the table shows; a method that lacks some of the group's volumes is never marked.
    """
    groups: dict[tuple[Setting, bool], list[Row]] = {}
    for row in rows:
        groups.setdefault((Setting(row.mask, row.acceleration), row.psnr is not None), []).append(row)
    return [_group(setting, has_reference, members) for (setting, has_reference), members in groups.items()]


def shown_columns(rows: Iterable[Row]) -> list[Column]:
    """Columns for which at least one row has a value: without a reference there are no metric columns."""
    rows = list(rows)
    return [column for column in COLUMNS if any(column.value(row) is not None for row in rows)]


def _group(setting: Setting, has_reference: bool, rows: list[Row]) -> Group:
    volumes = list(dict.fromkeys(row.volume for row in rows))
    lines = []
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        means = {}
        for column in COLUMNS:
            values = [value for value in map(column.value, own) if value is not None]
            if values:
                means[column.key] = _mean(values)
        own_volumes = list(dict.fromkeys(row.volume for row in own))
        trained = all(row.details.get("trained", True) for row in own)
        lines.append(Line(method, own_volumes, len(own_volumes) == len(volumes), means, trained))
    if len(lines) > 1:
        for column in COLUMNS:
            _mark_best(lines, column)
    return Group(setting, has_reference, lines, rows, volumes)


def _mean(values: list[float]) -> Mean:
    with np.errstate(invalid="ignore"):  # inf - inf
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Mean(float(np.mean(values)), sd)


def _mark_best(lines: list[Line], column: Column) -> None:
    if column.higher_is_better is None:
        return
    ranked = [line for line in lines if line.complete and not math.isnan(_value(line, column.key))]
    if not ranked:
        return
    best = (max if column.higher_is_better else min)(_value(line, column.key) for line in ranked)
    for line in ranked:
        if column.format(_value(line, column.key)) == column.format(best):
            line.best.add(column.key)


def _value(line: Line, key: str) -> float:
    return line.means[key].mean if key in line.means else math.nan


def sampled_fraction(comparison: Comparison, setting: Setting) -> float | None:
    """Mean fraction of k-space that the masks of a setting acquire; None when nothing recorded it."""
    fractions = [
        float(panel.sampling.mean())
        for panel in comparison.panels
        if Setting(panel.mask, panel.acceleration) == setting and panel.sampling.size
    ]
    if not fractions:
        fractions = [
            float(entry["sampled"])
            for entry in comparison.provenance.get("masks") or []
            if Setting(entry.get("kind", ""), entry.get("acceleration")) == setting and entry.get("sampled") is not None
        ]
    return float(np.mean(fractions)) if fractions else None


def sampling_words(fraction: float | None) -> str:
    """For example ``effective acceleration 3.93, 25.4 % of k-space sampled``; empty when unknown."""
    if not fraction:
        return ""
    return f"effective acceleration {1 / fraction:.2f}, {100 * fraction:.1f} % of k-space sampled"
