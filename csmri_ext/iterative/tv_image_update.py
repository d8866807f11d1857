"""The image update of TV-ADMM: conjugate gradients on ``(A^H A + rho G^H G) x = A^H y + rho G^H v``.

`KspaceUpdate` serves one coil without maps, where the whole system is diagonal in k-space. `SenseUpdate` serves
coil arrays. Both work with the zero frequency first, so that no FFT needs a shift, and both copy what ``bart pics``
does: warm start, at most 10 iterations, stop at ``||residual|| <= 1e-3 ||right-hand side||``, at least one iteration.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import scipy.fft

from csmri_ext.iterative.finite_differences import gradient_normal, gradient_spectrum

CG_ITERATIONS = 10
CG_TOLERANCE = 1e-3  # of the norm of the right-hand side


class ImageUpdate(Protocol):
    """One step of ADMM: remembers the last image, and improves it for a new ``G^H v``."""

    def solve(self, penalty: Any) -> tuple[Any, int]:
        """Return the image, complex64 ``(ny, nx)``, and the number of CG iterations, given ``G^H v``."""


def conjugate_gradient(
    apply: Callable[[Any], Any], residual: Any, tolerance: float, xp: ModuleType = np
) -> tuple[Any, int]:
    r"""Solve ``N dx = residual`` for a positive definite ``N``, starting at ``dx = 0``.

    The result added to the previous image is what CG started at that image would give.

    Parameters
    ----------
    apply
        ``apply(p)`` returns ``N p`` in an array that may be overwritten.
    residual
        float32, any shape (complex data are passed as a real view); overwritten by the final residual.
    tolerance
        Stop when the norm of the residual is at most this.
    xp
        Array module of `residual`.

    Returns
    -------
        The increment ``dx`` and the number of applications of ``N``, at most `CG_ITERATIONS`.
    """
    increment = xp.zeros_like(residual)
    direction = residual.copy()
    energy = _inner(residual, residual, xp)
    if energy == 0:
        return increment, 0
    iterations = 0
    while iterations < CG_ITERATIONS:
        applied = apply(direction)
        iterations += 1
        curvature = _inner(direction, applied, xp)
        if curvature == 0:
            break
        step = np.float32(energy / curvature)
        increment += step * direction
        applied *= step
        residual -= applied
        energy, last_energy = _inner(residual, residual, xp), energy
        if energy <= tolerance**2:
            break
        direction *= np.float32(energy / last_energy)
        direction += residual
    return increment, iterations


class KspaceUpdate:
    r"""Image update for one coil, done in k-space.

    There ``N = mask + rho * gradient_spectrum`` is a real diagonal and FFTs preserve every inner product of CG. A real
    diagonal changes no phase either, so CG runs on the moduli of the residual: real numbers, no FFT.

    Parameters
    ----------
    kspace
        y, complex64 ``(ny, nx)``, zero frequency first, zero where not sampled.
    mask
        bool ``(ny, nx)``, zero frequency first.
    rho
        Penalty weight of ADMM.
    xp
        Array module of all arrays.
    """

    def __init__(self, kspace: Any, mask: Any, rho: float, xp: ModuleType = np) -> None:
        self.xp = xp
        self.rho = np.float32(rho)
        self.measured = kspace
        self.diagonal = mask.astype(xp.float32) + self.rho * gradient_spectrum(kspace.shape, xp)
        self.spectrum = xp.zeros_like(kspace)
        self.fft, self.ifft = unitary_fft(xp)

    def solve(self, penalty: Any) -> tuple[Any, int]:
        """Return the image, complex64 ``(ny, nx)``, and the number of CG iterations, given ``G^H v``."""
        xp = self.xp
        residual = self.fft(penalty)
        residual *= self.rho
        residual += self.measured
        tolerance = CG_TOLERANCE * _norm(residual, xp)
        residual -= self.diagonal * self.spectrum
        modulus = xp.abs(residual)
        scratch = xp.empty_like(modulus)
        increment, iterations = conjugate_gradient(
            lambda direction: xp.multiply(self.diagonal, direction, out=scratch), modulus.copy(), tolerance, xp
        )
        increment /= xp.maximum(modulus, xp.finfo(xp.float32).tiny)
        residual *= increment
        self.spectrum += residual
        return self.ifft(self.spectrum.copy()), iterations


class SenseUpdate:
    r"""Image update for several coils, done in the image.

    ``N p = sum_c conj(S_c) F^H (mask F (S_c p)) + rho G^H G p``. Where the mask is constant along an axis, the FFTs
    along that axis cancel and are left out: half of the work for the usual masks of whole lines.

    Parameters
    ----------
    kspace
        y, complex64 ``(coils, ny, nx)``, zero frequency first, zero where not sampled.
    mask
        bool ``(ny, nx)``, zero frequency first.
    sens_maps
        S, complex64 ``(coils, ny, nx)``, rolled as the image is: pixel ``(ny // 2, nx // 2)`` first.
    rho
        Penalty weight of ADMM.
    xp
        Array module of all arrays.
    """

    def __init__(self, kspace: Any, mask: Any, sens_maps: Any, rho: float, xp: ModuleType = np) -> None:
        self.xp = xp
        self.rho = np.float32(rho)
        self.sens_maps = sens_maps
        self.conjugate_maps = sens_maps.conj()
        self.fft, self.ifft = unitary_fft(xp)
        self.measured = xp.sum(self.conjugate_maps * self.ifft(kspace.copy()), axis=0)
        self.image = xp.zeros_like(self.measured)

        self.axes: tuple[int, ...] = (-2, -1)
        if bool((mask == mask[:1]).all()):
            self.axes, mask = (-1,), mask[:1]
        elif bool((mask == mask[:, :1]).all()):
            self.axes, mask = (-2,), mask[:, :1]
        self.mask = mask.astype(xp.complex64)  # complex: numpy multiplies two equal types fastest
        self.coil_images = xp.empty_like(sens_maps)

    def solve(self, penalty: Any) -> tuple[Any, int]:
        """Return the image, complex64 ``(ny, nx)``, and the number of CG iterations, given ``G^H v``."""
        xp = self.xp
        residual = self.rho * penalty
        residual += self.measured
        tolerance = CG_TOLERANCE * _norm(residual, xp)
        residual -= self._normal(self.image)
        increment, iterations = conjugate_gradient(
            lambda direction: _real(self._normal(direction.view(xp.complex64)), xp), _real(residual, xp), tolerance, xp
        )
        self.image += increment.view(xp.complex64)
        return self.image, iterations

    def _normal(self, image: Any) -> Any:
        coils = self.xp.multiply(self.sens_maps, image, out=self.coil_images)
        coils = self.fft(coils, axes=self.axes)
        coils *= self.mask
        coils = self.ifft(coils, axes=self.axes)
        coils *= self.conjugate_maps
        out = self.rho * gradient_normal(image)
        out += self.xp.sum(coils, axis=0)
        return out


def unitary_fft(xp: ModuleType) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Orthonormal FFT over the last two axes (or `axes`), and its inverse; both may overwrite their argument.

    Results have the argument's dtype, in C order, as what follows takes for granted; numpy 1 gives complex128.
    """
    options: dict[str, Any] = {"axes": (-2, -1), "norm": "ortho"}
    if xp is np:  # scipy's transforms of complex64 take half the time of numpy's
        options |= {"overwrite_x": True, "workers": 1}
        return functools.partial(scipy.fft.fftn, **options), functools.partial(scipy.fft.ifftn, **options)

    def in_order(transform: Callable[..., Any]) -> Callable[..., Any]:
        return lambda array, **axes: xp.ascontiguousarray(transform(array, **(options | axes)), dtype=array.dtype)

    return in_order(xp.fft.fftn), in_order(xp.fft.ifftn)


def _real(array: Any, xp: ModuleType) -> Any:
    return array.view(xp.float32)


def _inner(left: Any, right: Any, xp: ModuleType) -> float:
    return float(xp.dot(left.ravel(), right.ravel()))


def _norm(array: Any, xp: ModuleType) -> float:
    flat = _real(array, xp)
    return float(np.sqrt(_inner(flat, flat, xp)))
