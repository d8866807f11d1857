"""The Fourier transform of this package: centred, orthonormal, over the last two axes.

Centred means that index ``n // 2`` holds the zero frequency of k-space and the origin of the image. Orthonormal means
``||fft2c(x)|| == ||x||``. The pair equals ``bart fft -u 3`` and ``bart fft -u -i 3``, and fastMRI's ``fft2c`` and
``ifft2c``, for even and odd sizes.

Shifts are memory traffic, and an iterative method needs none of them. With ``F_c`` the centred transform, ``F`` the
plain one (``torch.fft.fft2(..., norm="ortho")``), ``M`` a mask and ``y`` measured data::

    F_c^H M F_c         = F^H M' F             M' = ifftshift(M)
    F_c^H M (y - F_c x) = F^H M' (y' - F x)    y' = F F_c^H y

because ``F^H M' F`` is a circular convolution, and a circular convolution commutes with circular shifts. So mask and
data move their zero frequency to index 0 once (`csmri_ext.ops.prepare_data_consistency`), and every iteration then uses
the plain transform on the image as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from csmri_ext.ops import encode, encode_adjoint, reference
from csmri_ext.physics.fitting import require_no_pairs

_NO_TRANSFORM = (torch.complex32, torch.float16, torch.bfloat16)
"""Too narrow for samples and images; autocast makes float32 of them."""


def _by_kernel(name: str, x: Tensor) -> bool:
    """Check `x`; say whether the kernels compute it: on the CPU, without shifts. On a GPU torch.fft does."""
    require_no_pairs(f"{name}: x", x)
    if x.ndim < 2:
        raise ValueError(f"{name} needs at least two axes (..., ny, nx), got shape {tuple(x.shape)}")
    autocast = x.device.type != "meta" and torch.is_autocast_enabled(x.device.type)
    if x.dtype in _NO_TRANSFORM and not autocast:
        wide = torch.complex64 if x.is_complex() else torch.float32
        raise TypeError(f"{name}: x is {x.dtype}, expected complex64 or complex128: pass x.to({wide})")
    return x.device.type == "cpu" and x.dtype in (torch.complex64, torch.complex128) and not reference.active()


def fft2c(x: Tensor) -> Tensor:
    """Image to k-space: centred orthonormal 2-D Fourier transform.

    ``fftshift(fft2(ifftshift(x), norm="ortho"))`` over the last two axes.

    Parameters
    ----------
    x
        Image, ``(..., ny, nx)``, complex64 or complex128, any sizes; a real tensor, of floats or integers, becomes
        complex, unless its last axis has two elements and there are more than two axes.

    Returns
    -------
        k-space of the same shape, zero frequency at ``(ny // 2, nx // 2)``.

    Raises
    ------
    TypeError, ValueError
        No tensor; a dtype of 16 bits a part; real and imaginary parts along a last axis of two; fewer than two axes.
    """
    return encode(x, None, None) if _by_kernel("fft2c", x) else reference.fft2c(x)


def ifft2c(x: Tensor) -> Tensor:
    """k-space to image: inverse, and adjoint, of `fft2c`.

    ``fftshift(ifft2(ifftshift(x), norm="ortho"))`` over the last two axes.

    Parameters
    ----------
    x
        k-space, ``(..., ny, nx)``, complex64 or complex128, zero frequency at ``(ny // 2, nx // 2)``, any sizes.

    Returns
    -------
        Image of the same shape, origin at ``(ny // 2, nx // 2)``.

    Raises
    ------
    TypeError, ValueError
        No tensor; a dtype of 16 bits a part; real and imaginary parts along a last axis of two; fewer than two axes.
    """
    return encode_adjoint(x, None, None) if _by_kernel("ifft2c", x) else reference.ifft2c(x)
