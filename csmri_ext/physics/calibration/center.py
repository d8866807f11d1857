"""The fully sampled block around the echo (the ACS region), and the images of low resolution that it gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from csmri_ext.physics.echo import find_echo
from csmri_ext.physics.fitting import require_broadcast
from csmri_ext.physics.fourier import ifft2c
from csmri_ext.physics.mask_properties import SMALLEST_BLOCK, calibration_block, check_mask, holds

Place = tuple[int, int]
REGION = 24  # samples across, of which an eighth is near enough to the middle


class Center(NamedTuple):
    """The `calibration_block` of one slice.

    Attributes
    ----------
    samples
        ``(1, coils, my, mx)``, scaled to a maximum of 1: raw data come in any unit, and covariances are of second to
        fourth order in it.
    echo
        Row and column in `samples` around which a window on them lies: next to the echo, or ``(my // 2, mx // 2)``
        where that is not farther from it than an eighth of the samples that are looked at.
    outside
        Row and column of the echo in k-space where it is not in the block, else None.
    """

    samples: Tensor
    echo: Place
    outside: Place | None


def sampled_centers(kspace: Tensor, mask: Tensor | None) -> Iterator[Center]:
    """Cut the block around its own echo out of each member of a batch, from the samples that all members share.

    Parameters
    ----------
    kspace
        complex, ``(batch, coils, ny, nx)``.
    mask
        bool, broadcasts to `kspace`. None: True where any coil has a nonzero sample.

    Yields
    ------
        A `Center` for each member.

    Raises
    ------
    TypeError
        A mask that is not bool.
    ValueError
        A mask that does not broadcast, a block of fewer than 4 samples along an axis that has them, no signal in it or
        values that are not finite.
    """
    if mask is None:
        sampled = (kspace != 0).any(-3)
    else:
        check_mask(mask)
        require_broadcast(mask, "kspace", kspace)
        sampled = mask.broadcast_to(kspace.shape).all(-3)
    sampled = sampled.all(0)
    for item in kspace.split(1):
        yield _center(item, sampled, tuple(kspace.shape))


def _center(kspace: Tensor, sampled: Tensor, shape: tuple[int, ...]) -> Center:
    ny, nx = kspace.shape[-2:]
    echo = find_echo(torch.where(sampled, kspace, 0))
    rows, columns = (slice(0, 1), *calibration_block(sampled, echo))[-2:]
    reason = _shortfall(rows, columns, ny, nx)
    if reason:
        raise ValueError(reason)
    samples = kspace[..., rows, columns]
    peak = samples.abs().amax((-3, -2, -1), keepdim=True)
    if not peak.all():
        raise ValueError(f"kspace {shape} has no signal in its fully sampled centre")
    if not peak.isfinite().all():
        raise ValueError(f"kspace {shape} has values that are not finite in its fully sampled centre")
    place = _window_at(rows, echo[0]), _window_at(columns, echo[1])
    return Center(samples / peak, place, None if holds((rows, columns), echo) else echo)


def _window_at(block: slice, echo: int) -> int:
    """Place in a block around which windows lie: the sample next to the echo."""
    m = block.stop - block.start
    at = min(max(echo - block.start, 0), m - 1)
    return m // 2 if abs(at - m // 2) <= min(m, REGION) // 8 else at


def calibration_shortfall(
    mask: Tensor | NDArray[np.bool_], shape: tuple[int, int], echo: Place | None = None
) -> str | None:
    """Say why no coil sensitivities can be estimated from data under this mask, if none can.

    Parameters
    ----------
    mask
        bool, ``(nx,)`` or ``(ny, nx)``; axes of size 1 in front are dropped.
    shape
        ``(ny, nx)`` of k-space.
    echo
        As in `calibration_block`.

    Returns
    -------
        One sentence; None where the fully sampled centre is large enough.

    Raises
    ------
    ValueError
        As in `calibration_block`.
    """
    rows, columns = (slice(0, shape[0]), *calibration_block(mask, echo))[-2:]
    return _shortfall(rows, columns, *shape)


def _shortfall(rows: slice, columns: slice, ny: int, nx: int) -> str | None:
    my, mx = rows.stop - rows.start, columns.stop - columns.start
    if my >= min(SMALLEST_BLOCK, ny) and mx >= min(SMALLEST_BLOCK, nx):
        return None
    return (
        f"the fully sampled centre of k-space {ny} x {nx} is {my} x {mx}: "
        f"coil sensitivities need at least {SMALLEST_BLOCK} x {SMALLEST_BLOCK}"
    )


def outside_words(echo: Place) -> str:
    """Say that the fully sampled block does not hold the echo."""
    return (
        f"the echo, the strongest sample of k-space, lies at row {echo[0]}, column {echo[1]}, outside the fully "
        "sampled block around the middle: coil sensitivities are estimated without it"
    )


def smooth_images(center: Tensor, ny: int, nx: int, largest: int = 32, echo: Place | None = None) -> Tensor:
    """Coil images that the centre gives, ``(batch, coils, ny, nx)``: at most `largest` samples along either axis.

    They fall to zero like a cosine on both sides of the echo: a sharp edge in k-space would ring in the maps, and a
    Hann window would cost more resolution than the ringing does harm. The echo becomes the zero frequency, which turns
    the images by a linear phase that all coils share.

    Parameters
    ----------
    center
        complex, ``(batch, coils, my, mx)``.
    ny, nx
        Size of the images, at least that of what is used of the centre.
    largest
        See above.
    echo
        Row and column in `center` around which the samples are taken; None: ``(my // 2, mx // 2)``.
    """
    block = center
    for axis, n in ((-2, ny), (-1, nx)):
        m = block.shape[axis]
        at = m // 2 if echo is None else echo[axis]
        first, last = max(at - largest // 2, 0), min(at + (largest + 1) // 2, m)
        at, m = at - first, last - first
        taper = _taper(m, at, center)
        block = block.narrow(axis, first, m) * (taper if axis == -1 else taper[:, None])
        block = _at_zero_frequency(block, at, n, axis)
    return ifft2c(block)


def _at_zero_frequency(block: Tensor, at: int, n: int, axis: int) -> Tensor:
    """Fill with zeros to `n` samples along an axis, sample `at` to ``n // 2``; k-space is periodic for n pixels."""
    missing = n - block.shape[axis]
    pad = [0, 0] if axis == -1 else [0, 0, 0, 0]
    pad[-1] = missing
    return torch.nn.functional.pad(block, pad).roll(n // 2 - at, axis)


def region_around(center: Tensor, sides: Place, echo: Place) -> tuple[Tensor, Place]:
    """Cut out ``sides`` samples around the echo, as far as the centre reaches; also return where it is in them."""
    place = []
    for axis, side, at in zip((-2, -1), sides, echo, strict=True):
        first = min(max(at - side // 2, 0), center.shape[axis] - side)
        center = center.narrow(axis, first, side)
        place.append(at - first)
    return center, (place[0], place[1])


def _taper(n: int, at: int, like: Tensor) -> Tensor:
    """``cos(pi k / (n + 1))`` at ``k = -(n // 2), ...``, ``(n,)``, where `at` is the middle of n samples.

    Elsewhere the peak is halfway between both, and each side falls off by itself: at an echo near the end, a window
    that peaks there has an edge, and one that peaks in the middle has little signal.
    """
    k = torch.arange(n, device=like.device, dtype=like.real.dtype)
    if at == n // 2:
        return torch.cos(torch.pi * (k - at) / (n + 1))
    peak = (at + n // 2) / 2
    return torch.cos(torch.pi / 2 * (k - peak) / torch.where(k < peak, peak + 1, n - peak))
