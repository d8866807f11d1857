"""What an experiment found: tables beside the published numbers, box plots, convergence of every network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator
from rich import box
from rich.console import Console
from rich.table import Table

from csmri_ext.experiments.experiment import FLOPS_SIZE, Experiment, Published, Setting
from csmri_ext.report.box_plots import box_plots
from csmri_ext.report.canvas import METHOD_COLORS, SCREEN_DPI, Canvas, png, style
from csmri_ext.report.rows import Row
from csmri_ext.report.store import Store, write_bytes
from csmri_ext.report.summary import si, summarise, three_digits

if TYPE_CHECKING:
    from csmri_ext.experiments.training import Training

_METRICS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("psnr", "PSNR (dB)", "{:.2f}".format),
    ("ssim", "SSIM", "{:.4f}".format),
    ("nmse", "NMSE", three_digits),
    ("mse", "MSE", three_digits),
)

_WIDTH, _HEIGHT = 5.2, 3.2  # inches, of a panel


def print_experiment(
    experiment: Experiment, rows: Sequence[Row], images: str, size: tuple[int, int], console: Console
) -> None:
    """Print one table per setting, ours beside the published numbers, and what is known to be wrong with the latter.

    Parameters
    ----------
    experiment
        What was run.
    rows
        Finished rows.
    images
        Format of the images; published scores are shown for the images of the paper only.
    size
        Rows and columns of the images.
    console
        Where to print.
    """
    console.print(experiment.title, style="bold", highlight=False, soft_wrap=True)
    for setting in experiment.settings:
        members = [row for row in rows if row.mask == setting.mask and row.acceleration in setting.accelerations]
        if not members:
            continue
        count = len({row.volume for row in members})
        spread = "1 volume" if count == 1 else f"{count} volumes, mean ± standard deviation over volumes"
        console.print(f"{setting.title} ({spread})", highlight=False, soft_wrap=True)
        table, lacking = _table(experiment, setting, members, scores=experiment.scores_for == images)
        console.print(table)
        if lacking:
            console.print(f"published {', '.join(lacking)}: not in our notes", highlight=False, soft_wrap=True)
    if set(size) != {FLOPS_SIZE} and any(published.flops for published in experiment.networks.values()):
        sizes = f"ours of {size[0]} x {size[1]}, published of {FLOPS_SIZE} x {FLOPS_SIZE}"
        console.print(f"note: FLOPs per slice, {sizes}", highlight=False, soft_wrap=True)
    for note in experiment.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def _table(experiment: Experiment, setting: Setting, rows: Sequence[Row], *, scores: bool) -> tuple[Table, list[str]]:
    """Give the table, and the headings of the columns for which no published number is known."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("network", no_wrap=True)
    names = [name for name in (*experiment.methods, *experiment.networks) if any(row.method == name for row in rows)]
    cells = {name: [name] for name in names}
    volumes = len({row.volume for row in rows})
    lacking: list[str] = []
    for key, heading, words in _METRICS:
        published = {name: _score(experiment.networks.get(name), setting, key) if scores else "" for name in names}
        table.add_column(heading, justify="right", no_wrap=True)
        for name in names:
            cells[name].append(_mean([getattr(row, key) for row in rows if row.method == name], words, volumes))
        _add_published(table, cells, published, heading, lacking)
    for key in ("parameters", "flops"):
        heading = "FLOPs" if key == "flops" else key
        table.add_column(heading, justify="right", no_wrap=True)
        for name in names:
            count = next(getattr(row, key) for row in rows if row.method == name)
            cells[name].append(si(count) if count else "-")
        published = {name: getattr(experiment.networks.get(name, Published()), key) for name in names}
        _add_published(table, cells, published, heading, lacking)
    for row in cells.values():
        table.add_row(*row)
    return table, lacking


def _add_published(
    table: Table, cells: dict[str, list[str]], published: dict[str, str], heading: str, lacking: list[str]
) -> None:
    if not any(published.values()):
        lacking.append(heading)
        return
    table.add_column("published", justify="right", no_wrap=True, style="italic")
    for name, text in published.items():
        cells[name].append(text or "-")


def _score(published: Published | None, setting: Setting, key: str) -> str:
    """Write a published score as the paper has it: three decimals; empty where it is not known."""
    known = getattr(published, key, {})
    return f"{known[setting.title]:.3f}" if setting.title in known else ""


def _mean(values: Sequence[float], words: Callable[[float], str], volumes: int) -> str:
    text = words(float(np.mean(values)))
    if len(values) > 1:
        text += f" ± {words(float(np.std(values, ddof=1)))}"
    return text if len(values) == volumes else f"{text} ({len(values)} of {volumes})"


def draw_box_plots(store: Store) -> Path | None:
    """Draw PSNR and SSIM per slice of everything in the store to ``box_plots.png``; None without rows."""
    figure = box_plots(summarise(store.rows))
    if figure is None:
        return None
    return write_bytes(store.folder / "box_plots.png", png(figure, SCREEN_DPI))


def draw_convergence(experiment: Experiment, training: Training, folder: Path) -> Path | None:
    """Draw the validation PSNR of all networks over the steps, one panel per setting, to ``convergence.png``.

    Parameters
    ----------
    experiment, training
        Which runs there are; those that have not begun are left out.
    folder
        Where the figure goes.

    Returns
    -------
        The figure, or None where no run has been validated yet.
    """
    from csmri_ext.training.curves import read_curves

    curves = {
        setting: {
            name: points
            for name in experiment.networks
            if (points := read_curves(training.run_folder(setting, name)).get("val_psnr"))
        }
        for setting in experiment.settings
    }
    curves = {setting: lines for setting, lines in curves.items() if lines}
    if not curves:
        return None
    colors = dict(zip(experiment.networks, cycle(METHOD_COLORS), strict=False))
    dashes = dict(zip(experiment.networks, ["-"] * len(METHOD_COLORS) + ["--"] * len(colors), strict=False))
    with style():
        columns = min(len(curves), 2)
        canvas = Canvas(_WIDTH * columns, _HEIGHT * -(-len(curves) // columns))
        for number, (setting, lines) in enumerate(curves.items()):
            row, column = divmod(number, columns)
            axes = canvas.axes(_WIDTH * column + 0.75, _HEIGHT * row + 0.35, _WIDTH - 0.95, _HEIGHT - 0.95)
            for name, points in lines.items():
                steps, values = zip(*points, strict=True)
                marker = "o" if len(points) < 4 else None
                axes.plot(steps, values, dashes[name], color=colors[name], lw=1.3, marker=marker, ms=3, label=name)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(6))
            axes.ticklabel_format(useOffset=False)
            axes.set_title(setting.title, fontsize=9.5, fontweight="bold", loc="left")
            axes.set_xlabel("step", fontsize=9)
            axes.set_ylabel("validation PSNR (dB)", fontsize=9)
            axes.tick_params(labelsize=8.5)
            axes.grid(color="0.9", linewidth=0.7)
            axes.legend(fontsize=8, loc="lower right", facecolor="white", framealpha=0.85, edgecolor="none")
    return write_bytes(folder / "convergence.png", png(canvas.figure, SCREEN_DPI))
