"""The encoding operator ``A = M F S`` of (parallel) MRI, and the iterative SENSE reconstruction.

S multiplies the image by the coil sensitivities, F is the centred orthonormal Fourier transform and M keeps the
acquired samples. Reference: Pruessmann et al., "Advances in sensitivity encoding with arbitrary k-space trajectories"
(2001).
"""

from __future__ import annotations

import torch
from torch import Tensor

from csmri_ext import ops
from csmri_ext.physics.fourier import fft2c, ifft2c


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


class SenseOp:
    """Encoding operator ``A = M F S`` with its adjoint and its normal operator.

    Parameters
    ----------
    sens_maps
        S, complex, ``(coils, ny, nx)`` or ``(batch, coils, ny, nx)``. None: one coil of sensitivity 1, and k-space then
        has the shape of the image, without a coil axis.
    mask
        M, bool, True where a sample was acquired, zero frequency at ``n // 2``; broadcasts to k-space. None: fully
        sampled.

    Raises
    ------
    ValueError
        A mask that is not bool; maps with fewer than three axes; shapes that do not fit each other (both named), here
        and in the methods.
    """

    def __init__(self, sens_maps: Tensor | None = None, mask: Tensor | None = None) -> None:
        if sens_maps is not None and sens_maps.ndim < 3:
            raise ValueError(f"sens_maps needs (..., coils, ny, nx), got shape {tuple(sens_maps.shape)}")
        if mask is not None and mask.dtype != torch.bool:
            raise ValueError(f"mask must be bool, got {mask.dtype}")
        if mask is not None and sens_maps is not None:
            _require_broadcast(mask.shape[-2:], sens_maps.shape[-2:], f"mask {tuple(mask.shape)}", _name(sens_maps))
        self.sens_maps = sens_maps
        self.mask = mask

    def forward(self, image: Tensor) -> Tensor:
        """Image to k-space, ``y = M F S x``.

        Parameters
        ----------
        image
            Complex, ``(ny, nx)`` or ``(batch, ny, nx)``.

        Returns
        -------
            ``(coils, ny, nx)`` or ``(batch, coils, ny, nx)``, zero where not sampled; the shape of `image` if there
            are no sensitivities.
        """
        return _sampled(fft2c(self._to_coils(image)), self.mask)

    def adjoint(self, kspace: Tensor) -> Tensor:
        """k-space to image, ``A^H y = sum_c conj(S_c) F^H M y_c``: the zero-filled reconstruction.

        Parameters
        ----------
        kspace
            Complex, the shape that `forward` returns.

        Returns
        -------
            Complex, ``(ny, nx)`` or ``(batch, ny, nx)``.
        """
        if self.sens_maps is not None:
            _require_fit(kspace, self.sens_maps, 3, f"kspace {tuple(kspace.shape)}")
        return self._combine(ifft2c(_sampled(kspace, self.mask)))

    def normal(self, image: Tensor) -> Tensor:
        """``A^H A x = sum_c conj(S_c) F^H M F S_c x``, by the kernels of `ops.sense_normal`: no shift, no k-space.

        Parameters
        ----------
        image
            Complex, ``(ny, nx)`` or ``(batch, ny, nx)``.

        Returns
        -------
            Complex, shape of `image`.
        """
        if self.mask is None:
            return self._combine(self._to_coils(image))
        if self.sens_maps is None:
            return ops.sense_normal(image, None, self.mask)
        _require_fit(image.unsqueeze(-3) if image.ndim > 1 else image, self.sens_maps, 2, f"image {tuple(image.shape)}")
        dtype = torch.promote_types(image.dtype, self.sens_maps.dtype)
        return ops.sense_normal(image.to(dtype), self.sens_maps.to(dtype), self.mask)

    def _to_coils(self, image: Tensor) -> Tensor:
        if self.sens_maps is None:
            return image
        coils = image.unsqueeze(-3) if image.ndim > 1 else image
        _require_fit(coils, self.sens_maps, 2, f"image {tuple(image.shape)}")
        return self.sens_maps * coils

    def _combine(self, coil_images: Tensor) -> Tensor:
        return coil_images if self.sens_maps is None else (self.sens_maps.conj() * coil_images).sum(-3)


def cg_sense(
    kspace: Tensor,
    mask: Tensor | None,
    sens_maps: Tensor | None = None,
    *,
    iterations: int = 30,
    tolerance: float = 1e-6,
    regularization: float = 0.0,
) -> Tensor:
    """Reconstruct by iterative SENSE: ``argmin_x ||A x - y||^2 + regularization ||x||^2``, conjugate gradients from 0.

    Parameters
    ----------
    kspace
        y, complex, ``(..., coils, ny, nx)``, or ``(..., ny, nx)`` if there are no sensitivities.
    mask
        bool, broadcasts to `kspace`; None if fully sampled.
    sens_maps
        complex, ``(..., coils, ny, nx)``, or None for a single coil.
    iterations
        At most this many.
    tolerance
        An image of the batch is done when ``||A^H y - (A^H A + regularization) x|| <= tolerance ||A^H y||``.
    regularization
        Tikhonov weight, >= 0.

    Returns
    -------
        Complex image, ``(..., ny, nx)``.
    """
    operator = SenseOp(sens_maps, mask)
    residual = operator.adjoint(kspace)
    image = torch.zeros_like(residual)
    direction = residual
    energy = _energy(residual)
    goal = tolerance**2 * energy
    for _ in range(iterations):
        active = energy > goal
        if not active.any():
            break
        applied = operator.normal(direction) + regularization * direction
        curvature = (direction.conj() * applied).real.sum((-2, -1), keepdim=True)
        # a step of 0 keeps an image of the batch that is done, where the quotient may be 0 / 0
        step = active * energy / torch.where(active, curvature, 1)
        image = image + step * direction
        residual = residual - step * applied
        energy, previous = _energy(residual), energy
        direction = residual + active * energy / torch.where(active, previous, 1) * direction
    return image


def kspace_residual(
    kspace: Tensor, image: Tensor, mask: Tensor | None = None, sens_maps: Tensor | None = None
) -> float:
    """How far an image is from the measured data: ``||M F S x - M y|| / ||M y||``, over the whole batch.

    Parameters
    ----------
    kspace
        y, complex, ``(..., coils, ny, nx)``, or ``(..., ny, nx)`` if there are no sensitivities.
    image
        x, complex, ``(..., ny, nx)``; a magnitude image has lost its phase and gives a meaningless number.
    mask
        bool, broadcasts to `kspace`; None if fully sampled.
    sens_maps
        complex, ``(..., coils, ny, nx)``, or None for a single coil.

    Returns
    -------
        0 for perfect consistency, 1 for a zero image.

    Raises
    ------
    ValueError
        Shapes that do not fit, or no measured energy at all.
    """
    operator = SenseOp(sens_maps, mask)
    measured = _sampled(kspace, mask)
    scale = torch.linalg.vector_norm(measured)
    if scale == 0:
        raise ValueError(f"kspace {tuple(kspace.shape)} is zero at every sampled position")
    predicted = operator.forward(image)
    if predicted.shape != measured.shape:
        raise ValueError(
            f"image {tuple(image.shape)} has k-space {tuple(predicted.shape)}, but kspace is {tuple(kspace.shape)}"
        )
    return float(torch.linalg.vector_norm(predicted - measured) / scale)


def _energy(image: Tensor) -> Tensor:
    return image.abs().square().sum((-2, -1), keepdim=True)


def _sampled(kspace: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return kspace
    _require_broadcast(mask.shape, kspace.shape, f"mask {tuple(mask.shape)}", f"kspace {tuple(kspace.shape)}")
    return kspace * mask


def _name(sens_maps: Tensor) -> str:
    return f"sens_maps {tuple(sens_maps.shape)}"


def _require_fit(x: Tensor, sens_maps: Tensor, n_axes: int, name: str) -> None:
    """Equal last axes, and batches that broadcast."""
    try:
        torch.broadcast_shapes(x.shape, sens_maps.shape)
        fits = x.shape[-n_axes:] == sens_maps.shape[-n_axes:]
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(f"{name} does not fit {_name(sens_maps)}")


def _require_broadcast(small: torch.Size, large: torch.Size, small_name: str, large_name: str) -> None:
    try:
        fits = torch.broadcast_shapes(small, large) == large
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(f"{small_name} does not broadcast to {large_name}")
