"""A network as a method that has first fitted itself to the scan at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from csmri_ext.errors import InputError
from csmri_ext.recon.methods import Method, as_method
from csmri_ext.recon.problem import Problem

if TYPE_CHECKING:
    from csmri_ext.models.adapt import Adaptation

MOST_SLICES = 4  # that an adaptation looks at: a scan's slices have much in common


def adapted(
    method: Method,
    problem: Problem,
    *,
    steps: int,
    seconds: float | None = None,
    seed: int = 0,
    progress: Callable[[], object] = lambda: None,
) -> tuple[Method, Adaptation]:
    """Fit the network of a method to some slices of a scan, see `csmri_ext.models.adapt`.

    Parameters
    ----------
    method
        With a network of PyTorch; unchanged.
    problem
        Slices of the scan; at most four, evenly spaced, take part.
    steps, seconds, seed, progress
        As in `csmri_ext.models.adapt`.

    Returns
    -------
        The method with the new weights, and what was done.

    Raises
    ------
    InputError
        A method without a network of PyTorch; several coils without sensitivities.
    """
    network = method.network_for("--adapt")
    import torch

    from csmri_ext.models.adapt import adapt

    if problem.sens_maps is None and problem.kspace.shape[1] > 1:
        raise InputError("--adapt needs coil sensitivities, to predict samples that were held back: --sens-maps FILE")
    count = len(problem.kspace)
    chosen = sorted({round(i) for i in np.linspace(0, count - 1, min(count, MOST_SLICES))})
    kspace = torch.from_numpy(np.ascontiguousarray(problem.kspace[chosen])).to(problem.device)
    maps = problem.sens_maps
    module, told = adapt(
        network.module.to(problem.device),
        kspace[:, 0] if maps is None else kspace,
        torch.from_numpy(np.ascontiguousarray(problem.mask)).to(problem.device),
        None if maps is None else torch.from_numpy(np.ascontiguousarray(maps[chosen])).to(problem.device),
        steps=steps,
        seconds=seconds,
        seed=seed,
        progress=progress,
    )
    return as_method(network.with_module(module), method.description), told
