"""The smooth phase of an image: what remains of it at low resolution, wherever in k-space the echo is."""

from __future__ import annotations

import torch
from torch import Tensor

from csmri_ext.physics.echo import distances_from_echo
from csmri_ext.physics.fourier import fft2c, ifft2c

HALF_WIDTH = 8
PLANE_WAVE = 0.3  # times the strongest sample is added, so that air gets its phase and not that of rounding errors


def low_resolution_phase(image: Tensor, half_width: int = HALF_WIDTH) -> Tensor:
    """Phase of an image that keeps the surroundings of its strongest sample of k-space only.

        ``sgn F^H W F x``

    W is a Hann window, ``cos^2(pi d / (2 half_width + 2))`` at distance d along either axis, around the sample of
    largest magnitude, whose own weight is 1.3: where the image is dark, the phase is that of this plane wave. An echo
    that lies some lines off the centre of k-space, as is common in measured data, gives the image a phase that rises
    linearly; it is found like any other smooth phase. Taken as part of the sensitivities (`Encoding.with_phase`, or
    ``sens_maps * phase`` for any other solver), it leaves an image that is almost real.

    Parameters
    ----------
    image
        x, complex, ``(..., ny, nx)``; of undersampled data the zero-filled image.
    half_width
        Samples on either side of the strongest one.

    Returns
    -------
        Complex numbers of magnitude 1, shape of `image`; 1 where nothing is left at low resolution. A constant phase of
        the image is in it, its unit is not.
    """
    kspace = fft2c(image)
    distances = distances_from_echo(kspace.abs())
    rows, columns = (_window(distance.to(image.real.dtype), half_width) for distance in distances)
    window = rows * columns
    smooth = ifft2c(kspace * torch.where(window == 1, 1 + PLANE_WAVE, window))
    return torch.where(smooth == 0, 1, smooth.sgn())


def _window(distance: Tensor, half_width: int) -> Tensor:
    taper = 0.5 + 0.5 * torch.cos(torch.pi * distance / (half_width + 1))
    return torch.where(distance <= half_width, taper, 0)
