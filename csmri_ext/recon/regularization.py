"""Regularisation weights of a comparison: fixed by the user, or tuned on slices that the result is not judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.fourier import center_crop
from csmri_ext.recon.evaluate import Problems
from csmri_ext.recon.methods import tuned_by
from csmri_ext.recon.problem import TV_WEIGHT, Problem
from csmri_ext.recon.sampling import Sampling
from csmri_ext.recon.volumes import Volume, spread
from csmri_ext.recon.weight_search import WeightSearch, tune_weight
from csmri_ext.report.rows import ChosenWeight

MOST_VOLUMES = 4  # volumes that give a validation slice; more would take time and hardly move the weight
SLICES_OF_ONE = 3  # validation slices where there is a single volume
GRIDS = {"tv": (0.002, 0.005, 0.01, 0.02, 0.05, 0.1), "wavelet": (0.0005, 0.001, 0.002, 0.004, 0.008)}


def tune(
    family: str,
    sampling: Sampling,
    volumes: Sequence[Volume],
    separate: Sequence[Volume],
    problems: Problems,
    progress: Callable[[], object] | None = None,
) -> tuple[dict[str, ChosenWeight], list[dict[str, Any]]]:
    """Choose the weight of one family at one mask setting, by the least mean NMSE of validation slices.

    With `separate` data the weight is tuned there. Otherwise one slice of each of up to `MOST_VOLUMES` volumes is a
    validation slice, and no volume takes part in its own choice (leave one out). A single volume has only its own
    slices to offer; the reason then says that the result is optimistic.

    Parameters
    ----------
    family
        ``"tv"`` or ``"wavelet"``.
    sampling
        A mask setting; not the data's own mask.
    volumes
        Volumes that will be reported; they have a reference.
    separate
        Validation volumes that will not be reported; may be empty.
    problems
        Makes the undersampled slices.
    progress
        Called after each reconstruction.

    Returns
    -------
        The weight of each volume, by label, and the table of mean errors (`WeightSearch.table`).
    """
    chosen = validation_slices(separate or volumes)
    tasks = [(problems.get(volume, sampling, [index]), _reference(volume, index)) for volume, index in chosen]
    method = tuned_by(family)

    def reconstruct(problem: Problem, weight: float) -> NDArray[Any]:
        image = method.reconstruct(replace(problem, weights={family: weight})).image[0]
        return center_crop(image, problem.image_size)

    search = tune_weight(reconstruct, tasks, GRIDS[family], progress=progress)
    labels = [volume.label for volume, _ in chosen]
    leave_out = not separate and len(set(labels)) > 1
    weights = {
        volume.label: search.weight_without(labels.index(volume.label))
        if leave_out and volume.label in labels
        else search.weight
        for volume in volumes
    }
    reason = _reason(method.name, search, bool(separate), leave_out)
    return {label: ChosenWeight(weight, reason) for label, weight in weights.items()}, search.table


def untuned(value: float | None) -> ChosenWeight:
    """Take the user's weight, or the usual one where there is no reference to tune on."""
    if value is None:
        return ChosenWeight(TV_WEIGHT, "the usual value: without a reference there is nothing to tune on")
    return ChosenWeight(value, "given on the command line")


def number_of_trials(family: str, volumes: Sequence[Volume]) -> int:
    """Count the reconstructions that `tune` makes on these volumes, unless it extends the grid."""
    return len(GRIDS[family]) * len(validation_slices(volumes))


def validation_slices(volumes: Sequence[Volume]) -> list[tuple[Volume, int]]:
    """Pick the slices to tune on: the middle one of a few volumes, or a few of a single volume."""
    if len(volumes) == 1:
        (volume,) = volumes
        return [(volume, volume.slices[i]) for i in spread(len(volume.slices), SLICES_OF_ONE)]
    picked = [volumes[i] for i in spread(len(volumes), MOST_VOLUMES)]
    return [(volume, volume.slices[len(volume.slices) // 2]) for volume in picked]


def has_reference(volume: Volume) -> bool:
    """Say whether a volume can be tuned on: fully sampled, with a reference."""
    return volume.acquisition.mask is None and volume.acquisition.target is not None


def _reference(volume: Volume, index: int) -> NDArray[np.float32]:
    target = volume.target([index])
    assert target is not None, "callers keep to volumes with a reference"
    return target[0]


def _reason(method: str, search: WeightSearch, separate: bool, leave_out: bool) -> str:
    count = search.errors.shape[1]
    slices = f"{count} slice{'' if count == 1 else 's'}"
    if separate:
        data = f"{slices} of separate validation data"
    elif leave_out:
        data = f"one slice of each of {count} volumes, always without the volume that is reported"
    else:
        data = f"{slices} of the reported volume itself, which is optimistic"
    edge = "; the best one lies at the edge of the grid" if search.at_edge else ""
    tried = f"{len(search.weights)} weights from {search.weights[0]:g} to {search.weights[-1]:g}"
    return f"{tried}, least mean {search.metric.upper()} of {method} on {data}{edge}"
