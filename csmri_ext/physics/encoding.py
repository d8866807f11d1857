"""`Encoding`: the operator ``A = M F S`` of (parallel) MRI, and the data behind it as solvers and networks use them.

S multiplies the image by the coil sensitivities, F is the centred orthonormal Fourier transform and M keeps the
acquired samples. Reference: Pruessmann et al., "Advances in sensitivity encoding with arbitrary k-space trajectories"
(2001).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from csmri_ext.ops import (
    PreparedKspace,
    data_consistency_normal_term,
    data_consistency_prepared,
    divide_prepared,
    encode,
    encode_adjoint,
    prepare_data_consistency,
    sense_normal,
)
from csmri_ext.physics.conjugate_gradients import conjugate_gradients
from csmri_ext.physics.fitting import (
    check_measurement,
    require_broadcast,
    require_fit,
    require_no_pairs,
    require_tensor,
)
from csmri_ext.physics.noise import noise_variance

CG_ITERATIONS = 10
CG_TOLERANCE = 1e-5  # of the norm of the right-hand side


class Encoding:
    """Encoding operator ``A = M F S`` with its adjoint and normal operator; with data y also the steps towards them.

    Prepares the data once; every step then runs fused kernels (`csmri_ext.ops`).

    Parameters
    ----------
    kspace
        y, complex, ``(ny, nx)`` or ``(batch, ny, nx)`` without sensitivities, else ``(coils, ny, nx)`` or ``(batch,
        coils, ny, nx)``; zero frequency at ``n // 2``. Values that the mask excludes do not matter. A coil axis of
        length 1 needs no sensitivities where there is a batch. None: the operator alone; `zero_filled`, `step` and
        `proximal` then raise.
    mask
        M, bool, True where acquired; broadcasts to `kspace`: ``(nx,)`` or ``(ny, nx)`` for all slices, ``(batch, 1,
        nx)`` or ``(batch, 1, 1, nx)`` for one per slice, with as many axes as k-space. None: fully sampled.
    sens_maps
        S, complex, ``(coils, ny, nx)`` or ``(batch, coils, ny, nx)``. None: one coil of sensitivity 1.

    Attributes
    ----------
    mask, sens_maps
        As given.
    scale
        Multiply images by it to undo `normalized` and `with_phase`: complex, ``(batch, 1, 1)`` or ``(batch, ny, nx)``;
        1.0 before.

    Raises
    ------
    TypeError, ValueError
        A mask that is not bool; tensors that do not fit together (both shapes are named), here and in the methods;
        k-space of several coils without sensitivities.

    Examples
    --------
    >>> encoding = Encoding(kspace, mask, sens_maps)
    >>> image = encoding.zero_filled
    >>> for network in networks:
    ...     image = encoding.proximal(network(image), mu=0.05)
    """

    def __init__(self, kspace: Tensor | None, mask: Tensor | None, sens_maps: Tensor | None = None) -> None:
        check_measurement(kspace, mask, sens_maps)
        self.mask, self.sens_maps = mask, sens_maps
        self.scale: Tensor | float = 1.0
        self._coil_axis = kspace is not None and kspace.ndim == 4 and sens_maps is None  # of length 1
        self._phase: Tensor | None = None  # of a single coil; several have it in their sensitivities
        self._data: PreparedKspace | None = None
        self._zero_filled: Tensor | None = None
        self._kspace = kspace
        self._relative_noise: Tensor | None = None
        if kspace is None:
            return
        if self._coil_axis:
            kspace = kspace[:, 0]
            self.mask = mask[:, 0] if mask is not None and mask.ndim == 4 else mask
        everything = torch.ones(kspace.shape[-1], dtype=torch.bool, device=kspace.device)
        self._data = prepare_data_consistency(kspace, everything if self.mask is None else self.mask)
        self._zero_filled = self._combine(data_consistency_prepared(torch.zeros_like(kspace), self._data, 1.0))

    @property
    def multi_coil(self) -> bool:
        """Whether there are sensitivities of several coils; ``A A^H`` is then not the identity on the samples."""
        return self.sens_maps is not None and self.sens_maps.shape[-3] > 1

    @property
    def support(self) -> Tensor | None:
        """Where any coil sees the object, bool ``(ny, nx)`` or ``(batch, ny, nx)``: elsewhere the data say nothing.

        None without sensitivities.
        """
        return None if self.sens_maps is None else (self.sens_maps != 0).any(-3)

    @property
    def zero_filled(self) -> Tensor:
        """``A^H y``, complex ``(ny, nx)`` or ``(batch, ny, nx)``."""
        if self._zero_filled is None:
            raise ValueError("Encoding(None, ...) is an operator without data: pass kspace to reconstruct")
        return self._zero_filled

    @property
    def relative_noise_variance(self) -> Tensor:
        """`noise_variance` of the samples over the squared maximum of ``|A^H y|``, ``(1, 1)`` or ``(batch, 1, 1)``.

        Of several coils. The same for any unit of the data, and after `normalized` and `with_phase`.
        """
        if self._relative_noise is None:
            highest = (self.zero_filled * self.scale).abs().amax((-2, -1), keepdim=True)
            unit = torch.where(highest > 0, highest, 1)
            assert self._kspace is not None
            self._relative_noise = noise_variance(self._kspace / unit.unsqueeze(-3), self.mask)[..., None, None]
        return self._relative_noise

    def normalized(self, peak: float | None, *, rotate: bool = True) -> Encoding:
        """Return the same with the data of each slice divided by its `scale`: neither unit nor constant phase is left.

        An empty slice stays as it is.

        Parameters
        ----------
        peak
            Maximum magnitude of the zero-filled image z of each slice afterwards; None: as it is.
        rotate
            Turn the data so that ``sum z |z|`` is real and positive: bright pixels, where the phase is known best,
            decide.
        """
        magnitude = self.zero_filled.abs()
        highest = magnitude.amax((-2, -1), keepdim=True)
        unit = torch.where(highest > 0, highest, 1)
        scale = torch.where(highest > 0, highest / peak, 1) if peak is not None else torch.ones_like(highest)
        if rotate:
            # around 1, where neither the products nor their sum leave the range of the dtype
            direction = ((self.zero_filled / unit) * (magnitude / unit)).sum((-2, -1), keepdim=True)
            scale = scale * torch.where(direction == 0, 1, direction.sgn())
        return self._divided(scale)

    def with_phase(self, phase: Tensor) -> Encoding:
        """Return the operator ``A diag(phase)``, for images without this phase, with the same data.

        Parameters
        ----------
        phase
            Complex numbers of magnitude 1, ``(ny, nx)`` or ``(batch, ny, nx)``, such as `low_resolution_phase` of
            `zero_filled`. It becomes part of `scale`.
        """
        require_tensor("phase", phase)
        result = self._copy()
        result.scale = self.scale * phase
        if self.sens_maps is not None:
            result.sens_maps = self.sens_maps * phase.unsqueeze(-3)
        else:
            result._phase = phase if self._phase is None else self._phase * phase
        if self._zero_filled is not None:
            result._zero_filled = self._zero_filled * phase.conj()
        return result

    def forward(self, image: Tensor) -> Tensor:
        """Image to k-space, ``A x = M F S x``.

        Parameters
        ----------
        image
            complex, ``(ny, nx)`` or ``(batch, ny, nx)``.

        Returns
        -------
            ``(coils, ny, nx)`` or ``(batch, coils, ny, nx)``, zero where not sampled; the shape of `image` if there
            are no sensitivities, with the coil axis of the data if they had one.
        """
        require_no_pairs("image", image)
        if self.sens_maps is not None:
            require_fit("image", image, self.sens_maps, 2)
        elif self._phase is not None:
            image = self._phase * image
        image, sens_maps = _promoted(image, self.sens_maps)
        kspace = encode(image, sens_maps, self.mask)
        return kspace.unsqueeze(1) if self._coil_axis else kspace

    def adjoint(self, kspace: Tensor) -> Tensor:
        """k-space to image, ``A^H y = sum_c conj(S_c) F^H M y_c``.

        Parameters
        ----------
        kspace
            complex, the shape that `forward` returns.

        Returns
        -------
            complex, ``(ny, nx)`` or ``(batch, ny, nx)``.
        """
        require_no_pairs("kspace", kspace)
        if self._coil_axis and kspace.ndim == 4:
            kspace = kspace[:, 0]
        if self.sens_maps is not None:
            require_fit("kspace", kspace, self.sens_maps, 3)
        if self.mask is not None:
            require_broadcast(self.mask, "kspace", kspace)
        kspace, sens_maps = _promoted(kspace, self.sens_maps)
        image = encode_adjoint(kspace, sens_maps, self.mask)
        return image if self._phase is None else self._phase.conj() * image

    def normal(self, image: Tensor) -> Tensor:
        """``A^H A x = sum_c conj(S_c) F^H M F S_c x``, by fused kernels: no shift, no k-space in memory.

        Parameters
        ----------
        image
            complex, ``(ny, nx)`` or ``(batch, ny, nx)``; or the m replicas of a network, ``(batch, m, ny, nx)`` with
            several coils, real ``(batch, 2 m, ny, nx)`` (the real, then the imaginary parts) with any.

        Returns
        -------
            dtype and shape of `image`; float32 replicas for those of 16 bits.
        """
        if self.sens_maps is not None:
            return self._on_complex(self._multi_coil_normal, image)
        return self._turned(self._single_coil_normal, image)

    def step(self, image: Tensor, eta: Tensor | float) -> Tensor:
        """One gradient step towards the data, ``x + eta A^H (y - A x)``.

        With a single coil, `eta` = 1 replaces the acquired samples and ``1 / (1 + mu)`` is `proximal`.

        Parameters
        ----------
        image
            complex, shape of `zero_filled`; or replicas as in `normal`, each of which takes the step.
        eta
            Number or real tensor of one element; differentiable.

        Returns
        -------
            As in `normal`.
        """
        zero_filled = self.zero_filled
        if self.sens_maps is None:
            data = self._data
            assert data is not None
            return self._turned(lambda x: data_consistency_prepared(x, data, eta), image)
        return self._on_complex(lambda x: x + eta * (_like(zero_filled, x) - self._multi_coil_normal(x)), image)

    def proximal(self, image: Tensor, mu: Tensor | float, *, iterations: int = CG_ITERATIONS) -> Tensor:
        """``argmin_x 1/2 ||y - A x||^2 + mu/2 ||x - image||^2``  (GA-HQS, eq. 4 and 5).

        Without sensitivities the closed form ``step(image, 1 / (1 + mu))``. With them conjugate gradients on
        ``(A^H A + mu) x = A^H y + mu image``, from `image`; a slice is done when its residual is 1e-5 of the right-hand
        side. Differentiable: the iterations are unrolled, always all, so that no value has to be waited for. NasN's
        eq. 7 weights the data instead: its lambda is ``1 / mu``.

        Parameters
        ----------
        image
            As in `step`.
        mu
            Number or real tensor of one element, > 0; with sensitivities also one per slice, ``(batch, 1, 1)``;
            differentiable.
        iterations
            Number of conjugate gradients.

        Returns
        -------
            As in `normal`.
        """
        if self.sens_maps is None:
            return self.step(image, 1 / (1 + mu))
        zero_filled = self.zero_filled

        def solve(x: Tensor) -> Tensor:
            target = _like(zero_filled, x)
            weight = _like(mu, x) if isinstance(mu, Tensor) and mu.ndim == 3 else mu
            increment = conjugate_gradients(
                lambda p: self._multi_coil_normal(p) + weight * p,
                target - self._multi_coil_normal(x),
                iterations=iterations,
                tolerance=CG_TOLERANCE,
                reference=target + weight * x,
            )
            return x + increment

        return self._on_complex(solve, image)

    def replicas(self, m: int) -> Tensor:
        """Return `zero_filled` m times, as real channels ``(batch, 2 m, ny, nx)``: real, then imaginary parts."""
        parts = torch.view_as_real(self.zero_filled).movedim(-1, 1)
        return parts.unsqueeze(2).expand(-1, -1, m, -1, -1).flatten(1, 2)

    def _copy(self) -> Encoding:
        """Copy the references, an attribute at a time: torch 2.7 compiles neither copy.copy nor a loop over a dict."""
        result = Encoding.__new__(Encoding)
        result.mask, result.sens_maps, result.scale = self.mask, self.sens_maps, self.scale
        result._coil_axis, result._phase = self._coil_axis, self._phase
        result._data, result._zero_filled = self._data, self._zero_filled
        result._kspace, result._relative_noise = self._kspace, self._relative_noise
        return result

    def _divided(self, scale: Tensor) -> Encoding:
        assert self._data is not None
        result = self._copy()
        result.scale = self.scale * scale
        result._zero_filled = self.zero_filled / scale
        result._data = divide_prepared(self._data, scale if self.sens_maps is None else scale.unsqueeze(-3))
        return result

    def _on_complex(self, function: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
        """Apply a function of complex images to complex ones, or to the real replicas ``(batch, 2 m, ny, nx)``."""
        self._require_image(image)
        if image.is_complex():
            return function(image)
        wide = image if image.dtype == torch.float64 else image.float()  # there are no complex numbers of 16 bits
        result = function(torch.complex(*wide.chunk(2, dim=1)))
        return torch.cat([result.real, result.imag], dim=1)

    def _turned(self, function: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
        """Apply a function of images with the phase to images without it."""
        self._require_image(image)
        if self._phase is None:
            return function(image)
        return _times(function(_times(image, self._phase)), self._phase, conjugate=True)

    def _require_image(self, image: Tensor) -> None:
        known = self.sens_maps if self._zero_filled is None else self._zero_filled
        require_no_pairs("image", image, None if known is None else known.shape[-1])

    def _single_coil_normal(self, image: Tensor) -> Tensor:
        if self._data is not None:
            return data_consistency_normal_term(image, self._data, -1.0)
        if self.mask is None:
            return image
        return sense_normal(image, None, self.mask)

    def _multi_coil_normal(self, image: Tensor) -> Tensor:
        sens_maps, mask = self.sens_maps, self.mask
        assert sens_maps is not None
        if image.ndim < 4:
            require_fit("image", image, sens_maps, 2)
        else:  # replicas go between slice and coil
            sens_maps = sens_maps.unsqueeze(1) if sens_maps.ndim == 4 else sens_maps
            mask = mask.unsqueeze(1) if mask is not None and mask.ndim == 4 else mask
        dtype = torch.promote_types(image.dtype, sens_maps.dtype)
        if mask is None:
            return sens_maps.abs().square().sum(-3) * image
        return sense_normal(image.to(dtype), sens_maps.to(dtype), mask)

    def _combine(self, coil_images: Tensor) -> Tensor:
        if self.sens_maps is None:
            return coil_images if self._phase is None else self._phase.conj() * coil_images
        return (self.sens_maps.conj() * coil_images).sum(-3)


# Messages are made where they are raised and nowhere else: formatting a size fixes it in a compiled function.
def _promoted(x: Tensor, sens_maps: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Images or k-space, and maps, in the wider of their precisions."""
    if sens_maps is None:
        return x, None
    dtype = torch.promote_types(x.dtype, sens_maps.dtype)
    return x.to(dtype), sens_maps.to(dtype)


def _times(image: Tensor, phase: Tensor, *, conjugate: bool = False) -> Tensor:
    """Multiply a complex image, or the replicas ``(batch, 2 m, ny, nx)`` of a real one, by `phase` or its conjugate."""
    if image.is_complex():
        return image * (phase.conj() if conjugate else phase)
    real, imaginary = image.chunk(2, dim=1)
    cosine, sine = phase.real.unsqueeze(1), phase.imag.unsqueeze(1)
    sine = -sine if conjugate else sine  # not of phase.conj(), whose parts torch.vmap does not know
    return torch.cat([real * cosine - imaginary * sine, real * sine + imaginary * cosine], dim=1)


def _like(zero_filled: Tensor, image: Tensor) -> Tensor:
    """Add the axis of the replicas, if `image` has one."""
    return zero_filled.unsqueeze(1) if image.ndim > zero_filled.ndim else zero_filled
