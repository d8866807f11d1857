"""Total variation as ``bart pics -S -i 200 -R T:3:0:w`` computes it, without BART and several times faster.

``min_x 0.5 ||M F S x - y / s||^2 + w sum |G x|``, result multiplied by ``s``, with periodic differences ``G`` and the
isotropic magnitude of a complex image. ADMM is stopped long before it converges, so agreement with BART needs the same
scale ``s``, the same ``rho`` and the same iteration budget: see ``docs/bart.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np

from csmri_ext.errors import InputError
from csmri_ext.iterative.bart_scaling import bart_scale
from csmri_ext.iterative.finite_differences import gradient, gradient_adjoint
from csmri_ext.iterative.tv_image_update import ImageUpdate, KspaceUpdate, SenseUpdate
from csmri_ext.stopping import check_stop

OVER_RELAXATION = np.float32(1.6)


@dataclass(frozen=True)
class TvResult:
    """An image, and how it was reached.

    Attributes
    ----------
    image
        complex64 ``(ny, nx)``, in units of k-space (orthonormal FFT).
    scale
        s, by which k-space was divided; the weight is relative to it.
    cg_iterations
        Number of CG iterations of each ADMM iteration. BART prints them at debug level 4.
    """

    image: Any
    scale: float
    cg_iterations: tuple[int, ...]


def tv(
    kspace: Any,
    mask: Any,
    sens_maps: Any = None,
    *,
    weight: float = 0.01,
    iterations: int = 200,
    scale: float | Literal["bart"] = "bart",
    rho: float = 0.5,
    xp: ModuleType | None = None,
) -> Any:
    r"""Reconstruct one slice with total variation, equal to ``bart pics -S -i 200 -R T:3:0:weight``.

    Parameters
    ----------
    kspace
        y, complex64 ``(coils, ny, nx)`` or ``(ny, nx)``, centred. Samples outside the mask are ignored.
    mask
        M, bool ``(ny, nx)`` or ``(nx,)``, True where acquired.
    sens_maps
        S, complex64 ``(coils, ny, nx)``. None for one coil, which stands for maps of ones.
    weight
        w, regularization weight for data of scale 1 (``C`` of BART's ``-R T:A:B:C``).
    iterations
        Budget of conjugate-gradient iterations, in total: ADMM ends after the first iteration that exceeds it. This is
        what ``bart pics -i`` means for TV.
    scale
        s, or ``"bart"`` for BART's estimate (`bart_scale`). 1 is ``bart pics -w 1``: the weight is then in units of the
        image.
    rho
        Penalty weight of ADMM (``bart pics -u``).
    xp
        numpy or cupy, whichever the arrays belong to. None infers it from `kspace`.

    Returns
    -------
        x, complex64 ``(ny, nx)``, on the same device as `kspace`.

    Raises
    ------
    InputError
        Shapes that do not fit, several coils without maps, NaN or all-zero k-space, NaN in the maps, a negative weight.

    References
    ----------
    Afonso, Bioucas-Dias, Figueiredo, IEEE Trans. Image Process. 20 (2011) 681, and BART v0.8.00.
    """
    return solve_tv(kspace, mask, sens_maps, weight=weight, iterations=iterations, scale=scale, rho=rho, xp=xp).image


def solve_tv(
    kspace: Any,
    mask: Any,
    sens_maps: Any = None,
    *,
    weight: float = 0.01,
    iterations: int = 200,
    scale: float | Literal["bart"] = "bart",
    rho: float = 0.5,
    xp: ModuleType | None = None,
) -> TvResult:
    r"""`tv` with the scale and the iteration counts. Parameters and errors are those of `tv`.

    ::

        repeat   x = approximate solution of (A^H A + rho G^H G) x = A^H y / s + rho G^H (z - u)
                 h = 1.6 G x - 0.6 z + u
                 z = h max(0, 1 - (w / rho) / |h|),   u = h - z
        until more than `iterations` CG iterations were spent on x

    Only ``h`` and ``kept = max(0, 1 - (w / rho) / |h|)`` are stored: ``z = kept h`` and ``u = (1 - kept) h``.
    """
    xp = xp or _array_module(kspace)
    kspace, mask = _checked(kspace, mask, sens_maps, weight, iterations, rho, xp)
    if scale == "bart":
        scale = bart_scale(kspace, xp)
    elif not scale > 0:
        raise InputError(f"scale must be positive or 'bart', got {scale}")

    kspace = _zero_frequency_first(kspace, xp) * np.float32(1 / scale)
    mask = _zero_frequency_first(mask, xp)
    update: ImageUpdate
    if sens_maps is None:
        update = KspaceUpdate(kspace[0], mask, rho, xp)
    else:
        maps = _zero_frequency_first(xp.asarray(sens_maps, dtype=xp.complex64), xp)
        update = SenseUpdate(kspace, mask, maps, rho, xp)

    shape = mask.shape
    threshold = np.float32(weight / rho)
    smallest = max(threshold, np.finfo(np.float32).tiny)  # no 0 / 0 where the image is flat
    h = xp.zeros((2, *shape), xp.complex64)
    field = xp.empty_like(h)
    kept = xp.zeros(shape, xp.float32)
    penalty = xp.zeros(shape, xp.complex64)
    counts: list[int] = []
    while len(counts) < iterations and sum(counts) <= iterations:
        check_stop()
        image, count = update.solve(penalty)
        counts.append(count)
        h *= 1 - OVER_RELAXATION * kept
        h += gradient(OVER_RELAXATION * image, out=field)
        magnitude = xp.sqrt(xp.sum(h.real**2 + h.imag**2, axis=0))
        kept = xp.maximum(magnitude - threshold, 0) / xp.maximum(magnitude, smallest)
        penalty = gradient_adjoint(xp.multiply(h, 2 * kept - 1, out=field))

    image = xp.fft.fftshift(image, axes=(-2, -1)) * np.float32(scale)
    return TvResult(image, float(scale), tuple(counts))


def tv_volume(
    kspace: Any,
    mask: Any,
    sens_maps: Any = None,
    *,
    workers: int = 1,
    progress: Callable[[], object] | None = None,
    xp: ModuleType | None = None,
    **options: Any,
) -> Any:
    """Apply `tv` to every slice of a volume; each slice has its own scale.

    Parameters
    ----------
    kspace
        complex64 ``(slices, coils, ny, nx)`` or ``(slices, ny, nx)``. Slices are indexed one at a time, so a stack that
        reads from a file is never held in memory as a whole.
    mask
        bool ``(nx,)`` or ``(ny, nx)`` for all slices.
    sens_maps
        complex64 ``(slices, coils, ny, nx)``, or None for one coil.
    workers
        Slices solved at the same time, in threads. The result does not depend on it.
    progress
        Called without arguments after each slice, from this thread.
    xp
        As in `tv`.
    **options
        `weight`, `iterations`, `scale`, `rho` of `tv`.

    Returns
    -------
        complex64 ``(slices, ny, nx)``.

    Raises
    ------
    InputError
        As `tv`; also for maps of another number of slices.
    """
    n_slices = len(kspace)
    if sens_maps is not None and len(sens_maps) != n_slices:
        raise InputError(f"sens_maps have {len(sens_maps)} slices, k-space has {n_slices}")

    def solve(index: int) -> Any:
        return tv(kspace[index], mask, None if sens_maps is None else sens_maps[index], xp=xp, **options)

    images = []
    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            for image in pool.map(solve, range(n_slices)):
                images.append(image)
                if progress is not None:
                    progress()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if not images:
        raise InputError(f"k-space of shape {kspace.shape} has no slices")
    return (xp or _array_module(images[0])).stack(images)


def _array_module(array: Any) -> ModuleType:
    """numpy, or the package that the array's type comes from, such as cupy."""
    return sys.modules[type(array).__module__.partition(".")[0]] if hasattr(array, "__cuda_array_interface__") else np


def _zero_frequency_first(array: Any, xp: ModuleType) -> Any:
    return xp.fft.ifftshift(array, axes=(-2, -1))


def _checked(
    kspace: Any, mask: Any, sens_maps: Any, weight: float, iterations: int, rho: float, xp: ModuleType
) -> tuple[Any, Any]:
    """Return k-space as complex64 ``(coils, ny, nx)``, zero outside the mask, and the mask as bool ``(ny, nx)``."""
    kspace, mask = xp.asarray(kspace, dtype=xp.complex64), xp.asarray(mask)
    if kspace.ndim == 2:
        kspace = kspace[None]
    if kspace.ndim != 3:
        raise InputError(f"k-space must be (coils, ny, nx) or (ny, nx), got shape {kspace.shape}")
    shape = kspace.shape[1:]
    if mask.shape not in (shape, shape[1:]):
        raise InputError(f"mask of shape {mask.shape} does not fit k-space (ny, nx) = {shape}")
    if sens_maps is None and len(kspace) > 1:
        raise InputError(f"k-space has {len(kspace)} coils, so it needs sens_maps of shape {kspace.shape}")
    if sens_maps is not None and sens_maps.shape != kspace.shape:
        raise InputError(f"sens_maps of shape {sens_maps.shape} do not fit k-space {kspace.shape}")
    if not 0 <= weight < float("inf"):
        raise InputError(f"weight must be 0 or more, got {weight}")
    if iterations < 1 or not rho > 0:
        raise InputError(f"iterations and rho must be positive, got {iterations} and {rho}")
    mask = xp.broadcast_to(mask.astype(bool), shape)
    kspace = xp.where(mask, kspace, xp.complex64(0))
    if not bool(xp.isfinite(kspace).all()):
        raise InputError("k-space has NaN or infinite samples")
    if sens_maps is not None and not bool(xp.isfinite(xp.asarray(sens_maps)).all()):
        raise InputError("sens_maps have NaN or infinite values")
    if not bool(kspace.any()):
        raise InputError("k-space is all zero inside the mask")
    return kspace, mask
