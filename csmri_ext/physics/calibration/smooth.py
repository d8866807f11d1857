"""Sensitivities read off the low-resolution coil images themselves, one pixel or its neighbourhood at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from csmri_ext.physics.calibration.center import Place, smooth_images
from csmri_ext.physics.coils import align_phase

NEIGHBOURHOOD = 3
POWER_ITERATIONS = 10


def low_resolution_maps(center: Tensor, ny: int, nx: int, echo: Place | None = None) -> Tensor:
    """``m_c`` itself, not normalised: the tapered centre at full size, ``(batch, coils, ny, nx)``."""
    return smooth_images(center, ny, nx, echo=echo)


def adaptive_maps(center: Tensor, ny: int, nx: int, echo: Place | None = None) -> Tensor:
    """Principal eigenvector of the local coil covariance, interpolated to ``(batch, coils, ny, nx)``.

    Walsh, Gmitro and Marcellin, "Adaptive reconstruction of phased array MR imagery", 2000. The covariance
    ``sum m m^H`` is summed over 3 x 3 points of a grid twice as fine as the resolution of ``m``.
    """
    my, mx = (min(n, 32) for n in center.shape[-2:])
    coarse = smooth_images(center, min(2 * my, ny), min(2 * mx, nx), echo=echo)
    coarse = coarse / coarse.abs().amax((-3, -2, -1), keepdim=True)
    maps = align_phase(_local_eigenvectors(coarse), coarse)  # only maps of smooth phase can be interpolated
    return _interpolate(_interpolate(maps, ny, -2), nx, -1)


def _local_eigenvectors(images: Tensor) -> Tensor:
    """Principal eigenvector of the coil covariance around each pixel, ``(batch, coils, ny, nx)``, unit norm.

    Power iteration: a batched `torch.linalg.eigh` takes minutes for 32 coils, and where there is signal the first
    eigenvalue is far above the second.
    """
    covariance = torch.einsum("bcyx,bdyx->byxcd", images, images.conj())
    reach = NEIGHBOURHOOD // 2
    for axis in (1, 2):  # the image is periodic, as its Fourier transform is discrete
        shifted = [covariance.roll(shift, axis) for shift in range(-reach, reach + 1)]
        covariance = torch.stack(shifted).sum(0)
    vectors = images.permute(0, 2, 3, 1)[..., None]
    for _ in range(POWER_ITERATIONS):
        vectors = torch.nn.functional.normalize(covariance @ vectors, dim=-2, eps=torch.finfo(images.dtype).tiny)
    return vectors[..., 0].permute(0, 3, 1, 2)


def _interpolate(maps: Tensor, n: int, axis: int) -> Tensor:
    """Interpolate linearly and periodically along one axis to `n` points, origin at ``n // 2`` before and after."""
    m = maps.shape[axis]
    position = (torch.arange(n, device=maps.device) - n // 2) * (m / n) + m // 2
    lower = position.floor().long()
    weight = (position - lower).to(maps.dtype)
    shape = [n if i == maps.ndim + axis else 1 for i in range(maps.ndim)]
    left, right = (maps.index_select(axis, index.remainder(m)) for index in (lower, lower + 1))
    return torch.lerp(left, right, weight.reshape(shape))
