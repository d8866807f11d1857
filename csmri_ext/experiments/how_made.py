"""With what the rows of an experiment were made that its table does not say: weights, sensitivities, masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from csmri_ext.bridge.first_few import first_few
from csmri_ext.experiments.experiment import Experiment
from csmri_ext.report.rows import Row

_SHOWN = 4  # settings named in a line


def how_made(experiment: Experiment, rows: Sequence[Row], masks: Sequence[dict[str, Any]]) -> list[str]:
    """Say it in lines, one for all settings alike; of rows of earlier runs, too.

    Parameters
    ----------
    experiment
        Its settings and their order.
    rows
        Finished rows.
    masks
        Entries of ``provenance["masks"]``.

    Returns
    -------
        Such as ``nasn, random 4x: weights: nasn.safetensors, sha256 0123456789abcdef; sensitivities: file`` and
        ``mask random 4x: 25.0 % of the samples, seeded by the names of the files``.
    """
    places: dict[tuple[str, str], list[str]] = {}
    for setting in experiment.settings:
        for row in rows:
            if row.mask == setting.mask and row.acceleration in setting.accelerations and _of_row(row):
                titles = places.setdefault((row.method, _of_row(row)), [])
                titles += [] if setting.title in titles else [setting.title]
    lines = [f"{name}, {', '.join(first_few(titles, _SHOWN))}: {what}" for (name, what), titles in places.items()]
    return lines + _of_masks(masks)


def _of_row(row: Row) -> str:
    details, parts = row.details, []
    if "weights" in details:
        parts.append(f"weights: {details['weights']}")
    elif "weight" in details:
        parts.append(f"weight {details['weight']:g}, {details.get('weight_grid', 'fixed')}")
    if "sens_maps" in details:
        parts.append(f"sensitivities: {details['sens_maps']}")
    return "; ".join(parts)


def _of_masks(masks: Sequence[dict[str, Any]]) -> list[str]:
    settings: dict[str, list[dict[str, Any]]] = {}
    for entry in masks:
        settings.setdefault(str(entry["setting"]), []).append(entry)
    lines = []
    for title, entries in settings.items():
        shares = [100 * float(entry["sampled"]) for entry in entries]
        share = " to ".join(dict.fromkeys(f"{each:.1f}" for each in (min(shares), max(shares))))
        source = f", of the file {entries[0]['file']}" if "file" in entries[0] else ", seeded by the names of the files"
        lines.append(f"mask {title}: {share} % of the samples{source}")
    return lines
