"""The results table of the page, and the same table as LaTeX and CSV."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from csmri_ext.report.rows import Comparison
from csmri_ext.report.rows_as_csv import as_csv
from csmri_ext.report.statistics import Difference
from csmri_ext.report.summary import (
    Column,
    Group,
    Line,
    best_first,
    sampled_fraction,
    sampling_words,
    shown_columns,
)

_TO_BASELINE, _COIL_MAPS = "PSNR to baseline", "Coil maps"
_EMPTY = {"text": "–", "sd": "", "note": "", "sort": "", "best": False}
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "–": "--",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "<": "$<$",  # which is another character in LaTeX's default encoding of text
    ">": "$>$",
    "[": "{[}",  # after the end of a line it would be an argument, like the star
    "*": "{*}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def table_context(comparison: Comparison, groups: Sequence[Group], differences: Sequence[Difference]) -> dict[str, Any]:
    """Gather the table for the template: its columns, and one block per setting with the best method first.

    Returns
    -------
        ``columns``: heading, mark (up or down), note, whether a click sorts the largest first, whether it holds text.
        ``groups``: title, words, and lines with one cell per column.
    """
    numbers = shown_columns(comparison.rows)
    compared = any(difference.metric == "psnr" for difference in differences)
    with_maps = any(line.sens_maps for group in groups for line in group.lines)
    columns = [
        {
            "heading": column.heading,
            "mark": {"↑": "up", "↓": "down"}.get(column.mark, ""),
            "note": column.note,
            "descending": bool(column.higher_is_better),
            "text": False,
        }
        for column in numbers
    ]
    if compared:
        columns.append({"heading": _TO_BASELINE, "mark": "", "note": "", "descending": True, "text": False})
    if with_maps:
        columns.append({"heading": _COIL_MAPS, "mark": "", "note": "", "descending": False, "text": True})
    blocks = []
    for group in groups:
        own = _in_psnr(group, differences)
        lines = []
        for line in best_first(group.lines):
            cells = [_cell(line, column) for column in numbers]
            if compared:
                cells.append(_difference_cell(line, own))
            if with_maps:
                cells.append({**_EMPTY, "text": line.sens_maps or "–"})
            lines.append({"method": line.method, "remark": line.remark(group), "cells": cells})
        blocks.append({"title": group.setting.title, "words": _words(comparison, group), "lines": lines})
    return {"columns": columns, "groups": blocks}


def as_latex(comparison: Comparison, groups: Sequence[Group], differences: Sequence[Difference], headline: str) -> str:
    """Write the table for a paper: packages booktabs, best values bold, arrows where a direction is better.

    Paired differences, with interval and p, and the source of the coil maps have columns where the page has them.

    Parameters
    ----------
    comparison, groups, differences
        What to write.
    headline
        What a reader must know first; a comment at the top, and no table looks finished that is not.
    """
    columns = [column for column in shown_columns(comparison.rows) if column.key not in ("mse", "kspace_residual")]
    if not any(group.has_reference for group in groups):
        columns = shown_columns(comparison.rows)
    compared = any(difference.metric == "psnr" for difference in differences)
    with_maps = any(line.sens_maps for group in groups for line in group.lines)
    headings = ["Method", *(f"{column.heading} {column.mark}".strip() for column in columns)]
    headings += [_TO_BASELINE] * compared + [_COIL_MAPS] * with_maps
    shape = "l" + "r" * (len(columns) + compared) + "l" * with_maps
    text = [f"% {headline}"] if headline else []
    text += [f"\\begin{{tabular}}{{{shape}}}", "\\toprule", f"{' & '.join(map(_latex, headings))} \\\\"]
    for group in groups:
        own = _in_psnr(group, differences)
        title = group.setting.title + (f" ({group.words()})" if group.partial else "")
        text += ["\\midrule", f"\\multicolumn{{{len(headings)}}}{{l}}{{\\textit{{{_latex(title)}}}}} \\\\"]
        for line in best_first(group.lines):
            remark = line.remark(group)
            cells = [_latex(f"{line.method} ({remark})" if remark else line.method)]
            cells += [_latex_cell(_cell(line, column)) for column in columns]
            cells += [_latex_cell(_difference_cell(line, own))] * compared
            cells += [_latex(line.sens_maps or "–")] * with_maps
            text.append(" & ".join(cells) + " \\\\")
    return "\n".join([*text, "\\bottomrule", "\\end{tabular}", ""])


def table_as_csv(comparison: Comparison, groups: Sequence[Group], differences: Sequence[Difference]) -> bytes:
    """Write the table at full precision: a line per method and setting, with means, deviations and differences."""
    columns = shown_columns(comparison.rows)
    names = ["mask", "acceleration", "method", "remark", "volumes", "ranked_on"]
    for column in columns:
        names += [f"{column.key}_mean"] + ([] if column.higher_is_better is None else [f"{column.key}_sd"])
    names += ["sens_maps", "baseline"]
    names += [f"{metric}_{part}" for metric in ("psnr", "ssim") for part in ("difference", "low", "high", "p_holm")]
    records = []
    for group in groups:
        for line in best_first(group.lines):
            record: dict[str, Any] = {
                "mask": group.setting.mask,
                "acceleration": group.setting.acceleration,
                "method": line.method,
                "remark": line.remark(group),
                "volumes": len(line.volumes),
                "ranked_on": len(group.common) if line.ranked else 0,
                "sens_maps": line.sens_maps,
            }
            for column in columns:
                if column.key in line.means:
                    mean = line.means[column.key]
                    record |= {f"{column.key}_mean": mean.mean, f"{column.key}_sd": mean.sd}
            for one in differences:
                if group.has_reference and (one.method, one.setting) == (line.method, group.setting):
                    low, high = one.interval or (None, None)
                    record |= {"baseline": one.baseline, f"{one.metric}_difference": one.mean}
                    record |= {f"{one.metric}_low": low, f"{one.metric}_high": high, f"{one.metric}_p_holm": one.p_holm}
            records.append(record)
    return as_csv(names, records)


def _in_psnr(group: Group, differences: Sequence[Difference]) -> dict[str, Difference]:
    """Differences of one setting by method."""
    own = {one.method: one for one in differences if one.metric == "psnr" and one.setting == group.setting}
    return own if group.has_reference else {}


def _words(comparison: Comparison, group: Group) -> str:
    facts = [sampling_words(sampled_fraction(comparison, group.setting))]
    if not group.has_reference:
        facts.append("no fully sampled reference, hence no metric")
    return "; ".join(filter(None, [*facts, group.words()]))


def _cell(line: Line, column: Column) -> dict[str, Any]:
    """Text of a cell, its standard deviation, and the number to sort by (empty when there is none)."""
    if column.key not in line.means:
        return dict(_EMPTY)
    mean = line.means[column.key]
    has_sd = mean.sd is not None and math.isfinite(mean.sd) and column.higher_is_better is not None
    sd = column.format(mean.sd) if has_sd and mean.sd is not None else ""
    sort = "" if math.isnan(mean.mean) else repr(mean.mean)
    text = "NaN" if math.isnan(mean.mean) else column.format(mean.mean)
    return {"text": text, "sd": sd, "note": "", "sort": sort, "best": column.key in line.best}


def _difference_cell(line: Line, differences: dict[str, Difference]) -> dict[str, Any]:
    """Mean paired difference in dB with interval and p; the baseline says that it is the one."""
    if line.method in differences:
        one = differences[line.method]
        mean, _, interval = one.short().partition(" ")
        note = ", ".join(filter(None, [interval, one.p_words()]))
        return {**_EMPTY, "text": f"{mean} dB", "note": note, "sort": repr(one.mean)}
    if any(one.baseline == line.method for one in differences.values()):
        return {**_EMPTY, "text": "baseline", "sort": "0"}
    return dict(_EMPTY)


def _latex_cell(cell: dict[str, Any]) -> str:
    value = _latex(cell["text"])
    value = f"\\textbf{{{value}}}" if cell["best"] else value
    spread = f"$\\pm$ {_latex(cell['sd'])}" if cell["sd"] else _latex(cell["note"])
    return f"{value} {{\\small {spread}}}" if spread else value


def _latex(text: str) -> str:
    return re.sub("|".join(map(re.escape, _LATEX)), lambda match: _LATEX[match[0]], " ".join(text.split()))
