"""The specification: every op in plain PyTorch, differentiable, on any device.

``with csmri_ext.reference_ops():`` makes the public functions of `csmri_ext.ops`, and with them the modules of
`csmri_ext.nn`, use these instead of the compiled kernels. Nothing else ever does: there is no silent fallback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_active = False


@contextmanager
def reference_ops() -> Iterator[None]:
    """Run the ops inside the ``with`` block as plain PyTorch, in this process (all threads).

    For checking the kernels, and for machines without them. A backward pass belongs to its forward pass, wherever it
    runs.
    """
    global _active
    before, _active = _active, True
    try:
        yield
    finally:
        _active = before


def active() -> bool:
    """Whether `reference_ops` is in force."""
    return _active


def fft2c(x: Tensor) -> Tensor:
    """Centred unitary 2-D Fourier transform of the last two axes."""
    shifted = torch.fft.fft2(torch.fft.ifftshift(x, dim=(-2, -1)), norm="ortho")
    return torch.fft.fftshift(shifted, dim=(-2, -1))


def ifft2c(x: Tensor) -> Tensor:
    """Inverse, and adjoint, of `fft2c`."""
    shifted = torch.fft.ifft2(torch.fft.ifftshift(x, dim=(-2, -1)), norm="ortho")
    return torch.fft.fftshift(shifted, dim=(-2, -1))


def data_consistency(image: Tensor, kspace: Tensor, mask: Tensor, eta: Tensor | float) -> Tensor:
    """``image + eta F^H M (kspace - F image)``; see `csmri_ext.ops.data_consistency`."""
    return image + eta * ifft2c(mask * (kspace - fft2c(image)))
