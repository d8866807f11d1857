"""The table on the terminal: one block per mask setting, best method first, best value bold."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from csmri_ext.report.rows import Row
from csmri_ext.report.summary import Column, Group, Line, shown_columns, summarise

WIDE = 1000  # characters; no table is wider


def print_tables(rows: Sequence[Row], metric: str, console: Console) -> None:
    """Print mean (+- standard deviation over volumes, n - 1) of every method at every mask setting.

    Parameters
    ----------
    rows
        Finished rows of the comparison.
    metric
        Variant of the metrics in words; stands under the tables.
    console
        Where to print. A table is plain text where the console is no terminal.
    """
    groups = summarise(rows)
    for group in groups:
        console.print(_title(group), style="bold", highlight=False, soft_wrap=True)
        console.print(_fitting_table(group, console))
    if any(group.has_reference for group in groups):
        console.print(f"metrics: {metric}", markup=False, highlight=False)


def _title(group: Group) -> str:
    count = len(group.volumes)
    words = ["1 volume"] if count == 1 else [f"{count} volumes", "mean ± standard deviation over volumes"]
    if not group.has_reference:
        words.append("no fully sampled reference, so no image metric")
    return f"{group.setting.title} ({', '.join(words)})"


def _fitting_table(group: Group, console: Console) -> Table:
    """Leave columns out, the least telling first, until the table fits the console; the report has them all."""
    left_out = {"mse", "kspace_residual"} if group.has_reference else set()
    table = _table(group, left_out)
    for key in ("nmse", "flops", "parameters"):
        if console.measure(table, options=console.options.update(max_width=WIDE)).maximum <= console.width:
            break
        left_out = left_out | {key}
        table = _table(group, left_out)
    return table


def _table(group: Group, left_out: Set[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("method", no_wrap=True)
    columns = [column for column in shown_columns(group.rows) if column.key not in left_out]
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for line in sorted(group.lines, key=_order):
        remark = line.remark(group)
        name = escape(f"{line.method} ({remark})" if remark else line.method)
        table.add_row(name, *(_cell(line, column) for column in columns))
    return table


def _order(line: Line) -> tuple[bool, float]:
    """Best PSNR first, as far as it is shown, then what has none; equals stay in the order they ran."""
    mean = line.means.get("psnr")
    known = mean is not None and not math.isnan(mean.mean)
    return not known, -round(mean.mean, 2) if known and mean else 0.0


def _cell(line: Line, column: Column) -> str:
    value = line.means.get(column.key)
    if value is None:
        return "-"
    text = column.format(value.mean)
    if value.sd is not None and column.higher_is_better is not None:
        text += f" ± {column.format(value.sd)}"
    return f"[bold]{text}[/bold]" if column.key in line.best else text
