"""The drawing ground of all figures: placement in inches, fonts, colours, PNG output."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names

from csmri_ext.report import display

PRINT_DPI, SCREEN_DPI = 300, 150
FORMATS = ("png", "pdf", "svg")
QUIET = "0.35"  # grey of labels
ACCENT = "#ffb000"
METHOD_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b6b6b")  # Okabe and Ito, 2008
PALE = ("#bfdcec", "#f4d7bf", "#bfe7dc", "#f2dee9", "#f9e7bf", "#d5ecfa", "#dadada")  # a quarter of each, on white
NOT_FINITE = "#{:02x}{:02x}{:02x}".format(*display.NOT_FINITE)
ALL_COLORS = (ACCENT, NOT_FINITE, *METHOD_COLORS, *PALE)  # every colour besides greys and those of errors
FONTS = ("Helvetica", "Arial", "Liberation Sans", "DejaVu Sans", "Noto Sans CJK JP", "WenQuanYi Zen Hei")


class Sheet:
    """A white figure on which axes and words are placed in inches from the top left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), facecolor="white")
        self._renderer = FigureCanvasAgg(self.figure).get_renderer()

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes without ticks and frame."""
        axes: Axes = self.figure.add_axes(
            (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        )
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes

    def text(self, left: float, top: float, words: str, *, room: float | None = None, **style: Any) -> None:
        """Write one line; where it is longer than `room` inches, in a smaller size."""
        style = {"ha": "center", "va": "baseline", "size": 10, **style}
        text = self.figure.text(left / self.width, 1 - top / self.height, words, fontdict=style)
        size = float(style["size"])
        for _ in range(4):  # widths are rounded to pixels glyph by glyph: measure again
            with _missing_glyphs_allowed():
                extent = text.get_window_extent(self._renderer)
            length = max(extent.width, extent.height) / self.figure.dpi
            if room is None or length <= room:
                break
            size *= room / length
            text.set_fontsize(size)


def color_map(name: str) -> Colormap:
    """Colour map of that name, with `NOT_FINITE` for NaN and Inf."""
    return mpl.colormaps[name].with_extremes(bad=NOT_FINITE)


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's settings while a figure is made and drawn."""
    # Names are data: a dollar sign in one must not start a formula.
    settings: Any = {"font.family": _fonts(), "text.parse_math": False, "axes.linewidth": 0.6}
    with mpl.rc_context(settings):
        yield


def png(figure: Figure, dpi: int = PRINT_DPI) -> bytes:
    """Render a figure as PNG bytes, without a date or a version inside, so that equal results give equal files."""
    buffer = io.BytesIO()
    with style(), _missing_glyphs_allowed():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def vector(figure: Figure, kind: str) -> bytes:
    """Render a figure as ``pdf`` or ``svg``: words and lines scale, images keep their pixels; equal again and again."""
    buffer = io.BytesIO()
    for axes in figure.axes:
        for image in axes.get_images():
            image.set_interpolation("none")  # the pixels as they are, whatever the size in print
    undated: dict[str, Any] = {"CreationDate": None} if kind == "pdf" else {"Date": None}
    with style(), mpl.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "csmri_ext"}), _missing_glyphs_allowed():
        figure.savefig(buffer, format=kind, dpi=PRINT_DPI, metadata={**undated, "Creator": None})
    return buffer.getvalue()


def every_format(figure: Figure, dpi: int = PRINT_DPI) -> dict[str, bytes]:
    """Render a figure in each of `FORMATS`, by ending; `dpi` is that of the PNG."""
    return {"png": png(figure, dpi), "pdf": vector(figure, "pdf"), "svg": vector(figure, "svg")}


@cache
def _fonts() -> list[str]:
    installed = set(get_font_names())
    return [font for font in FONTS if font in installed]


@contextmanager
def _missing_glyphs_allowed() -> Iterator[None]:
    """Names may be in any script; a machine without its font draws boxes, which is no reason to warn."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield
