"""Writes a comparison as one self-contained page, ``report.html``, and its figures and table as files for a paper."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from csmri_ext.outputs import write_bytes
from csmri_ext.report import display
from csmri_ext.report.box_plots import box_plots
from csmri_ext.report.completeness import completeness
from csmri_ext.report.error_map_figure import error_map_figure
from csmri_ext.report.figures import recon_figure
from csmri_ext.report.provenance_section import are_records, are_texts, provenance_context, words
from csmri_ext.report.report_files import FIGURES, PAGE, PANELS, listed, remove_stale, report_files
from csmri_ext.report.results_table import as_latex, table_as_csv, table_context
from csmri_ext.report.rows import Comparison, Panel
from csmri_ext.report.seeds import over_seeds
from csmri_ext.report.sheet import ALL_COLORS, every_format
from csmri_ext.report.statistics import HOW, Difference, conclusion, paired_differences
from csmri_ext.report.summary import Group, Setting, summarise
from csmri_ext.report.verdict import verdict
from csmri_ext.report.viewer import data_uri, fits_page, viewer_data

TEMPLATES = Path(__file__).parent / "templates"


def write_report(out_dir: Path, comparison: Comparison) -> Path:
    """Write ``report.html``, the table as ``table.tex`` and ``table.csv``, and figures as ``images/*.png, pdf, svg``.

    The page embeds everything it shows and loads nothing: it works from a file, by mail, or without a network. Only the
    images of its viewer may lie in files beside it instead, in ``panels/``, where they are loaded when they are shown.
    Images are drawn on one grey window per slice and error maps on one scale per volume. Every file is written under a
    temporary name and then renamed, the page last, so a failure leaves an older report as it was; files of the older
    report that the new one does not have are removed.

    Parameters
    ----------
    out_dir
        Folder of the report, created when missing.
    comparison
        Rows and panels; either list may be empty.

    Returns
    -------
        Path of ``report.html``.

    Raises
    ------
    ValueError
        The images of one panel differ in shape; both shapes are named.
    OSError
        The folder cannot be written, or the disk is full.
    """
    for panel in comparison.panels:
        display.check(panel)
    before = report_files(out_dir)
    groups = summarise(comparison.rows, comparison.provenance.get("planned", ()))
    factors = _error_factors(comparison.panels)
    drawn = _figures(groups, comparison.panels, factors)
    images = out_dir / FIGURES
    images.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    beside = comparison.place == "beside" or (comparison.place == "auto" and not fits_page(comparison.panels))
    if beside:
        (out_dir / PANELS).mkdir(exist_ok=True)

        def keep(name: str, content: bytes) -> None:
            written.append(write_bytes(out_dir / name, content))

        viewer = viewer_data(comparison, factors, keep)
    else:
        viewer = viewer_data(comparison, factors)
    differences = paired_differences(groups)
    headline = completeness(comparison.rows, comparison.provenance).headline()
    tables = {
        "table.tex": as_latex(comparison, groups, differences, headline).encode(errors="backslashreplace"),
        "table.csv": table_as_csv(comparison, groups, differences),
    }
    for figure in drawn:
        for kind, content in figure["files"].items():
            written.append(write_bytes(images / f"{figure['stem']}.{kind}", content))
    if groups:
        written += [write_bytes(out_dir / name, content) for name, content in tables.items()]
    context = _context(comparison, groups, differences, drawn) | {
        "viewer": viewer,
        "panels_beside": beside,
        "headline": headline,
        "tables": {name: _as_uri(content) for name, content in tables.items()},
        "files": listed(str(path.relative_to(out_dir)) for path in written),
    }
    page = _environment().get_template("report.html.j2").render(context)
    path = write_bytes(out_dir / PAGE, page.encode(errors="backslashreplace"))
    remove_stale(out_dir, before, written)
    return path


def _as_uri(content: bytes) -> str:
    return "data:text/plain;charset=utf-8;base64," + base64.b64encode(content).decode()


def _context(
    comparison: Comparison, groups: list[Group], differences: Sequence[Difference], drawn: list[dict[str, Any]]
) -> dict[str, Any]:
    script = (TEMPLATES / "report.js").read_text()
    table = table_context(comparison, groups, differences)
    compared = {difference.metric for difference in differences}
    return {
        "verdict": verdict(groups),
        "conclusion": conclusion(groups, differences),
        "seeds": [one.words() for one in over_seeds(groups, comparison.provenance.get("networks") or [])],
        "counts": _counts(comparison),
        "notes": comparison.provenance.get("notes") or [],
        "failed": comparison.provenance.get("failed") or [],
        "judged": any(group.has_reference for group in groups),
        "marked": any(line.best for group in groups for line in group.lines),
        "metric": comparison.provenance.get("metric"),
        "columns": table["columns"],
        "groups": table["groups"],
        "how": HOW if compared else "",
        "several_volumes": any(len(group.volumes) > 1 for group in groups),
        "error_gradient": _gradient(),
        "not_finite": "rgb({}, {}, {})".format(*display.NOT_FINITE),
        "figures": [
            {key: figure[key] for key in ("caption", "alt", "stem", "wide")} | _embedded(figure["files"]["png"])
            for figure in drawn
        ],
        "provenance": provenance_context(comparison, groups),
        "style": (TEMPLATES / "report.css").read_text(),
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["words"] = words
    environment.tests |= {"records": are_records, "several_texts": are_texts}
    return environment


def _counts(comparison: Comparison) -> str:
    rows = comparison.rows
    volumes = {row.volume: row.slices for row in rows}
    numbers = {
        "method": len({row.method for row in rows}),
        "volume": len(volumes),
        "slice": sum(volumes.values()),
        "sampling setting": len({(row.mask, row.acceleration) for row in rows}),
    }
    return ", ".join(f"{number} {word}{'' if number == 1 else 's'}" for word, number in numbers.items())


# Figures


def _error_factors(panels: Sequence[Panel]) -> dict[str, int]:
    """One amplification per volume, so that its slices, settings and methods can be compared."""
    volumes = dict.fromkeys(panel.volume for panel in panels)
    return {name: display.error_factor(panel for panel in panels if panel.volume == name) for name in volumes}


def _figures(groups: Sequence[Group], panels: Sequence[Panel], factors: dict[str, int]) -> list[dict[str, Any]]:
    drawn = []
    taken: set[str] = set()
    for panel, why in _representatives(panels):
        setting = Setting(panel.mask, panel.acceleration)
        reference = "" if panel.target is not None else "-no-reference"
        stem = f"recon-{setting.mask}" + ("" if setting.acceleration is None else f"-R{setting.acceleration:g}")
        methods = ", ".join(panel.recons)
        kind = "error" if panel.target is not None else f"difference to {display.base_method(panel)}"
        where = display.slice_title(panel)
        drawn.append(
            {
                "stem": _file_stem(stem + reference, taken),
                "files": every_format(recon_figure(panel, factors[panel.volume])),
                "wide": True,
                "alt": f"{setting.title}: {methods} on {where}, with details and {kind} maps",
                "caption": f"{setting.title}. {where}{why}. Top to bottom: reconstructions, the marked region "
                f"enlarged, and |{kind}| on one scale, amplified {factors[panel.volume]} times.",
            }
        )
        if panel.expected:
            below = "" if panel.target is None else ", and below it the error itself"
            drawn.append(
                {
                    "stem": _file_stem(f"error-{stem.removeprefix('recon-')}{reference}", taken),
                    "files": every_format(error_map_figure(panel, factors[panel.volume])),
                    "wide": True,
                    "alt": f"{setting.title}: estimated errors of {', '.join(panel.expected)} on {where}",
                    "caption": f"{setting.title}. {where}. The estimated error of every pixel, from reconstructions "
                    f"without a part of the samples{below}, on one scale, amplified {factors[panel.volume]} times.",
                }
            )
    boxes = box_plots(groups)
    if boxes is not None:
        drawn.append(
            {
                "stem": _file_stem("boxplots", taken),
                "files": every_format(boxes),
                "wide": False,
                "alt": "Box plots of PSNR and SSIM per slice, one box per method and setting",
                "caption": "PSNR and SSIM of every slice. Boxes span the quartiles, the thick line is the median, "
                "whiskers reach the last slice within 1.5 interquartile ranges; points are slices.",
            }
        )
    return drawn


def _representatives(panels: Sequence[Panel]) -> list[tuple[Panel, str]]:
    """Choose one panel per setting, and say why: the slice of median PSNR, and the same one at later settings."""
    by_setting: dict[tuple[Setting, bool], list[Panel]] = {}
    for panel in panels:
        key = (Setting(panel.mask, panel.acceleration), panel.target is None)
        by_setting.setdefault(key, []).append(panel)
    chosen: list[tuple[Panel, str]] = []
    for members in by_setting.values():
        earlier = {(panel.volume, panel.slice) for panel, _ in chosen}
        again = [panel for panel in members if (panel.volume, panel.slice) in earlier]
        ranked = sorted(members, key=_mean_psnr)  # stable: without scores the order stays
        if again:
            chosen.append((again[0], ""))
        else:
            why = ", the slice of median PSNR" if any(panel.scores for panel in members) else ", the middle slice"
            chosen.append((ranked[(len(ranked) - 1) // 2], why if len(members) > 1 else ""))
    return chosen


def _mean_psnr(panel: Panel) -> float:
    values = [scores["psnr"] for scores in panel.scores.values() if math.isfinite(scores.get("psnr", math.nan))]
    return sum(values) / len(values) if values else 0.0


def _file_stem(stem: str, taken: set[str]) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.") or "figure"
    name = plain
    number = 2
    while name in taken:
        name, number = f"{plain}-{number}", number + 1
    taken.add(name)
    return name


def _embedded(figure: bytes) -> dict[str, Any]:
    copy = display.screen_copy(figure, ALL_COLORS)
    width, height = display.png_size(copy)
    return {"src": data_uri(copy), "width": width, "height": height}


def _gradient() -> str:
    stops = display.error_palette()[:: (display.ERROR_LEVELS - 1) // 6]
    return "linear-gradient(90deg, " + ", ".join("#{:02x}{:02x}{:02x}".format(*color) for color in stops) + ")"
