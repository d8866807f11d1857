"""Estimated errors of one slice beside the errors themselves, on one scale."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from csmri_ext.report import display
from csmri_ext.report.figures import (
    BAR,
    CELL,
    COLUMN_HEAD,
    COLUMNS_PER_BAND,
    GAP,
    GUTTER,
    HEAD,
    NARROWEST,
    TALLEST,
    color_bar,
)
from csmri_ext.report.rows import Panel
from csmri_ext.report.sheet import QUIET, Sheet, color_map, style
from csmri_ext.report.summary import Setting

ESTIMATED, TRUE = "estimated error", "|error|"


def error_map_figure(panel: Panel, factor: int) -> Figure:
    """Draw what each method's error was estimated to be, and below it what it is, where there is a reference.

    Parameters
    ----------
    panel
        The slice, with `Panel.expected`.
    factor
        Amplification, from `display.error_factor`.
    """
    rows = [ESTIMATED] if panel.target is None else [ESTIMATED, TRUE]
    height, width = display.anchor_image(panel).shape
    aspect = min(max(height / width, 0.25), 4.0)
    cell_width = min(CELL, TALLEST / aspect)
    cell_height = cell_width * aspect
    methods = list(panel.expected)
    bands = [methods[start : start + COLUMNS_PER_BAND] for start in range(0, len(methods), COLUMNS_PER_BAND)]
    band_height = COLUMN_HEAD + len(rows) * (cell_height + GAP) + 0.2
    sheet_width = max(GUTTER + len(bands[0]) * (cell_width + GAP) + BAR, NARROWEST)
    brightest = display.white_level(panel) / factor
    with style():
        sheet = Sheet(sheet_width, HEAD + len(bands) * band_height)
        room = sheet.width - GUTTER - 0.1
        title = Setting(panel.mask, panel.acceleration).title
        sheet.text(GUTTER, 0.2, title, room=room, ha="left", size=11.5, weight="bold")
        where = f"{display.slice_title(panel)}; errors × {factor}"
        sheet.text(GUTTER, 0.4, where, room=room, ha="left", size=9.5, color=QUIET)
        for number, band in enumerate(bands):
            top = HEAD + number * band_height + COLUMN_HEAD
            for row, label in enumerate(rows):
                start = top + row * (cell_height + GAP)
                middle = start + cell_height / 2
                sheet.text(
                    GUTTER - 0.12, middle, label, room=cell_height, rotation=90, va="center", size=9, color=QUIET
                )
                for column, method in enumerate(band):
                    left = GUTTER + column * (cell_width + GAP)
                    if row == 0:
                        sheet.text(left + cell_width / 2, top - 0.07, method, room=cell_width, weight="bold")
                    shown = panel.expected[method] if label == ESTIMATED else display.difference(panel, method)
                    sheet.axes(left, start, cell_width, cell_height).imshow(
                        np.ma.masked_invalid(shown),
                        cmap=color_map(display.ERROR_COLORS),
                        vmin=0,
                        vmax=brightest,
                        aspect="auto",
                    )
            left = GUTTER + len(band) * (cell_width + GAP) + 0.02
            color_bar(sheet.axes(left, top, 0.09, cell_height), factor)
    return sheet.figure
