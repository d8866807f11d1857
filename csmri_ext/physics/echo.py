"""Where the echo of a scan lies in k-space, and how far from it a sample is."""

from __future__ import annotations

import torch
from torch import Tensor


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
