"""The border between complex images and the real channels that convolutions work on.

A contiguous complex ``(batch, ny, nx)`` image and a channels_last real ``(batch, 2, ny, nx)`` tensor are the same
memory, so both functions return views where they can. A two-channel tensor never leaves a network.
"""

from __future__ import annotations

import torch
from torch import Tensor

from csmri_ext.physics.fitting import require_no_pairs, require_tensor


def as_channels(image: Tensor, in_chans: int = 2) -> Tensor:
    """Complex images as real channels.

    ``stack([image.real, image.imag], dim=1)``, or the real part alone.

    Parameters
    ----------
    image
        complex ``(batch, ny, nx)``.
    in_chans
        2: real and imaginary part; 1: the real part, for networks whose images are real.

    Returns
    -------
        real ``(batch, in_chans, ny, nx)``, a view: with two channels in channels_last memory if `image` is contiguous.

    Raises
    ------
    TypeError, ValueError
        An image that is not complex, or not three-dimensional; another number of channels.
    """
    require_no_pairs("as_channels: image", image)
    if not image.is_complex() or image.ndim != 3:
        raise TypeError(f"as_channels: image is {image.dtype} {tuple(image.shape)}, expected complex (batch, ny, nx)")
    if in_chans not in (1, 2):
        raise ValueError(f"as_channels: in_chans is {in_chans}, expected 1 (real part) or 2 (real, imaginary)")
    parts = torch.view_as_real(image.resolve_conj())
    return parts.movedim(-1, 1) if in_chans == 2 else parts[..., 0].unsqueeze(1)


def as_complex(channels: Tensor) -> Tensor:
    """Undo `as_channels`: ``channels[:, 0] + 1j channels[:, 1]``, the imaginary part 0 for one channel.

    Parameters
    ----------
    channels
        real ``(batch, 1, ny, nx)`` or ``(batch, 2, ny, nx)``; 16 bits, as autocast makes them, become float32.

    Returns
    -------
        complex ``(batch, ny, nx)``: a view if `channels` has two channels in channels_last memory.

    Raises
    ------
    TypeError, ValueError
        No tensor; another shape.
    """
    require_tensor("as_complex: channels", channels)
    if channels.ndim != 4 or channels.shape[1] not in (1, 2):
        raise ValueError(f"as_complex: channels have shape {tuple(channels.shape)}, expected (batch, 1 or 2, ny, nx)")
    channels = at_least_float32(channels)
    if channels.shape[1] == 1:
        return torch.complex(channels[:, 0], torch.zeros_like(channels[:, 0]))
    return torch.view_as_complex(channels.movedim(1, -1).contiguous())


def at_least_float32(x: Tensor) -> Tensor:
    """Return a real tensor in a dtype that has complex numbers: 16 bits become float32.

    Parameters
    ----------
    x
        Real, any shape.
    """
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
