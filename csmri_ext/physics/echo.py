"""Where the echo of a scan lies in k-space, and how far from it a sample is."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STANDS_OUT = 20.0  # times the mean energy: noise reaches ten times its mean, not more


def find_echo(kspace: Tensor | NDArray[Any]) -> tuple[int, int]:
    """Find the echo of one slice: its strongest sample, all coils together, or the middle where none stands out.

    Parameters
    ----------
    kspace
        Complex, or magnitudes, ``(..., ny, nx)``, zero where nothing was acquired; leading axes are coils.

    Returns
    -------
        Row and column; ``(ny // 2, nx // 2)`` where no sample has 20 times the mean energy, as in noise.
    """
    values = kspace.detach().cpu().numpy() if isinstance(kspace, Tensor) else np.asarray(kspace)
    strength = np.abs(values).astype(np.float64).reshape(-1, *values.shape[-2:])
    energy = (strength**2).sum(axis=0)
    ny, nx = energy.shape
    place = int(energy.argmax())
    if not energy.flat[place] >= STANDS_OUT * energy.mean() > 0:
        return ny // 2, nx // 2
    return place // nx, place % nx


def distances_from_echo(strength: Tensor) -> tuple[Tensor, Tensor]:
    """Distances of rows and of columns from the strongest sample, in a k-space that is periodic, as transforms have it.

    Parameters
    ----------
    strength
        Magnitude or energy of the samples, real, ``(..., ny, nx)``.

    Returns
    -------
        Whole numbers of 0 or more, ``(..., ny, 1)`` and ``(..., 1, nx)``.
    """
    ny, nx = strength.shape[-2:]
    echo = strength.flatten(-2).argmax(-1)
    return _distances(echo // nx, ny)[..., :, None], _distances(echo % nx, nx)[..., None, :]


def _distances(center: Tensor, n: int) -> Tensor:
    index = torch.arange(n, device=center.device)
    return ((index - center[..., None] + n // 2).remainder(n) - n // 2).abs()
