"""Coil sensitivities from the fully sampled centre of k-space (the ACS region).

Both methods look at the low-resolution coil images ``m_c`` that the tapered centre gives, and both return maps with
``sum_c |S_c|^2 = 1`` at every pixel. The data do not determine a phase that all coils share; here it is chosen such
that a virtual coil, the principal combination of all coils, has a real positive sensitivity. The reconstructed image
then has the phase that this coil sees, which is smooth (Buehrer et al., "Virtual coil concept for improved parallel
MRI", 2009; `bart ecalib` does the same).
"""

from __future__ import annotations

import torch
from torch import Tensor

from csmri_ext.physics.fourier import ifft2c
from csmri_ext.physics.mask_properties import calibration_block, check_mask

METHODS = ("adaptive", "low_resolution")
SMALLEST_BLOCK = 4
LARGEST_BLOCK = 32
NEIGHBOURHOOD = 3
POWER_ITERATIONS = 10


def rss(x: Tensor, dim: int = -3) -> Tensor:
    """Root sum of squares, ``sqrt(sum_c |x_c|^2)``: the coil combination that needs no sensitivities.

    Parameters
    ----------
    x
        Coil images, real or complex, any shape.
    dim
        Coil axis; the default fits ``(..., coils, ny, nx)``.

    Returns
    -------
        Real, shape of `x` without the coil axis.
    """
    return torch.linalg.vector_norm(x, dim=dim)


def estimate_sens_maps(kspace: Tensor, mask: Tensor | None = None, method: str = "adaptive") -> Tensor:
    """Estimate coil sensitivities from the fully sampled centre of the data.

    ``low_resolution``: ``S_c = m_c / rss(m)``. ``adaptive``: at each pixel, the principal eigenvector of the local
    coil covariance ``sum m m^H``, which averages the noise out where the image is dark (Walsh, Gmitro and Marcellin,
    "Adaptive reconstruction of phased array MR imagery", 2000). The covariance is summed over 3 x 3 points of a grid
    twice as fine as the resolution of ``m``, and the eigenvectors are interpolated to the image grid, since
    sensitivities are smooth.

    The centre is the `calibration_block` of the mask, at most 32 samples along either axis, times a cosine taper.

    Parameters
    ----------
    kspace
        complex64 or complex128, ``(coils, ny, nx)`` or ``(batch, coils, ny, nx)``, zero frequency at ``n // 2``, any
        sizes; samples outside the mask are ignored.
    mask
        bool, broadcasts to `kspace`. None: True where any coil has a nonzero sample. A batch uses the centre that all
        its members share.
    method
        ``adaptive`` or ``low_resolution``.

    Returns
    -------
        Maps of the shape and dtype of `kspace`, unit norm over the coils. One coil gives ones.

    Raises
    ------
    TypeError
        A mask that is not bool.
    ValueError
        Unknown method; wrong axes; a fully sampled centre of fewer than 4 samples along an axis; no signal in it.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r} (known: {', '.join(METHODS)})")
    if kspace.ndim not in (3, 4) or not kspace.is_complex():
        raise ValueError(
            "kspace must be complex (coils, ny, nx) or (batch, coils, ny, nx), "
            f"got {kspace.dtype} {tuple(kspace.shape)}"
        )
    if kspace.shape[-3] == 1:
        return torch.ones_like(kspace)
    center = _tapered_center(kspace.reshape(-1, *kspace.shape[-3:]), mask)
    ny, nx = kspace.shape[-2:]
    coarse = ifft2c(_crop_or_pad(center, min(2 * center.shape[-2], ny), min(2 * center.shape[-1], nx)))
    peak = coarse.abs().amax((-3, -2, -1), keepdim=True)
    if not peak.all():
        raise ValueError(f"kspace {tuple(kspace.shape)} has no signal in its fully sampled centre")
    coarse = coarse / peak  # raw data come in any unit, and the covariance is of fourth order in it
    if method == "adaptive":
        maps = _interpolate(_interpolate(_fix_phase(_local_eigenvectors(coarse), coarse), ny, -2), nx, -1)
    else:
        maps = _fix_phase(ifft2c(_crop_or_pad(center, ny, nx)), coarse)
    norm = rss(maps)[:, None]
    return (maps / norm.clamp_min(torch.finfo(norm.dtype).tiny)).reshape(kspace.shape)


def _tapered_center(kspace: Tensor, mask: Tensor | None) -> Tensor:
    """Cut out the fully sampled centre, ``(batch, coils, my, mx)``, and let it fall to zero like a cosine.

    A sharp edge in k-space would ring in the maps; a Hann window would cost more resolution than the ringing does harm.
    """
    ny, nx = kspace.shape[-2:]
    if mask is None:
        sampled = (kspace != 0).any(-3)
    else:
        check_mask(mask)
        try:
            sampled = mask.broadcast_to(kspace.shape).all(-3)
        except RuntimeError:
            raise ValueError(f"mask {tuple(mask.shape)} does not broadcast to kspace {tuple(kspace.shape)}") from None
    blocks = (slice(0, 1), *calibration_block(sampled.all(0)))[-2:]
    sides = [block.stop - block.start for block in blocks]
    if sides[0] < min(SMALLEST_BLOCK, ny) or sides[1] < min(SMALLEST_BLOCK, nx):
        raise ValueError(
            f"the fully sampled centre of k-space {ny} x {nx} is {sides[0]} x {sides[1]}: "
            f"coil sensitivities need at least {SMALLEST_BLOCK} x {SMALLEST_BLOCK}"
        )
    my, mx = (min(side, LARGEST_BLOCK) for side in sides)
    return _crop_or_pad(kspace, my, mx) * _taper(my, kspace)[:, None] * _taper(mx, kspace)


def _taper(n: int, like: Tensor) -> Tensor:
    """``cos(pi k / (n + 1))`` at ``k = -(n // 2), ...``, ``(n,)``."""
    k = torch.arange(n, device=like.device, dtype=like.real.dtype) - n // 2
    return torch.cos(torch.pi * k / (n + 1))


def _crop_or_pad(kspace: Tensor, ny: int, nx: int) -> Tensor:
    """Keep the zero frequency at ``n // 2`` while cutting or zero-filling to ``(..., ny, nx)``."""
    pad = []
    for old, new in ((kspace.shape[-1], nx), (kspace.shape[-2], ny)):
        before = new // 2 - old // 2
        pad += [before, new - old - before]
    return torch.nn.functional.pad(kspace, pad)


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


def _fix_phase(maps: Tensor, images: Tensor) -> Tensor:
    """Turn each pixel of `maps` such that the principal virtual coil of `images` is real and positive there."""
    covariance = torch.einsum("bcyx,bdyx->bcd", images, images.conj())
    principal = torch.linalg.eigh(covariance).eigenvectors[..., -1]
    virtual = torch.einsum("bc,bcyx->byx", principal.conj(), maps)
    turn = torch.where(virtual == 0, 1, virtual.sgn().conj())
    return maps * turn[:, None]


def _interpolate(maps: Tensor, n: int, axis: int) -> Tensor:
    """Interpolate linearly and periodically along one axis to `n` points, origin at ``n // 2`` before and after."""
    m = maps.shape[axis]
    position = (torch.arange(n, device=maps.device) - n // 2) * (m / n) + m // 2
    lower = position.floor().long()
    weight = (position - lower).to(maps.dtype)
    shape = [n if i == maps.ndim + axis else 1 for i in range(maps.ndim)]
    left, right = (maps.index_select(axis, index.remainder(m)) for index in (lower, lower + 1))
    return torch.lerp(left, right, weight.reshape(shape))
