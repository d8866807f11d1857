"""One slice as in a paper: reconstructions, an enlarged region, error maps on one scale, the sampling mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from csmri_ext.report import display
from csmri_ext.report.rows import Panel
from csmri_ext.report.sheet import ACCENT, QUIET, SCREEN_DPI, Sheet, color_map, style
from csmri_ext.report.summary import Setting, sampling_words

CELL = 256 / SCREEN_DPI  # inches: one pixel of a 256-pixel image is one pixel on screen and four in print
TALLEST = 1.4 * CELL
GAP, GUTTER, HEAD, COLUMN_HEAD, SCORES, BAR = 0.05, 0.30, 0.50, 0.26, 0.24, 0.66  # inches
COLUMNS_PER_BAND = 7
NARROWEST = 5.2  # so that the title has room


@dataclass(frozen=True)
class _Grid:
    """Where the cells of one band lie: three rows below column headings, in inches."""

    cell_width: float
    cell_height: float
    scores: float  # room below the first row

    @classmethod
    def of(cls, panel: Panel) -> _Grid:
        height, width = display.anchor_image(panel).shape
        aspect = min(max(height / width, 0.25), 4.0)
        cell_width = min(CELL, TALLEST / aspect)
        return cls(cell_width, cell_width * aspect, SCORES if panel.scores else GAP)

    @property
    def height(self) -> float:
        return COLUMN_HEAD + self.scores + 3 * self.cell_height + GAP + 0.23

    def left(self, column: int) -> float:
        return GUTTER + column * (self.cell_width + GAP)

    def rows(self, top: float) -> tuple[float, float, float]:
        first = top + COLUMN_HEAD
        second = first + self.cell_height + self.scores
        return first, second, second + self.cell_height + GAP


def recon_figure(panel: Panel, factor: int) -> Figure:
    """Draw one slice as every method reconstructed it.

    Rows: the images with PSNR and SSIM, the region of `display.detail_region` enlarged, and the error maps on one
    scale. The cell below the reference shows the sampling mask. Without a target the first column is
    `display.base_method` and the last row is the difference from it, which is not an error.

    Parameters
    ----------
    panel
        The slice; images (h, w) of any aspect, not-finite pixels drawn in `display.NOT_FINITE`.
    factor
        Amplification of the error maps, from `display.error_factor`.
    """
    base = display.base_method(panel) if panel.target is None else None
    methods = [method for method in panel.recons if method != base]
    per_band = COLUMNS_PER_BAND - 1
    bands = [methods[start : start + per_band] for start in range(0, len(methods), per_band)] or [[]]
    grid = _Grid.of(panel)
    width = max(grid.left(1 + len(bands[0])) - GAP + BAR, NARROWEST)
    with style():
        sheet = Sheet(width, HEAD + len(bands) * grid.height)
        _heading(sheet, panel, factor)
        for number, band in enumerate(bands):
            top = HEAD + number * grid.height
            _row_labels(sheet, grid, top, base)
            _first_column(sheet, grid, top, panel, base)
            for column, method in enumerate(band, start=1):
                cells = _column(sheet, grid, top, column, method, panel, panel.recons[method])
                _write_scores(sheet, grid, top, column, panel, method)
                _draw_error(cells[2], panel, method, base, factor)
            if band:
                left = grid.left(1 + len(band)) + 0.02
                color_bar(sheet.axes(left, grid.rows(top)[2], 0.09, grid.cell_height), factor)
    return sheet.figure


def _heading(sheet: Sheet, panel: Panel, factor: int) -> None:
    room = sheet.width - GUTTER - 0.1
    words = sampling_words(float(panel.sampling.mean())) if panel.sampling.any() else ""
    title = Setting(panel.mask, panel.acceleration).title
    sheet.text(GUTTER, 0.2, f"{title}  ({words})" if words else title, room=room, ha="left", size=11.5, weight="bold")
    kind = "differences" if panel.target is None else "errors"
    subtitle = f"{display.slice_title(panel)}; {kind} × {factor}"
    sheet.text(GUTTER, 0.4, subtitle, room=room, ha="left", size=9.5, color=QUIET)


def _row_labels(sheet: Sheet, grid: _Grid, top: float, base: str | None) -> None:
    labels = ("reconstruction", "detail", "|error|" if base is None else f"|difference to {base}|")
    for row, label in zip(grid.rows(top), labels, strict=True):
        middle = row + grid.cell_height / 2
        sheet.text(GUTTER - 0.12, middle, label, room=grid.cell_height, rotation=90, va="center", size=9, color=QUIET)


def _first_column(sheet: Sheet, grid: _Grid, top: float, panel: Panel, base: str | None) -> None:
    """Draw what the others are compared with, above the sampling mask."""
    if base is None:
        cells = _column(sheet, grid, top, 0, "reference", panel, panel.target)
    else:
        cells = _column(sheet, grid, top, 0, base, panel, panel.recons[base])
    cells[2].set_anchor("N")
    if panel.sampling.size:
        cells[2].imshow(panel.sampling, cmap="gray", vmin=0, vmax=1, aspect="equal", interpolation="antialiased")
        cells[2].set_xlabel("sampling mask", fontsize=8, labelpad=2, color=QUIET)
        for spine in cells[2].spines.values():
            spine.set(visible=True, color="0.6", linewidth=0.6)


def _column(
    sheet: Sheet,
    grid: _Grid,
    top: float,
    column: int,
    name: str,
    panel: Panel,
    image: display.FloatImage | None,
) -> Sequence[Axes]:
    """Draw heading, image and detail of one column and return its three cells."""
    assert image is not None
    left = grid.left(column)
    heading = top + COLUMN_HEAD - 0.07
    sheet.text(left + grid.cell_width / 2, heading, name, room=grid.cell_width, weight="bold")
    cells = [sheet.axes(left, row, grid.cell_width, grid.cell_height) for row in grid.rows(top)]
    y, x, height, width = display.detail_region(display.anchor_image(panel))
    for cell, part in ((cells[0], image), (cells[1], image[y : y + height, x : x + width])):
        cell.imshow(
            np.ma.masked_invalid(part), cmap=color_map("gray"), vmin=0, vmax=display.white_level(panel), aspect="auto"
        )
    cells[0].add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, color=ACCENT, linewidth=0.9))
    for spine in cells[1].spines.values():
        spine.set(visible=True, color=ACCENT, linewidth=0.9)
    return cells


def _write_scores(sheet: Sheet, grid: _Grid, top: float, column: int, panel: Panel, method: str) -> None:
    """Write PSNR and SSIM of the slice below an image, the best of each in bold."""
    if method not in panel.scores:
        return
    baseline = grid.rows(top)[1] - 0.075
    scale = min(1.0, grid.cell_width / 1.4)
    center = grid.left(column) + grid.cell_width / 2 + 0.1 * scale
    for key, digits, unit, side in (("psnr", 2, " dB", "right"), ("ssim", 3, "", "left")):
        shown = {name: round(scores.get(key, math.nan), digits) for name, scores in panel.scores.items()}
        value = shown[method]
        ranked = [other for other in shown.values() if not math.isnan(other)]
        best = len(ranked) > 1 and value == max(ranked)
        words = "NaN" if math.isnan(value) else f"{value:.{digits}f}{unit}"
        shift = -0.06 * scale if side == "right" else 0.06 * scale
        sheet.text(center + shift, baseline, words, ha=side, size=9 * scale, weight="bold" if best else "normal")
    sheet.text(center, baseline, "/", size=9 * scale)


def _draw_error(cell: Axes, panel: Panel, method: str, base: str | None, factor: int) -> None:
    brightest = display.white_level(panel) / factor
    error = np.ma.masked_invalid(display.difference(panel, method, base))
    cell.imshow(error, cmap=color_map(display.ERROR_COLORS), vmin=0, vmax=brightest, aspect="auto")


def color_bar(axes: Axes, factor: int) -> None:
    """Draw the scale of errors that are amplified `factor` times, in percent of the white level."""
    percent = 100 / factor
    bar = axes.figure.colorbar(ScalarMappable(Normalize(0, percent), color_map(display.ERROR_COLORS)), cax=axes)
    bar.outline.set_linewidth(0.4)
    bar.set_ticks([0, percent / 2, percent], labels=["0", f"{percent / 2:g}", f"{percent:g}"])
    axes.tick_params(labelsize=8, length=2, pad=2, width=0.5)
    axes.set_ylabel("% of white level", fontsize=8, labelpad=4)
