"""From rows to the table of a report: means over volumes, the best of each setting, and one sentence that says it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

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

    @property
    def mark(self) -> str:
        """An arrow: up where more is better, down where less is, nothing elsewhere."""
        return {True: "↑", False: "↓", None: ""}[self.higher_is_better]


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
    """One method at one setting, averaged over the volumes that its group is ranked on."""

    method: str
    volumes: list[str]
    complete: bool  # False when it lacks volumes that another method of this setting has, or that are planned
    means: dict[str, Mean]
    trained: bool = True  # False for a network with random weights
    best: set[str] = field(default_factory=set)
    ranked: bool = True  # False when it has no volume in common with the others: its means are over its own volumes
    sens_maps: str = ""  # where coil sensitivities come from, in short; empty for one coil

    def remark(self, group: Group) -> str:
        """Say what stands behind the name of the method: ``untrained``, ``2 of 3 volumes``; usually nothing."""
        volumes = "" if self.complete else f"{len(self.volumes)} of {len(group.volumes)} volumes"
        alone = "" if self.ranked else "not ranked"
        return ", ".join(filter(None, ["" if self.trained else "untrained", volumes, alone]))


@dataclass
class Group:
    """All methods at one setting. Volumes with and without a reference never share a group."""

    setting: Setting
    has_reference: bool
    lines: list[Line]
    rows: list[Row]
    volumes: list[str]  # that any method has, or that are planned
    common: list[str]  # that all ranked methods have: means and ranks are over these
    absent: list[str] = field(default_factory=list)  # methods that are planned and have no row yet

    @property
    def partial(self) -> bool:
        """Whether rows are missing, so that the table may still change."""
        return bool(self.absent) or not all(line.complete for line in self.lines)

    def words(self) -> str:
        """Say on what the means are, where that is not everything; for headings."""
        if not self.partial:
            return ""
        parts = []
        if len(self.common) < len(self.volumes):
            parts.append(f"means over the {len(self.common)} of {count(len(self.volumes), 'volume')} that all have")
        if self.absent:
            parts.append(f"nothing yet of {', '.join(self.absent)}")
        return "; ".join(["partial", *parts])


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


def summarise(rows: Iterable[Row], planned: Iterable[Mapping[str, Any]] = ()) -> list[Group]:
    """Average the rows over volumes, setting by setting, in order of first appearance.

    Methods are compared on the volumes that all of them have. One that shares none with the others is left out of the
    ranking, the one with the fewest volumes first.

    Parameters
    ----------
    rows
        Rows of any number of methods, volumes and settings.
    planned
        What the command was to make: ``method, mask, acceleration`` and its ``volumes``.

    Returns
    -------
        One `Group` per setting. ``Line.best`` names the columns in which a line has its group's best mean at the
        precision that the table shows.
    """
    groups: dict[tuple[Setting, bool], list[Row]] = {}
    for row in rows:
        groups.setdefault((Setting(row.mask, row.acceleration), row.psnr is not None), []).append(row)
    planned = list(planned)
    found = []
    for (setting, has_reference), members in groups.items():
        own = [entry for entry in planned if Setting(entry["mask"], entry["acceleration"]) == setting]
        if (setting, not has_reference) in groups:  # whether a missing volume has a reference is not known
            own = []
        volumes: dict[str, list[str]] = {}
        for entry in own:
            volumes.setdefault(entry["method"], []).extend(entry["volumes"])
        found.append(_group(setting, has_reference, members, volumes))
    return found


def best_first(lines: Iterable[Line]) -> list[Line]:
    """Sort by PSNR as far as it is shown, then what has none; equals stay in the order they ran."""

    def order(line: Line) -> tuple[bool, bool, float]:
        mean = _value(line, "psnr")
        return not line.ranked, math.isnan(mean), 0.0 if math.isnan(mean) else -round(mean, 2)

    return sorted(lines, key=order)


def shown_columns(rows: Iterable[Row]) -> list[Column]:
    """Columns for which at least one row has a value: without a reference there are no metric columns."""
    rows = list(rows)
    return [column for column in COLUMNS if any(column.value(row) is not None for row in rows)]


def _group(setting: Setting, has_reference: bool, rows: list[Row], planned: Mapping[str, list[str]]) -> Group:
    volumes = list(
        dict.fromkeys([*(row.volume for row in rows), *(name for names in planned.values() for name in names)])
    )
    own: dict[str, list[Row]] = {}
    for row in rows:
        own.setdefault(row.method, []).append(row)
    common, ranked = _in_common({method: [row.volume for row in members] for method, members in own.items()})
    lines = []
    for method, members in own.items():
        line_volumes = list(dict.fromkeys(row.volume for row in members))
        counted = [row for row in members if method not in ranked or row.volume in common]
        means = {}
        for column in COLUMNS:
            values = [value for value in map(column.value, counted) if value is not None]
            if values:
                means[column.key] = _mean(values)
        lines.append(
            Line(
                method,
                line_volumes,
                len(line_volumes) == len(volumes),
                means,
                trained=all(row.details.get("trained", True) for row in members),
                ranked=method in ranked,
                sens_maps=_sens_maps(members),
            )
        )
    if len(lines) > 1:
        for column in COLUMNS:
            _mark_best(lines, column)
    absent = [method for method in planned if method not in own]
    return Group(setting, has_reference, lines, rows, volumes, [name for name in volumes if name in common], absent)


def _in_common(volumes: Mapping[str, list[str]]) -> tuple[set[str], set[str]]:
    """Volumes that all methods have, and those methods: the fewest are left out that leave a volume in common."""
    ranked = list(volumes)
    while True:
        common = set.intersection(*(set(volumes[method]) for method in ranked))
        if common or len(ranked) == 1:
            return common, set(ranked)
        fewest = min(len(volumes[method]) for method in ranked)
        ranked.remove([method for method in ranked if len(volumes[method]) == fewest][-1])


_SENS_MAPS = (  # a word of the source, and what the table says
    ("ecalib -m 1 -r 24 -c 0", "ESPIRiT (bart ecalib), uncropped"),
    ("ecalib", "ESPIRiT (bart ecalib)"),
    ("file", "from file"),
    ("not cropped in air", "ESPIRiT (own), uncropped"),
    ("espirit estimate", "ESPIRiT (own)"),
    ("estimate", "own estimate"),
)


def _sens_maps(rows: Iterable[Row]) -> str:
    """Name the sources of the coil sensitivities in short; several are listed."""
    found = [row.details for row in rows if row.details.get("sens_maps")]
    sources = [(str(details["sens_maps"]), ", partly 0" if details.get("sens_maps_zero") else "") for details in found]
    short = [
        next((text for word, text in _SENS_MAPS if word in source.lower()), source) + zero for source, zero in sources
    ]
    return ", ".join(dict.fromkeys(short))


def count(number: int, noun: str) -> str:
    """``1 volume``, ``2 volumes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _mean(values: list[float]) -> Mean:
    with np.errstate(invalid="ignore"):  # inf - inf
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Mean(float(np.mean(values)), sd)


def _mark_best(lines: list[Line], column: Column) -> None:
    if column.higher_is_better is None:
        return
    ranked = [line for line in lines if line.ranked and not math.isnan(_value(line, column.key))]
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
