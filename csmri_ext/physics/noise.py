"""The noise of several coils, from the samples far from the centre of k-space."""

from __future__ import annotations

import torch
from torch import Tensor

from csmri_ext.physics.echo import distances_from_echo

OUTER = 0.8  # of the way from the echo to the farthest sample: what lies beyond, along either axis, is looked at
_SQUARINGS = 3  # of the inverse covariance
_LOADING = 1e-6  # of the mean eigenvalue, so that coils without noise have an inverse too


def noise_variance(kspace: Tensor, mask: Tensor | None) -> Tensor:
    """Estimate the variance of the noise in real and imaginary part.

    Far from the echo the signal of all coils is a mixture of few patterns, and the noise is in every direction. So the
    smallest eigenvalues of their covariance R there are those of the noise::

        sigma^2 = (tr(R^-8) / coils)^(-1/8) / 2

    a mean of the eigenvalues in which the smallest decide. It is exact for noise that is equal and independent in all
    coils, and too high where signal is left in every direction, as it is in two or three coils.

    Parameters
    ----------
    kspace
        complex, ``(coils, ny, nx)`` or ``(batch, coils, ny, nx)``, zero frequency at ``n // 2``; of magnitudes whose
        squares the dtype holds. Values that the mask excludes do not matter.
    mask
        bool, True where acquired; broadcasts to `kspace`. None: everywhere.

    Returns
    -------
        Real, ``()`` or ``(batch,)``; 0 where there is nothing. Differentiable.
    """
    outer = _outer(kspace, mask)
    samples = torch.where(outer, kspace, 0).flatten(-2)
    count = outer.sum((-2, -1)).amax(-1).clamp_min(1)
    covariance = samples @ samples.mH / count[..., None, None]
    coils = kspace.shape[-3]
    mean = _trace(covariance) / coils
    unit = torch.where(mean > 0, mean, 1)[..., None, None]
    loading = _LOADING * torch.eye(coils, dtype=kspace.dtype, device=kspace.device)
    inverse = torch.linalg.inv_ex(covariance / unit + loading).inverse  # waits for nothing, as eigenvalues would
    size = _trace(inverse) / coils
    inverse = inverse / size[..., None, None]
    for _ in range(_SQUARINGS):
        inverse = inverse @ inverse
    soft = (_trace(inverse) / coils) ** (-1 / 2**_SQUARINGS) / size
    return mean * soft / 2


def _outer(kspace: Tensor, mask: Tensor | None) -> Tensor:
    """Acquired samples beyond `OUTER` of the way from the echo to the farthest one, along either axis; broadcasts."""
    ny, nx = kspace.shape[-2:]
    if mask is None:
        mask = torch.ones((1, 1), dtype=torch.bool, device=kspace.device)
    mask = mask.broadcast_to((*mask.shape[:-2], ny, nx))
    energy = torch.where(mask, kspace, 0).detach().abs().square().sum(-3, keepdim=True)
    y, x = distances_from_echo(energy)
    farthest_y = torch.where(mask.any(-1, keepdim=True), y, 0).amax((-2, -1), keepdim=True)
    farthest_x = torch.where(mask.any(-2, keepdim=True), x, 0).amax((-2, -1), keepdim=True)
    return mask & ((y > OUTER * farthest_y) | (x > OUTER * farthest_x))


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).real.sum(-1)
