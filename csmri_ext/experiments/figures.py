"""What an experiment found, as the papers draw it: box plots, convergence, sweeps, images with their errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from csmri_ext.experiments.experiment import FLOPS_SIZE, Experiment
from csmri_ext.experiments.tables import cost
from csmri_ext.outputs import write_bytes
from csmri_ext.recon.panels import build_panels
from csmri_ext.recon.sampling import Sampling
from csmri_ext.recon.volumes import Volume
from csmri_ext.report.box_plots import box_plots
from csmri_ext.report.display import error_factor
from csmri_ext.report.figures import recon_figure
from csmri_ext.report.rows import Row
from csmri_ext.report.sheet import FORMATS, METHOD_COLORS, SCREEN_DPI, Sheet, every_format, style
from csmri_ext.report.store import Store
from csmri_ext.report.summary import Setting, summarise

if TYPE_CHECKING:
    from csmri_ext.experiments.training import Training

_WIDTH, _HEIGHT = 5.2, 3.2  # inches, of a panel
_QUALITY = (("psnr", "PSNR (dB)"), ("ssim", "SSIM"))


FIGURE_FILES = tuple(
    f"{stem}.{kind}" for stem in ("box_plots", "convergence", "quality", "flops", "panels_*") for kind in FORMATS
)
"""Names of all figures that an experiment may have."""


def draw_box_plots(store: Store) -> Path | None:
    """Draw PSNR and SSIM per slice of everything in the store to ``box_plots.png, pdf, svg``; None without rows."""
    figure = box_plots(summarise(store.rows))
    if figure is None:
        return None
    return _write(figure, store.folder, "box_plots")


def draw_convergence(experiment: Experiment, training: Training, folder: Path) -> Path | None:
    """Draw PSNR and SSIM of the validation slices over the steps, one row per setting, to ``convergence.png`` etc.

    Parameters
    ----------
    experiment, training
        Which runs there are; those that have not begun are left out.
    folder
        Where the figure goes.

    Returns
    -------
        The figure as PNG, or None where no run has been validated yet.
    """
    from csmri_ext.training.curves import read_curves

    curves = {
        setting: {name: read_curves(training.run_folder(setting, name)) for name in experiment.networks}
        for setting in experiment.settings
    }
    curves = {setting: runs for setting, runs in curves.items() if any(run.get("val_psnr") for run in runs.values())}
    if not curves:
        return None
    colors = dict(zip(experiment.networks, cycle(METHOD_COLORS), strict=False))
    dashes = dict(zip(experiment.networks, ["-"] * len(METHOD_COLORS) + ["--"] * len(colors), strict=False))
    with style():
        sheet = Sheet(_WIDTH * len(_QUALITY), _HEIGHT * len(curves))
        for row, (setting, runs) in enumerate(curves.items()):
            for column, (key, label) in enumerate(_QUALITY):
                axes = _axes(sheet, row, column, setting.title, "step", f"validation {label}")
                for name, run in runs.items():
                    if points := run.get(f"val_{key}"):
                        steps, values = zip(*points, strict=True)
                        marker = "o" if len(points) < 4 else None
                        axes.plot(
                            steps, values, dashes[name], color=colors[name], lw=1.3, marker=marker, ms=3, label=name
                        )
                if axes.get_lines():
                    axes.legend(fontsize=8, loc="lower right", facecolor="white", framealpha=0.85, edgecolor="none")
    return _write(sheet.figure, folder, "convergence")


def draw_sweep(experiment: Experiment, rows: Sequence[Row], folder: Path, *, real: bool = False) -> list[Path]:
    """Draw quality and operations over the number of cascades or cells, to ``quality`` and ``flops`` in every format.

    Parameters
    ----------
    experiment
        With `Experiment.sweep`; others have no such figures.
    rows
        Finished rows; networks without any are left out of the quality.
    folder
        Where the figures go.
    real
        Whether the images have no phase.
    """
    counts = {name: experiment.variants[name].count for name in experiment.networks if name in experiment.variants}
    scored = {name: [row for row in rows if row.method == name] for name in counts}
    scored = {name: own for name, own in scored.items() if own}
    if not experiment.sweep or not scored:
        return []
    written = []
    with style():
        sheet = Sheet(_WIDTH * len(_QUALITY), _HEIGHT)
        for column, (key, label) in enumerate(_QUALITY):
            axes = _axes(sheet, 0, column, "quality", f"number of {experiment.sweep}", label)
            _over(axes, counts, {name: float(np.mean([getattr(r, key) for r in own])) for name, own in scored.items()})
        written.append(_write(sheet.figure, folder, "quality"))
        sheet = Sheet(_WIDTH, _HEIGHT)
        label = f"FLOPs at {FLOPS_SIZE} x {FLOPS_SIZE} (1e9)"
        axes = _axes(sheet, 0, 0, "cost", f"number of {experiment.sweep}", label)
        _over(axes, counts, {name: cost(experiment, name, real=real).flops / 1e9 for name in counts})
        written.append(_write(sheet.figure, folder, "flops"))
    return written


def draw_panels(
    experiment: Experiment, store: Store, volumes: Sequence[Volume], sampling: Callable[[int], Sequence[Sampling]]
) -> list[Path]:
    """Draw, for every mask and acceleration, the middle slice of one test volume: images, detail, error maps.

    Parameters
    ----------
    experiment
        What was run.
    store
        Finished rows and their images.
    volumes
        The test volumes.
    sampling
        Mask settings of test volume i.

    Returns
    -------
        ``panels_MASK_R4.png`` and so on; the same as ``.pdf`` and ``.svg`` beside.
    """
    order = [*experiment.methods, *experiment.networks]
    written: dict[Setting, Path] = {}
    for number, volume in enumerate(volumes):
        grid = sampling(number)
        if all(Setting(one.kind, one.acceleration) in written for one in grid):
            continue
        for panel in build_panels(store, [volume], None, 1, grid):
            setting = Setting(panel.mask, panel.acceleration)
            if setting not in written:
                panel.recons = {name: panel.recons[name] for name in order if name in panel.recons}
                stem = f"panels_{panel.mask}_R{panel.acceleration:g}"
                written[setting] = _write(recon_figure(panel, error_factor([panel])), store.folder, stem)
    return list(written.values())


def _write(figure: Figure, folder: Path, stem: str) -> Path:
    """Write a figure in every format, and return the path of its PNG."""
    for kind, content in every_format(figure, SCREEN_DPI).items():
        write_bytes(folder / f"{stem}.{kind}", content)
    return folder / f"{stem}.png"


def _axes(sheet: Sheet, row: int, column: int, title: str, across: str, up: str) -> Axes:
    axes = sheet.axes(_WIDTH * column + 0.95, _HEIGHT * row + 0.35, _WIDTH - 1.15, _HEIGHT - 0.95)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.ticklabel_format(useOffset=False)
    axes.set_title(title, fontsize=9.5, fontweight="bold", loc="left")
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(up, fontsize=9)
    axes.tick_params(labelsize=8.5)
    axes.grid(color="0.9", linewidth=0.7)
    return axes


def _over(axes: Axes, counts: Mapping[str, int], values: Mapping[str, float]) -> None:
    points = sorted((counts[name], value) for name, value in values.items())
    axes.plot(*zip(*points, strict=True), "o-", color=METHOD_COLORS[0], lw=1.3, ms=4)
