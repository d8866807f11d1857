"""What `csmri reproduce` says of its rows besides their scores."""

from __future__ import annotations

from dataclasses import replace

from csmri_ext.experiments.experiment import ExperimentSetting, experiments
from csmri_ext.experiments.how_made import how_made
from csmri_ext.report.rows import Row


def row(method: str, acceleration: float, **details: object) -> Row:
    return Row(method, "random", acceleration, "knee", 1, None, None, None, None, 1.0, 0, None, details=details)


def test_weights_sensitivities_and_masks_one_line_for_all_alike() -> None:
    settings = tuple(ExperimentSetting("random", (r,)) for r in (4.0, 8.0))
    experiment = replace(next(iter(experiments().values())), settings=settings)
    rows = [
        row("zero-filled", 4.0),
        row("tv", 4.0, weight=0.01, weight_grid="the NasN paper's", iterations=200),
        row("tv", 8.0, weight=0.01, weight_grid="the NasN paper's", iterations=200),
        row("nasn", 4.0, weights="nasn.safetensors, sha256 01", sens_maps="file"),
        row("nasn", 8.0, weights="nasn.safetensors, sha256 02", sens_maps="file"),
    ]
    masks = [{"setting": "random 4x", "sampled": share} for share in (0.25, 0.27)]
    masks += [{"setting": "random 10x", "sampled": share} for share in (0.101, 0.098)]
    masks += [{"setting": "mask.npy", "sampled": 0.5, "file": "mask.npy"}]
    assert how_made(experiment, rows, masks) == [
        "tv, random 4x, random 8x: weight 0.01, the NasN paper's",
        "nasn, random 4x: weights: nasn.safetensors, sha256 01; sensitivities: file",
        "nasn, random 8x: weights: nasn.safetensors, sha256 02; sensitivities: file",
        "mask random 4x: 25.0 to 27.0 % of the samples, seeded by the names of the files",
        "mask random 10x: 9.8 to 10.1 % of the samples, seeded by the names of the files",
        "mask mask.npy: 50.0 % of the samples, of the file mask.npy",
    ]
