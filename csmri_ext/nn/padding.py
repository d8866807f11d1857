"""Images of any size for networks that halve them: reflected outwards, cropped back."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Extend an image on the right and at the bottom by its mirror image until both sizes are multiples.

    Undo with ``[..., :ny, :nx]``.

    Parameters
    ----------
    x
        real ``(batch, channels, ny, nx)``, any sizes from 1.
    multiple
        What both sizes shall be divisible by.

    Returns
    -------
        `x` itself if nothing is missing. A side smaller than its padding is reflected again and again; a side of 1 is
        repeated.
    """
    ny, nx = x.shape[-2:]
    below, right = -ny % multiple, -nx % multiple
    if x.shape[-2] == 1 and below:  # a side of 1 has no mirror image
        x, below = functional.pad(x, (0, 0, 0, below), mode="replicate"), 0
    if x.shape[-1] == 1 and right:
        x, right = functional.pad(x, (0, right, 0, 0), mode="replicate"), 0
    while below or right:
        down, across = min(below, x.shape[-2] - 1), min(right, x.shape[-1] - 1)
        x = functional.pad(x, (0, across, 0, down), mode="reflect")
        below, right = below - down, right - across
    return x
