"""Learning curves of a run as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

from csmri_ext.bridge.atomic import replacing
from csmri_ext.training.run_files import CURVES

_LOSS, _PSNR = ("loss_epoch", "training loss"), ("val_psnr", "validation PSNR (dB)")
_RESIDUAL = ("val_residual", "error of held-back samples")


def read_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read the CSV logs of all starts of a run; where a start repeats steps, its values count.

    Parameters
    ----------
    folder
        Of the run.

    Returns
    -------
        ``(step, value)`` in order of the step, for every logged quantity.
    """
    found: dict[str, dict[int, float]] = {}
    for path in sorted((folder / "csv").glob("part_*/metrics.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if value and name not in ("step", "epoch"):
                        found.setdefault(name, {})[int(row["step"])] = float(value)
    return {name: sorted(values.items()) for name, values in found.items()}


def draw_curves(folder: Path) -> Path:
    """Draw loss and validation of a run over its steps to ``curves.png``.

    Parameters
    ----------
    folder
        Of the run.
    """
    from matplotlib.figure import Figure

    curves = read_curves(folder)
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = (_LOSS, _RESIDUAL if "val_residual" in curves else _PSNR)
    for axes, (name, title) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        points = curves.get(name, [])
        axes.plot([step for step, _ in points], [value for _, value in points], lw=1.2)
        if name.startswith("loss") and points:
            axes.set_yscale("log")
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
    path = folder / CURVES
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    return path
