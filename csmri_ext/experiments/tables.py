"""What an experiment found, in numbers: ours above those that the paper prints, on the terminal and as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from csmri_ext.experiments.experiment import FLOPS_SIZE, Experiment, ExperimentSetting, Published
from csmri_ext.outputs import write_bytes
from csmri_ext.report.rows import Row
from csmri_ext.report.summary import three_digits

COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("psnr", "PSNR (dB)", "{:.2f}".format),
    ("ssim", "SSIM", "{:.4f}".format),
    ("nmse", "NMSE", three_digits),
    ("mse", "MSE", three_digits),
)
OURS, PAPER = "ours", "paper"
_UNITS = {"K": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True)
class Cost:
    """Learned numbers of a network, and its operations on a slice of `FLOPS_SIZE`, counted as its paper does."""

    parameters: int
    flops: int


def cost(experiment: Experiment, name: str, *, real: bool) -> Cost:
    """Count what a network of the table costs, by the rule of the published number.

    Parameters
    ----------
    experiment, name
        The table and a network of it.
    real
        Whether the images have no phase.
    """
    overrides, relu = experiment.overrides(name, real=real), experiment.networks[name].relu
    model = experiment.model(name)
    key = model, repr(sorted(overrides.items())), relu
    if key not in _COSTS:
        _COSTS[key] = _count(model, overrides, relu)
    return _COSTS[key]


# One pass through shapes takes a second for GA-HQS, and every setting, file and figure of a table asks again.
_COSTS: dict[tuple[str, str, bool], Cost] = {}


def _count(model: str, overrides: Mapping[str, Any], relu: bool) -> Cost:
    import torch

    from csmri_ext.complexity import count_flops, count_parameters
    from csmri_ext.models import build

    with torch.device("meta"):  # shapes alone
        network = build(model, overrides)
    return Cost(count_parameters(network), count_flops(network, (FLOPS_SIZE, FLOPS_SIZE), relu=relu))


def in_units_of(printed: str, count: int, default: str) -> str:
    """Write a count with the unit and the decimals of a printed one: ``(142272, "142.3K")`` gives ``142.3K``.

    Parameters
    ----------
    printed
        As in `Published`; empty where nothing is printed.
    count
        Ours.
    default
        What stands for `printed` there.
    """
    pattern = printed.rstrip("?") or default
    decimals = len(pattern[:-1].partition(".")[2])
    return f"{count / _UNITS[pattern[-1]]:.{decimals}f}{pattern[-1]}"


def print_experiment(
    experiment: Experiment, rows: Sequence[Row], images: str, console: Console, *, real: bool = False
) -> None:
    """Print one table per setting, the published numbers below ours, and what is known to be wrong with the former.

    Parameters
    ----------
    experiment
        What was run.
    rows
        Finished rows.
    images
        Format of the images; published scores are shown for the images of the paper only.
    console
        Where to print.
    real
        Whether the images have no phase.
    """
    console.print(experiment.title, style="bold", highlight=False, soft_wrap=True)
    for setting in experiment.settings:
        members = _rows_at(setting, rows)
        if not members:
            continue
        count = len({row.volume for row in members})
        spread = "1 volume" if count == 1 else f"{count} volumes, mean ± standard deviation over volumes"
        console.print(f"{setting.title} ({spread})", highlight=False, soft_wrap=True)
        console.print(_table(experiment, setting, members, images, real))
        if not experiment.scores.get(images, {}).get(setting.title):
            console.print(f"the paper has no scores for {images} at {setting.title}", highlight=False, soft_wrap=True)
    for note in experiment.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def _table(experiment: Experiment, setting: ExperimentSetting, rows: Sequence[Row], images: str, real: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("network", ""):
        table.add_column(heading, no_wrap=True)
    for heading in (*(heading for _, heading, _ in COLUMNS), "parameters", f"FLOPs at {FLOPS_SIZE} x {FLOPS_SIZE}"):
        table.add_column(heading, justify="right", no_wrap=True)
    volumes = len({row.volume for row in rows})
    for name in _names(experiment, rows):
        own = [row for row in rows if row.method == name]
        means = [_mean([getattr(row, key) for row in own], words, volumes) for key, _, words in COLUMNS]
        published = experiment.networks.get(name, Published())
        counts = ["-", "-"]
        if name in experiment.networks:
            ours = cost(experiment, name, real=real)
            counts[0] = in_units_of(published.parameters, ours.parameters, "0.0K")
            counts[1] = in_units_of(published.flops, ours.flops, "0.00G")
        table.add_row(name, OURS, *means, *counts)
        printed = [experiment.score(images, setting, name, key) for key, _, _ in COLUMNS]
        sizes = [published.parameters.replace("?", " ?"), published.flops.replace("?", " ?")]
        if any((*printed, *sizes)):
            table.add_row(
                "", PAPER, *(str(score or "-") for score in printed), *(s or "-" for s in sizes), style="italic"
            )
    return table


def write_table(experiment: Experiment, rows: Sequence[Row], images: str, path: Path, *, real: bool = False) -> Path:
    """Write the same numbers as CSV: two lines per setting and network, ``ours`` and ``paper``.

    Parameters
    ----------
    experiment, rows, images, real
        As in `print_experiment`.
    path
        Of the file.
    """
    metrics = [heading for key, _, _ in COLUMNS for heading in (key, f"{key}_sd")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["setting", "network", "from", "volumes", *metrics, "parameters", "flops", "doubtful"])
    for setting in experiment.settings:
        members = _rows_at(setting, rows)
        for name in _names(experiment, members):
            own = [row for row in members if row.method == name]
            values: list[float | str] = []
            for key, _, _ in COLUMNS:
                scores = [getattr(row, key) for row in own]
                values += [float(np.mean(scores)), float(np.std(scores, ddof=1)) if len(scores) > 1 else ""]
            ours = cost(experiment, name, real=real) if name in experiment.networks else None
            counts = [ours.parameters, ours.flops] if ours else ["", ""]
            writer.writerow([setting.title, name, OURS, len(own), *values, *counts, ""])
            writer.writerow([setting.title, name, PAPER, "", *_printed(experiment, setting, name, images)])
    return write_bytes(path, text.getvalue().encode())


def _printed(experiment: Experiment, setting: ExperimentSetting, name: str, images: str) -> list[str]:
    """Cells of a published line: means and deviations in units of one, counts as printed, what is doubtful."""
    cells, doubtful = [], []
    for key, _, _ in COLUMNS:
        score = experiment.score(images, setting, name, key)
        exponent = f"e{score.exponent}" if score and score.exponent else ""
        cells += [score.mean + exponent, score.sd + exponent if score.sd else ""] if score else ["", ""]
        doubtful += [key] if score and score.doubtful else []
    published = experiment.networks.get(name, Published())
    for key in ("parameters", "flops"):
        printed = getattr(published, key)
        cells.append(printed.rstrip("?"))
        doubtful += [key] if printed.endswith("?") else []
    return [*cells, " ".join(doubtful)]


def _rows_at(setting: ExperimentSetting, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.mask == setting.mask and row.acceleration in setting.accelerations]


def _names(experiment: Experiment, rows: Sequence[Row]) -> list[str]:
    return [name for name in (*experiment.methods, *experiment.networks) if any(row.method == name for row in rows)]


def _mean(values: Sequence[float], words: Callable[[float], str], volumes: int) -> str:
    mean = float(np.mean(values))
    text = words(mean)
    if len(values) > 1 and math.isfinite(mean):
        text += f" ± {words(float(np.std(values, ddof=1)))}"
    return text if len(values) == volumes else f"{text} ({len(values)} of {volumes})"
