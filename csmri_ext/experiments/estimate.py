"""How long an experiment will take, measured before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from csmri_ext.experiments.experiment import Experiment

if TYPE_CHECKING:
    from csmri_ext.training import Recipe

T = TypeVar("T")

_LONG = 5.0  # seconds: a first step that takes longer counts, though it has warmed up in the same time
_FEW = 20  # steps: a shorter training is not worth three more passes before it


@dataclass(frozen=True)
class Pace:
    """Seconds of one step of a training, and of one slice of a test."""

    step: float
    slice: float


def measure(
    experiment: Experiment, name: str, recipe: Recipe, shape: tuple[int, ...], device: str, *, real: bool
) -> Pace:
    """Take one step with a network, and reconstruct one slice, of noise.

    Both are done twice, since the first time loads libraries and plans; where the training has at most 20 steps, the
    forward pass of a single step gives the time of a slice too, so that the estimate costs less than what it estimates.

    Parameters
    ----------
    experiment, name
        The table and a network of it.
    recipe
        Gives the batch; where it has sizes, the time is that of their mean area.
    shape
        ``(ny, nx)`` or ``(coils, ny, nx)`` of an image.
    device
        ``cpu`` or ``cuda``.
    real
        Whether the images have no phase.
    """
    import torch

    from csmri_ext.models import build

    network = build(experiment.model(name), experiment.overrides(name, real=real)).to(device)
    optimizer = torch.optim.Adam(network.parameters(), recipe.learning_rate)
    mask = torch.zeros(shape[-1], dtype=torch.bool, device=device)
    mask[::4] = mask[shape[-1] // 2 - 2 : shape[-1] // 2 + 2] = True

    def run(batch: int) -> torch.Tensor:
        kspace = mask * torch.randn(batch, *shape, dtype=torch.complex64, device=device)
        maps = torch.ones_like(kspace) / shape[0] ** 0.5 if len(shape) == 3 else None
        image: torch.Tensor = network(kspace, mask, maps)
        return image

    def learn(image: torch.Tensor) -> None:
        optimizer.zero_grad()
        image.abs().mean().backward()
        optimizer.step()

    def step() -> None:
        learn(run(recipe.batch_size))

    def forward() -> None:
        with torch.no_grad():
            run(1)

    area = float(np.mean([(size or shape[-1]) ** 2 for size in recipe.sizes])) / shape[-1] ** 2
    if recipe.steps <= _FEW:
        image, there = _timed(lambda: run(recipe.batch_size), device)
        _, back = _timed(lambda: learn(image), device)
        return Pace((there + back) * area, there / recipe.batch_size)
    return Pace(_seconds(step, device) * area, _seconds(forward, device))


def _seconds(work: Callable[[], None], device: str) -> float:
    seconds = 0.0
    for _ in range(2):  # the first loads libraries and plans
        _, seconds = _timed(work, device)
        if seconds > _LONG:
            break
    return seconds


def _timed(work: Callable[[], T], device: str) -> tuple[T, float]:
    import torch

    start = time.perf_counter()
    result = work()
    if device == "cuda":
        torch.cuda.synchronize()
    return result, time.perf_counter() - start
