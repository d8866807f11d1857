"""Samples held back from a reconstruction, which then have to be predicted: what can be judged without a reference."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from csmri_ext.physics.fourier import fft2c

CENTER = 4  # rows and columns around the echo that are never held back: nothing predicts them


def hold_back(
    mask: Tensor, share: float, generator: torch.Generator, echoes: Iterable[tuple[int, int]] = ()
) -> tuple[Tensor, Tensor]:
    """Split acquired samples at random, one by one.

    Parameters
    ----------
    mask
        bool ``(ny, nx)``, True where acquired.
    share
        Probability with which a sample is held back, above 0, below 1.
    generator
        Source of the random numbers, on the CPU.
    echoes
        Row and column of the echo of each slice that is split in this way (`csmri_ext.physics.find_echo`): 4 x 4
        samples around each of them are kept. None given: ``(ny // 2, nx // 2)``.

    Returns
    -------
        The samples that are kept and those that are held back, bool ``(ny, nx)``, disjoint, together `mask`.

    Raises
    ------
    ValueError
        Another shape or share.
    """
    if mask.ndim != 2 or not 0 < share < 1:
        raise ValueError(f"mask {tuple(mask.shape)}, share {share:g}: expected (ny, nx) and a share between 0 and 1")
    drawn = torch.rand(mask.shape, generator=generator) < share
    ny, nx = mask.shape
    half = CENTER // 2
    for y, x in list(echoes) or [(ny // 2, nx // 2)]:
        drawn[max(y - half, 0) : y + half, max(x - half, 0) : x + half] = False
    held = mask & drawn.to(mask.device)
    return mask & ~held, held


def kspace_error(image: Tensor, kspace: Tensor, mask: Tensor, sens_maps: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Relative errors with which an image predicts samples, differentiable.

    ``||d||_2 / ||y||_2`` and ``||d||_1 / ||y||_1`` of ``d = M F S x - M y``, over the whole batch; the l1 norm is the
    sum of the absolute real and imaginary parts.

    Parameters
    ----------
    image
        x, complex ``(batch, ny, nx)``.
    kspace
        y, complex ``(batch, ny, nx)``, or ``(batch, coils, ny, nx)`` with sensitivities.
    mask
        M, bool, broadcasts to `kspace`: which samples are judged.
    sens_maps
        S, complex ``(batch, coils, ny, nx)``; None for one coil.
    """
    predicted = fft2c(image if sens_maps is None else sens_maps * image.unsqueeze(1))
    difference = torch.view_as_real((predicted - kspace) * mask)
    measured = torch.view_as_real(kspace * mask)
    tiny = torch.finfo(measured.dtype).tiny
    l2 = difference.square().sum().sqrt() / measured.square().sum().sqrt().clamp_min(tiny)
    return l2, difference.abs().sum() / measured.abs().sum().clamp_min(tiny)
