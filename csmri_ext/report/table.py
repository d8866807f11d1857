"""The table on the terminal: one block per mask setting, best method first, best value bold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from csmri_ext.report.completeness import completeness
from csmri_ext.report.rows import Row
from csmri_ext.report.seeds import over_seeds
from csmri_ext.report.statistics import Difference, conclusion, paired_differences
from csmri_ext.report.summary import Column, Group, Line, best_first, shown_columns, summarise

WIDE = 1000  # characters; no table is wider
_DIFFERENCE, _MAPS = "difference", "sens_maps"  # columns that are no mean


def print_tables(
    rows: Sequence[Row], metric: str, console: Console, provenance: Mapping[str, Any] | None = None
) -> None:
    """Print mean (+- standard deviation over volumes, n - 1) of every method at every mask setting.

    Parameters
    ----------
    rows
        Finished rows of the comparison.
    metric
        Variant of the metrics in words; stands under the tables.
    console
        Where to print. A table is plain text where the console is no terminal.
    provenance
        Of the comparison: what was planned, what stopped it, what failed.
    """
    provenance = provenance or {}
    headline = completeness(rows, provenance).headline()
    if headline:
        console.print(headline, style="bold", markup=False, highlight=False, soft_wrap=True)
    groups = summarise(rows, provenance.get("planned", ()))
    differences = paired_differences(groups)
    for group in groups:
        console.print(_title(group), style="bold", markup=False, highlight=False, soft_wrap=True)
        own = {one.method: one for one in differences if one.metric == "psnr" and one.setting == group.setting}
        console.print(_fitting_table(group, own if group.has_reference else {}, console))
    if any(group.has_reference for group in groups):
        console.print(f"metrics: {metric}", markup=False, highlight=False)
    said = conclusion(groups, differences)
    if said:
        console.print(said, markup=False, highlight=False)
    for one in over_seeds(groups, provenance.get("networks") or ()):
        console.print(one.words(), markup=False, highlight=False, soft_wrap=True)
    for failure in provenance.get("failed", ()):
        console.print(f"failed: {failure['what']}: {failure['why']}", markup=False, highlight=False, soft_wrap=True)


def _title(group: Group) -> str:
    count = len(group.volumes)
    words = ["1 volume"] if count == 1 else [f"{count} volumes", "mean ± standard deviation over volumes"]
    if not group.has_reference:
        words.append("no fully sampled reference, so no image metric")
    return f"{group.setting.title} ({', '.join(words)})" + (f": {group.words()}" if group.partial else "")


def _fitting_table(group: Group, differences: Mapping[str, Difference], console: Console) -> Table:
    """Leave columns out, the least telling first, until the table fits the console; the report has them all."""
    left_out = {"mse", "kspace_residual"} if group.has_reference else set()
    table = _table(group, differences, left_out)
    for key in ("nmse", "flops", _DIFFERENCE, "parameters", "seconds", _MAPS):
        if console.measure(table, options=console.options.update(max_width=WIDE)).maximum <= console.width:
            break
        left_out = left_out | {key}
        table = _table(group, differences, left_out)
    return table


def _table(group: Group, differences: Mapping[str, Difference], left_out: Set[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("method", no_wrap=True)
    columns = [column for column in shown_columns(group.rows) if column.key not in left_out]
    for column in columns:
        table.add_column(f"{column.heading} {column.mark}".strip(), justify="right", no_wrap=True)
    shown = bool(differences) and _DIFFERENCE not in left_out
    if shown:
        baseline = next(iter(differences.values())).baseline
        table.add_column(f"PSNR − {escape(baseline)} (dB)", justify="right", no_wrap=True)
    maps = _MAPS not in left_out and any(line.sens_maps for line in group.lines)
    if maps:
        table.add_column("coil maps", no_wrap=True)
    for line in best_first(group.lines):
        remark = line.remark(group)
        cells = [escape(f"{line.method} ({remark})" if remark else line.method)]
        cells += [_cell(line, column) for column in columns]
        if shown:
            cells.append(escape(_difference_cell(differences.get(line.method))))
        if maps:
            cells.append(escape(line.sens_maps))
        table.add_row(*cells)
    return table


def _difference_cell(difference: Difference | None) -> str:
    """``+1.70 [1.10, 2.30], p = 0.03``; a dash for the baseline itself."""
    if difference is None:
        return "-"
    return ", ".join(filter(None, [difference.short(), difference.p_words()]))


def _cell(line: Line, column: Column) -> str:
    value = line.means.get(column.key)
    if value is None:
        return "-"
    text = "NaN" if math.isnan(value.mean) else column.format(value.mean)
    if value.sd is not None and column.higher_is_better is not None:
        text += f" ± {column.format(value.sd)}"
    return f"[bold]{text}[/bold]" if column.key in line.best else text
