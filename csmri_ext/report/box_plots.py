"""Box plots of PSNR and SSIM per slice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from csmri_ext.report.sheet import METHOD_COLORS, PALE, Sheet, style
from csmri_ext.report.summary import Group

PLOT_WIDTH, LINE_HEIGHT, TITLE, SCALE = 3.1, 0.27, 0.28, 0.34  # inches
FEWEST_FOR_BOX, MOST_POINTS = 5, 60


def box_plots(groups: Sequence[Group]) -> Figure | None:
    """Draw PSNR and SSIM of every slice, per method: one row of axes per setting, the scales shared.

    Boxes span the quartiles, whiskers reach the last slice within 1.5 interquartile ranges; up to 60 slices are
    drawn as points too, and fewer than five as points only. None when no row has scores per slice.

    Parameters
    ----------
    groups
        From `summary.summarise`; scores that are not finite are left out.
    """
    groups = [group for group in groups if any(row.slice_psnr or row.slice_ssim for row in group.rows)]
    if not groups:
        return None
    methods = list(dict.fromkeys(line.method for group in groups for line in group.lines))
    colors = dict(zip(methods, cycle(zip(METHOD_COLORS, PALE, strict=True)), strict=False))
    left = 0.35 + 0.075 * min(max(map(len, methods)), 30)
    heights = [TITLE + LINE_HEIGHT * len(group.lines) + SCALE for group in groups]
    drawn: dict[str, list[Axes]] = {"psnr": [], "ssim": []}
    with style():
        sheet = Sheet(left + 2 * PLOT_WIDTH + 0.35, sum(heights) + 0.1)
        top = 0.0
        for group, height in zip(groups, heights, strict=True):
            sheet.text(0.08, top + 0.2, group.setting.title, room=left + 3, ha="left", size=9.5, weight="bold")
            for number, line in enumerate(group.lines):
                baseline = top + TITLE + LINE_HEIGHT * (number + 0.5)
                sheet.text(left - 0.08, baseline, line.method, room=left - 0.16, ha="right", va="center", size=8.5)
            for column, (key, axes_of_key) in enumerate(drawn.items()):
                plot_height = LINE_HEIGHT * len(group.lines)
                axes = sheet.axes(left + column * (PLOT_WIDTH + 0.15), top + TITLE, PLOT_WIDTH, plot_height)
                _boxes(axes, group, key, colors)
                axes_of_key.append(axes)
            top += height
        for key, heading in (("psnr", "PSNR per slice (dB)"), ("ssim", "SSIM per slice")):
            _share_scale(drawn[key])
            drawn[key][-1].set_xlabel(heading, fontsize=9, labelpad=3)
    return sheet.figure


def _boxes(axes: Axes, group: Group, key: str, colors: dict[str, tuple[str, str]]) -> None:
    for position, line in enumerate(group.lines):
        values = _slice_scores(group, line.method, key)
        color, pale = colors[line.method]
        if len(values) >= FEWEST_FOR_BOX:
            thin = {"color": color, "linewidth": 0.9}
            axes.boxplot(
                [values],
                positions=[position],
                widths=0.56,
                orientation="horizontal",
                patch_artist=True,
                showfliers=len(values) > MOST_POINTS,
                boxprops={"facecolor": pale, "edgecolor": color, "linewidth": 0.9},
                whiskerprops=thin,
                capprops=thin,
                medianprops={"color": color, "linewidth": 1.8},
                flierprops={"marker": ".", "markersize": 3, "markeredgecolor": color},
            )
        if 0 < len(values) <= MOST_POINTS:
            width, size = (0.16, 2.6) if len(values) > 12 else (0.0, 3.6)
            spread = np.random.default_rng(0).permutation(np.linspace(-width, width, len(values)))
            axes.plot(values, position + spread, "o", ms=size, mfc=color, mec="white", mew=0.4, clip_on=False)
    axes.set(ylim=(len(group.lines) - 0.5, -0.5), yticks=[])
    axes.tick_params(labelsize=8.5, length=0)
    axes.grid(axis="x", color="0.88", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines["bottom"].set(visible=True, color="0.6")


def _slice_scores(group: Group, method: str, key: str) -> list[float]:
    rows = [row for row in group.rows if row.method == method]
    values = [value for row in rows for value in (row.slice_psnr if key == "psnr" else row.slice_ssim)]
    return [value for value in values if value is not None and math.isfinite(value)]


def _share_scale(axes: Sequence[Axes]) -> None:
    values = np.concatenate([np.asarray(line.get_xdata()) for one in axes for line in one.get_lines()] or [np.zeros(0)])
    if values.size == 0:
        return
    low, high = float(np.min(values)), float(np.max(values))
    margin = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
    for one in axes:
        one.set_xlim(low - margin, high + margin)
        one.xaxis.set_major_locator(MaxNLocator(6))
        one.tick_params(axis="x", length=2, width=0.5, color="0.6")
