"""The fully sampled centre of k-space (the ACS region), and the images of low resolution that it gives."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from csmri_ext.physics.fitting import require_broadcast
from csmri_ext.physics.fourier import ifft2c
from csmri_ext.physics.mask_properties import calibration_block, check_mask

SMALLEST_BLOCK = 4


def sampled_center(kspace: Tensor, mask: Tensor | None) -> Tensor:
    """Cut out the `calibration_block` that all members of a batch share.

    Parameters
    ----------
    kspace
        complex, ``(batch, coils, ny, nx)``, zero frequency at ``n // 2``.
    mask
        bool, broadcasts to `kspace`. None: True where any coil has a nonzero sample.

    Returns
    -------
        ``(batch, coils, my, mx)``, zero frequency at ``m // 2``, each member scaled to a maximum of 1: raw data come in
        any unit, and covariances are of second to fourth order in it.

    Raises
    ------
    TypeError
        A mask that is not bool.
    ValueError
        A mask that does not broadcast, a block of fewer than 4 samples along an axis that has them, no signal in it or
        values that are not finite.
    """
    ny, nx = kspace.shape[-2:]
    if mask is None:
        sampled = (kspace != 0).any(-3)
    else:
        check_mask(mask)
        require_broadcast(mask, "kspace", kspace)
        sampled = mask.broadcast_to(kspace.shape).all(-3)
    rows, columns = (slice(0, 1), *calibration_block(sampled.all(0)))[-2:]
    reason = _shortfall(rows, columns, ny, nx)
    if reason:
        raise ValueError(reason)
    center = kspace[..., rows, columns]
    peak = center.abs().amax((-3, -2, -1), keepdim=True)
    if not peak.all():
        raise ValueError(f"kspace {tuple(kspace.shape)} has no signal in its fully sampled centre")
    if not peak.isfinite().all():
        raise ValueError(f"kspace {tuple(kspace.shape)} has values that are not finite in its fully sampled centre")
    return center / peak


def calibration_shortfall(mask: Tensor | NDArray[np.bool_], shape: tuple[int, int]) -> str | None:
    """Say why no coil sensitivities can be estimated from data under this mask, if none can.

    Parameters
    ----------
    mask
        bool, ``(nx,)`` or ``(ny, nx)``, zero frequency at ``n // 2``; axes of size 1 in front are dropped.
    shape
        ``(ny, nx)`` of k-space.

    Returns
    -------
        One sentence; None where the fully sampled centre is large enough.

    Raises
    ------
    ValueError
        As in `calibration_block`.
    """
    rows, columns = (slice(0, shape[0]), *calibration_block(mask))[-2:]
    return _shortfall(rows, columns, *shape)


def _shortfall(rows: slice, columns: slice, ny: int, nx: int) -> str | None:
    my, mx = rows.stop - rows.start, columns.stop - columns.start
    if my >= min(SMALLEST_BLOCK, ny) and mx >= min(SMALLEST_BLOCK, nx):
        return None
    return (
        f"the fully sampled centre of k-space {ny} x {nx} is {my} x {mx}: "
        f"coil sensitivities need at least {SMALLEST_BLOCK} x {SMALLEST_BLOCK}"
    )


def smooth_images(center: Tensor, ny: int, nx: int, largest: int = 32) -> Tensor:
    """Coil images that the centre gives, ``(batch, coils, ny, nx)``: at most `largest` samples along either axis.

    They fall to zero like a cosine: a sharp edge in k-space would ring in the maps, and a Hann window would cost more
    resolution than the ringing does harm.
    """
    my, mx = (min(n, largest) for n in center.shape[-2:])
    block = crop_or_pad(center, my, mx) * _taper(my, center)[:, None] * _taper(mx, center)
    return ifft2c(crop_or_pad(block, ny, nx))


def crop_or_pad(kspace: Tensor, ny: int, nx: int) -> Tensor:
    """Keep the zero frequency at ``n // 2`` while cutting or zero-filling to ``(..., ny, nx)``."""
    pad = []
    for old, new in ((kspace.shape[-1], nx), (kspace.shape[-2], ny)):
        before = new // 2 - old // 2
        pad += [before, new - old - before]
    return torch.nn.functional.pad(kspace, pad)


def _taper(n: int, like: Tensor) -> Tensor:
    """``cos(pi k / (n + 1))`` at ``k = -(n // 2), ...``, ``(n,)``."""
    k = torch.arange(n, device=like.device, dtype=like.real.dtype) - n // 2
    return torch.cos(torch.pi * k / (n + 1))
