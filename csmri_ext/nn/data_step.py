"""`DataStep`: measured k-space as the stages of an unrolled network use it, with one coil or many."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from csmri_ext.ops import (
    data_consistency_normal_term,
    data_consistency_prepared,
    prepare_data_consistency,
    sense_normal,
)

CG_ITERATIONS = 10
CG_TOLERANCE = 1e-10  # of the squared residual, for images scaled to about 1


class DataStep:
    """The data of one batch behind the operator ``F_u = M F S``: zero-filled image, gradient step, proximal step.

    M keeps the acquired samples, F is the centred unitary Fourier transform, S multiplies by the coil sensitivities
    (1 for a single coil). Prepares the data once; every step then runs fused kernels (`csmri_ext.ops`).

    Parameters
    ----------
    kspace
        y, complex, ``(batch, ny, nx)`` or ``(batch, coils, ny, nx)``, zero frequency in the centre; values that the
        mask excludes do not matter.
    mask
        M, bool, True where acquired; broadcasts to `kspace`: ``(nx,)`` or ``(ny, nx)`` for all slices, ``(batch, 1,
        nx)`` or ``(batch, 1, 1, nx)`` for one per slice, with as many axes as k-space.
    sens_maps
        S, complex, ``(coils, ny, nx)`` or ``(batch, coils, ny, nx)``; None for k-space without a coil axis or with one
        coil.
    peak
        Divide the data of each slice, so that its zero-filled image has this maximum magnitude; None leaves them.

    Attributes
    ----------
    zero_filled
        ``F_u^H y``, complex ``(batch, ny, nx)``.
    scale
        What the data were divided by, real ``(batch, 1, 1)``, or 1.0: multiply images by it to undo `peak`. 1 where a
        slice is empty.

    Raises
    ------
    TypeError, ValueError
        Tensors that do not fit together; both shapes are named. k-space of several coils without sensitivities.
    """

    def __init__(
        self, kspace: Tensor, mask: Tensor, sens_maps: Tensor | None = None, *, peak: float | None = None
    ) -> None:
        check_measurement(kspace, mask, sens_maps)
        if kspace.ndim == 4 and sens_maps is None:  # one coil
            kspace, mask = kspace[:, 0], mask[:, 0] if mask.ndim == 4 else mask
        self.sens_maps, self._mask = sens_maps, mask
        self.scale: Tensor | float = 1.0
        self._prepared = prepare_data_consistency(kspace, mask)
        self.zero_filled = self._combine(data_consistency_prepared(torch.zeros_like(kspace), self._prepared, 1.0))
        if peak is not None:
            highest = self.zero_filled.abs().amax((-2, -1), keepdim=True)
            self.scale = torch.where(highest > 0, highest / peak, 1.0)
            self.zero_filled = self.zero_filled / self.scale
            self._prepared = self._prepared._replace(
                kspace=kspace / _with_axes(self.scale, kspace.ndim), samples=self._divided_samples(self.scale)
            )

    @property
    def multi_coil(self) -> bool:
        """Whether ``F_u F_u^H`` is not the identity on the samples, so that no closed form exists."""
        return self.sens_maps is not None

    def step(self, image: Tensor, eta: Tensor | float) -> Tensor:
        """One gradient step towards the data, ``image + eta F_u^H (y - F_u image)``.

        With a single coil, `eta` = 1 replaces the acquired samples and ``1 / (1 + mu)`` is `proximal`.

        Parameters
        ----------
        image
            complex ``(batch, ny, nx)``; or real ``(batch, 2 m, ny, nx)``, the real, then the imaginary parts of m
            replicas, each of which takes the step.
        eta
            Number or real tensor of one element; differentiable.

        Returns
        -------
            dtype and shape of `image`.
        """
        if not self.multi_coil:
            return data_consistency_prepared(image, self._prepared, eta)
        return _on_complex(lambda x: x + eta * (self._zero_filled_like(x) - self.normal(x)), image)

    def normal(self, image: Tensor) -> Tensor:
        """``F_u^H F_u image``.

        Parameters
        ----------
        image
            As in `step`; with several coils also complex ``(batch, m, ny, nx)``.

        Returns
        -------
            dtype and shape of `image`.
        """
        if self.sens_maps is None:
            return data_consistency_normal_term(image, self._prepared, -1.0)
        return _on_complex(self._multi_coil_normal, image)

    def replicas(self, m: int) -> Tensor:
        """Return `zero_filled` m times, as real channels ``(batch, 2 m, ny, nx)``: real, then imaginary parts."""
        parts = torch.view_as_real(self.zero_filled).movedim(-1, 1)
        return parts.unsqueeze(2).expand(-1, -1, m, -1, -1).flatten(1, 2)

    def proximal(self, image: Tensor, mu: Tensor | float) -> Tensor:
        """``argmin_x 1/2 ||y - F_u x||^2 + mu/2 ||x - image||^2``  (GA-HQS, eq. 4 and 5).

        With a single coil the closed form ``step(image, 1 / (1 + mu))``. With several, at most 10 conjugate gradients
        from 0 on ``(F_u^H F_u + mu) x = F_u^H y + mu image``; a slice is done at a squared residual of 1e-10.
        Differentiable: the iterations are unrolled, always all ten, so that no value has to be waited for.

        Parameters
        ----------
        image
            As in `step`.
        mu
            Number or real tensor of one element, > 0; differentiable.

        Returns
        -------
            dtype and shape of `image`.
        """
        if not self.multi_coil:
            return self.step(image, 1 / (1 + mu))
        return _on_complex(lambda x: self._conjugate_gradients(x, mu), image)

    def _conjugate_gradients(self, image: Tensor, mu: Tensor | float) -> Tensor:
        residual = self._zero_filled_like(image) + mu * image
        solution, direction, energy = torch.zeros_like(residual), residual, _energy(residual)
        for _ in range(CG_ITERATIONS):
            active = energy > CG_TOLERANCE
            applied = self.normal(direction) + mu * direction
            curvature = (direction.conj() * applied).real.sum((-2, -1), keepdim=True)
            # a step of 0 keeps a slice that is done, where the quotients may be 0 / 0
            step = torch.where(active, energy, 0) / torch.where(active, curvature, 1)
            solution = solution + step * direction
            residual = residual - step * applied
            energy, previous = _energy(residual), energy
            direction = residual + torch.where(active, energy, 0) / torch.where(active, previous, 1) * direction
        return solution

    def _multi_coil_normal(self, image: Tensor) -> Tensor:
        sens_maps, mask = self.sens_maps, self._mask
        assert sens_maps is not None
        if image.ndim == 4:  # replicas go between slice and coil
            sens_maps = sens_maps.unsqueeze(1) if sens_maps.ndim == 4 else sens_maps
            mask = mask.unsqueeze(1) if mask.ndim == 4 else mask
        return sense_normal(image, sens_maps, mask)

    def _zero_filled_like(self, image: Tensor) -> Tensor:
        return self.zero_filled if image.ndim == 3 else self.zero_filled.unsqueeze(1)

    def _combine(self, coil_images: Tensor) -> Tensor:
        return coil_images if self.sens_maps is None else (self.sens_maps.conj() * coil_images).sum(1)

    def _divided_samples(self, scale: Tensor) -> Tensor | None:
        samples = self._prepared.samples
        if samples is None:
            return None
        per_slice = samples.unflatten(0, (scale.shape[0], -1))  # coils of a slice follow each other
        return (per_slice / _with_axes(scale, per_slice.ndim)).flatten(0, 1)


def check_measurement(kspace: Tensor, mask: Tensor, sens_maps: Tensor | None) -> None:
    """Raise TypeError or ValueError unless the three fit together, as `DataStep` describes them."""
    shape = f"kspace {tuple(kspace.shape)}"
    if not kspace.is_complex():
        raise TypeError(f"{shape} is {kspace.dtype}, expected complex")
    if kspace.ndim not in (3, 4) or 0 in kspace.shape:
        raise ValueError(f"{shape}: expected (batch, ny, nx) or (batch, coils, ny, nx), none of them 0")
    if mask.dtype != torch.bool:
        raise TypeError(f"mask {tuple(mask.shape)} is {mask.dtype}, expected bool, True where a sample was acquired")
    sizes = zip(reversed(mask.shape), reversed(kspace.shape), strict=False)
    if mask.ndim > kspace.ndim or any(n not in (1, full) for n, full in sizes):
        raise ValueError(f"mask {tuple(mask.shape)} does not broadcast to {shape}")
    if sens_maps is None:
        if kspace.ndim == 4 and kspace.shape[1] != 1:
            raise ValueError(
                f"{shape} has {kspace.shape[1]} coils, but sens_maps is None: pass sensitivities of shape "
                f"{tuple(kspace.shape[1:])}, for example from csmri_ext.physics.estimate_sens_maps"
            )
        return
    if not sens_maps.is_complex():
        raise TypeError(f"sens_maps {tuple(sens_maps.shape)} is {sens_maps.dtype}, expected complex")
    if kspace.ndim == 3:
        raise ValueError(f"{shape} has no coil axis, but sens_maps {tuple(sens_maps.shape)} were given")
    if tuple(sens_maps.shape) not in (tuple(kspace.shape), (1, *kspace.shape[1:]), tuple(kspace.shape[1:])):
        raise ValueError(f"sens_maps {tuple(sens_maps.shape)} do not fit {shape}: expected {tuple(kspace.shape[1:])}")


def _on_complex(function: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """Apply a function of complex images to complex ones, or to the replicas ``(batch, 2 m, ny, nx)`` of real ones."""
    if image.is_complex():
        return function(image)
    result = function(torch.complex(*image.chunk(2, dim=1)))
    return torch.cat([result.real, result.imag], dim=1)


def _with_axes(scale: Tensor, ndim: int) -> Tensor:
    """``(batch, 1, 1)`` with as many axes of size 1 as broadcasting against `ndim` axes takes."""
    return scale.reshape(-1, *(1,) * (ndim - 1))


def _energy(image: Tensor) -> Tensor:
    return (image.real.square() + image.imag.square()).sum((-2, -1), keepdim=True)
