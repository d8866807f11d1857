"""Figures as in a paper: reconstructions with details and error maps on one scale, and box plots per slice."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from matplotlib.patches import Rectangle

from baselines import display
from baselines.results import Panel
from baselines.summary import Group, Setting, sampling_words

PRINT_DPI, SCREEN_DPI = 300, 150
CELL = 256 / SCREEN_DPI  # inches: one pixel of a 256-pixel image is one pixel on screen and four in print
GAP, GUTTER, HEAD, COLUMN_HEAD, SCORES, BAR = 0.05, 0.30, 0.50, 0.26, 0.24, 0.66  # inches
COLUMNS_PER_BAND = 7
ACCENT = "#ffb000"
METHOD_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b6b6b")  # Okabe and Ito, 2008
FONTS = ("Helvetica", "Arial", "Liberation Sans", "DejaVu Sans", "Noto Sans CJK JP", "WenQuanYi Zen Hei")


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
    first = base or "reference"
    others = [method for method in panel.recons if method != base]
    per_band = COLUMNS_PER_BAND - 1
    bands = [others[start : start + per_band] for start in range(0, len(others), per_band)] or [[]]
    columns = 1 + len(bands[0])

    aspect = min(display.anchor_image(panel).shape[0] / display.anchor_image(panel).shape[1], 2.5)
    cell_height = CELL * aspect
    band_height = COLUMN_HEAD + SCORES + 3 * cell_height + 2 * GAP + 0.18
    size = (GUTTER + columns * CELL + (columns - 1) * GAP + BAR, HEAD + len(bands) * band_height)
    with _style():
        figure = Figure(figsize=(max(size[0], 5.6), size[1]), facecolor="white")
        canvas = _Canvas(figure)
        _heading(canvas, panel, factor)
        for number, band in enumerate(bands):
            top = HEAD + number * band_height
            rows = [top + COLUMN_HEAD]
            rows.append(rows[0] + cell_height + SCORES)
            rows.append(rows[1] + cell_height + GAP)
            _row_labels(canvas, rows, cell_height, base)
            for column, method in enumerate([first, *band]):
                cells = [canvas.axes(GUTTER + column * (CELL + GAP), y, CELL, cell_height) for y in rows]
                canvas.text(GUTTER + column * (CELL + GAP) + CELL / 2, top + COLUMN_HEAD - 0.07, method, weight="bold")
                _draw_images(cells, panel, None if method == "reference" and base is None else method)
                if column == 0:
                    _draw_mask(cells[2], panel)
                else:
                    _draw_error(cells[2], panel, method, base, factor)
                _write_scores(canvas, GUTTER + column * (CELL + GAP) + CELL / 2, rows[1] - 0.075, panel, method)
            if band:
                right = GUTTER + (1 + len(band)) * (CELL + GAP)
                _color_bar(canvas.axes(right + 0.02, rows[2], 0.09, cell_height), factor)
    return figure


class _Canvas:
    """Places axes and text in inches from the top left corner of a figure."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self.width, self.height = figure.get_size_inches()

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        axes: Axes = self.figure.add_axes(
            (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        )
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes

    def text(self, left: float, top: float, words: str, **style: Any) -> None:
        style = {"ha": "center", "va": "baseline", "size": 10, **style}
        self.figure.text(left / self.width, 1 - top / self.height, words, fontdict=style)


def _heading(canvas: _Canvas, panel: Panel, factor: int) -> None:
    setting = Setting(panel.mask, panel.acceleration)
    words = sampling_words(float(panel.sampling.mean())) if panel.sampling.any() else ""
    title = f"{setting.title}  ({words})" if words else setting.title
    canvas.text(GUTTER, 0.2, title, ha="left", size=11.5, weight="bold")
    kind = "differences" if panel.target is None else "errors"
    subtitle = f"{panel.volume}, slice {panel.slice}; {kind} × {factor}"
    canvas.text(GUTTER, 0.4, subtitle, ha="left", size=9.5, color="0.35")


def _row_labels(canvas: _Canvas, rows: list[float], cell_height: float, base: str | None) -> None:
    labels = ("reconstruction", "detail", "|error|" if base is None else f"|difference to {base}|")
    for top, label in zip(rows, labels, strict=True):
        canvas.text(
            GUTTER - 0.1, top + cell_height / 2, label, rotation=90, ha="center", va="center", size=9, color="0.35"
        )


def _draw_images(cells: Sequence[Axes], panel: Panel, method: str | None) -> None:
    image = panel.recons[method] if method is not None else panel.target
    assert image is not None
    top, left, height, width = display.detail_region(display.anchor_image(panel))
    style: dict[str, Any] = {"cmap": _colors("gray"), "vmin": 0, "vmax": display.white_level(panel), "aspect": "auto"}
    cells[0].imshow(np.ma.masked_invalid(image), **style)
    cells[0].add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, color=ACCENT, linewidth=0.9))
    cells[1].imshow(np.ma.masked_invalid(image[top : top + height, left : left + width]), **style)
    for spine in cells[1].spines.values():
        spine.set(visible=True, color=ACCENT, linewidth=0.9)


def _draw_mask(cell: Axes, panel: Panel) -> None:
    """Draw the sampling mask in its own proportions on the ground of the page."""
    cell.set_anchor("N")
    cell.imshow(panel.sampling, cmap="gray", vmin=0, vmax=1, aspect="equal", interpolation="antialiased")
    for spine in cell.spines.values():
        spine.set(visible=True, color="0.6", linewidth=0.6)
    cell.set_xlabel("sampling mask", fontsize=8, labelpad=2, color="0.35")


def _draw_error(cell: Axes, panel: Panel, method: str, base: str | None, factor: int) -> None:
    brightest = display.white_level(panel) / factor
    error = np.ma.masked_invalid(display.difference(panel, method, base))
    cell.imshow(error, cmap=_colors(display.ERROR_COLORS), vmin=0, vmax=brightest, aspect="auto")


def _color_bar(axes: Axes, factor: int) -> None:
    percent = 100 / factor
    bar = axes.figure.colorbar(ScalarMappable(Normalize(0, percent), _colors(display.ERROR_COLORS)), cax=axes)
    bar.outline.set_linewidth(0.4)
    bar.set_ticks([0, percent / 2, percent], labels=["0", f"{percent / 2:g}", f"{percent:g}"])
    axes.tick_params(labelsize=8, length=2, pad=2, width=0.5)
    axes.set_ylabel("% of white level", fontsize=8, labelpad=4)


def _write_scores(canvas: _Canvas, center: float, top: float, panel: Panel, method: str) -> None:
    """PSNR and SSIM of the slice below an image, the best of each in bold."""
    if method not in panel.scores:
        return
    for key, spec, unit, shift, side in (("psnr", ".2f", " dB", 0.04, "right"), ("ssim", ".3f", "", 0.16, "left")):
        shown = {name: format(scores.get(key, math.nan), spec) for name, scores in panel.scores.items()}
        ranked = [float(value) for value in shown.values() if value != "nan"]
        best = len(shown) > 1 and ranked and float(shown[method]) == max(ranked)
        weight = "bold" if best else "normal"
        canvas.text(center + shift, top, shown[method] + unit, ha=side, size=9, weight=weight)
    canvas.text(center + 0.10, top, "/", size=9)


def box_plots(groups: Sequence[Group]) -> Figure | None:
    """Draw PSNR and SSIM of every slice, per method: one row of axes per setting, the scales shared.

    Boxes span the quartiles, whiskers reach the last slice within 1.5 interquartile ranges; up to 60 slices are
    drawn as points too, and fewer than five as points only. None when no row has scores per slice.
    """
    groups = [group for group in groups if any(row.slice_psnr or row.slice_ssim for row in group.rows)]
    if not groups:
        return None
    methods = list(dict.fromkeys(line.method for group in groups for line in group.lines))
    colors = {method: METHOD_COLORS[index % len(METHOD_COLORS)] for index, method in enumerate(methods)}
    heights = [0.27 * len(group.lines) + 0.62 for group in groups]
    label_width = 0.35 + 0.075 * min(max(map(len, methods)), 40)
    width, plot_width, foot = label_width + 2 * 3.2 + 0.25, 3.1, 0.1
    with _style():
        canvas = _Canvas(Figure(figsize=(width, sum(heights) + foot), facecolor="white"))
        drawn: dict[str, list[Axes]] = {"psnr": [], "ssim": []}
        top = 0.0
        for group, height in zip(groups, heights, strict=True):
            canvas.text(0.08, top + 0.2, group.setting.title, ha="left", size=9.5, weight="bold")
            for column, key in enumerate(("psnr", "ssim")):
                left = label_width + column * (plot_width + 0.15)
                axes = canvas.axes(left, top + 0.28, plot_width, height - 0.62)
                _boxes(axes, group, key, colors)
                axes.set_yticks(range(len(group.lines)), [line.method for line in group.lines] if column == 0 else [])
                drawn[key].append(axes)
            top += height
        for key, heading in (("psnr", "PSNR per slice (dB)"), ("ssim", "SSIM per slice")):
            _share_scale(drawn[key])
            drawn[key][-1].set_xlabel(heading, fontsize=9, labelpad=3)
    return canvas.figure


def _boxes(axes: Axes, group: Group, key: str, colors: dict[str, str]) -> None:
    for position, line in enumerate(group.lines):
        values = [
            value
            for row in group.rows
            if row.method == line.method
            for value in (row.slice_psnr if key == "psnr" else row.slice_ssim)
            if value is not None and math.isfinite(value)
        ]
        color = colors[line.method]
        if len(values) >= 5:
            axes.boxplot(
                [values],
                positions=[position],
                widths=0.56,
                orientation="horizontal",
                patch_artist=True,
                showfliers=len(values) > 60,
                boxprops={"facecolor": mpl.colors.to_rgba(color, 0.25), "edgecolor": color, "linewidth": 0.9},
                whiskerprops={"color": color, "linewidth": 0.9},
                capprops={"color": color, "linewidth": 0.9},
                medianprops={"color": color, "linewidth": 1.8},
                flierprops={"marker": ".", "markersize": 3, "markeredgecolor": color},
            )
        if 0 < len(values) <= 60:
            spread = np.random.default_rng(0).permutation(np.linspace(-0.16, 0.16, len(values) + 2)[1:-1])
            axes.plot(values, position + spread, "o", ms=3.2, mfc=color, mec="white", mew=0.4, clip_on=False)
    axes.set_ylim(len(group.lines) - 0.5, -0.5)
    axes.tick_params(labelsize=8.5, length=0)
    axes.grid(axis="x", color="0.88", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines["bottom"].set(visible=True, color="0.6")


def _share_scale(axes: Sequence[Axes]) -> None:
    bounds = np.concatenate([line.get_xdata() for one in axes for line in one.get_lines()] or [np.zeros(0)])
    if bounds.size == 0:
        return
    low, high = float(np.min(bounds)), float(np.max(bounds))
    margin = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
    for one in axes:
        one.set_xlim(low - margin, high + margin)
        one.xaxis.set_major_locator(mpl.ticker.MaxNLocator(6))
        one.tick_params(axis="x", length=2, width=0.5, color="0.6")


def _colors(name: str) -> mpl.colors.Colormap:
    return mpl.colormaps[name].with_extremes(bad="#{:02x}{:02x}{:02x}".format(*display.NOT_FINITE))


@cache
def _fonts() -> list[str]:
    installed = set(get_font_names())
    return [font for font in FONTS if font in installed]


@contextmanager
def _style() -> Iterator[None]:
    # Names are data: a dollar sign in one must not start a formula.
    settings: Any = {"font.family": _fonts(), "text.parse_math": False, "axes.linewidth": 0.6, "image.resample": True}
    with mpl.rc_context(settings):
        yield


def png(figure: Figure, dpi: int) -> bytes:
    """Render a figure as PNG bytes, without a date or a version inside, so that equal results give equal files."""
    buffer = io.BytesIO()
    with _style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
