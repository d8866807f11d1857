"""ESPIRiT: sensitivities as eigenvectors of the operator that makes calibration data consistent with themselves.

Uecker et al., "ESPIRiT: an eigenvalue approach to autocalibrating parallel MRI: where SENSE meets GRAPPA", 2014. Every
``ky x kx`` patch of all coils in the calibration region is a row of a matrix ``A``. Its rows span a small space, since
coils see one object through smooth sensitivities; ``P`` is the projection onto it, here from the eigenvectors of the
Gram matrix ``A^H A``. Asking every patch of k-space to lie in that space is a convolution of the coils with each other,
hence at each pixel ``r`` a matrix between coils,

    C(r)_cd = 1 / (ky kx) sum_pq conj(P_(c p),(d q)) exp(2 pi i (p - q) r / n),

whose eigenvalues lie between 0 and 1. The true sensitivities are its eigenvector of eigenvalue 1 where there is an
object; where there is none, no eigenvalue reaches 1. ``C`` is a trigonometric polynomial with ``2 k - 1`` coefficients
along each axis, so that two small matrix products evaluate it exactly at every pixel.

Three things differ from the paper. The power iteration starts at the low-resolution coil images: where two eigenvalues
are equally large, as at the edges of an object that fills the field of view, it stays with the combination that the
data show there. And kernel, calibration region and crop follow the lines at hand: a narrow region has few patches
across, which do not span the space of a wide kernel, and the object would miss the crop and be cut away. Where the
echo lies near an end of the region, patches without it are given more weight (`_balanced`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from csmri_ext.physics.calibration.center import Place, region_around, smooth_images
from csmri_ext.physics.coils import rss
from csmri_ext.stopping import check_stop

LARGEST_KERNEL = 6
SIDE = 24  # of the calibration region, as in `bart ecalib`; the longer side grows where patches are few
PATCHES = 3  # for each column of the calibration matrix, if there are that many
THRESHOLD = 1e-3  # smallest eigenvalue of the Gram matrix that counts as signal, relative to the largest
CROP = 0.9
OBJECT = 0.2  # brightness relative to the brightest pixel from which on a pixel is part of the object
ABOVE_NOISE = 5.0  # times the quarter smallest eigenvalue, where patches are balanced: these are noise, not rounding
ENOUGH = 0.8  # eigenvalue that 95 % of the object must reach, else the kernel is too wide for the lines
COARSE = 32  # side of the grid on which that is looked at
POWER_ITERATIONS = 4  # more would leave what the data show, where the second eigenvalue is near the first
CHUNK = 1 << 21  # matrix entries evaluated at a time


class EigenMaps(NamedTuple):
    """What the eigenvalue problem at each pixel gives.

    Attributes
    ----------
    sens_maps
        complex, ``(batch, coils, ny, nx)``, unit norm over the coils, of any phase; 0 where the images are 0.
    eigenvalues
        real, ``(batch, ny, nx)``, from 0 to 1.
    """

    sens_maps: Tensor
    eigenvalues: Tensor


class MapsAndObject(NamedTuple):
    """Sensitivities at every pixel, and where the object is.

    Attributes
    ----------
    sens_maps
        complex, ``(batch, coils, ny, nx)``, of any norm and phase, not cropped.
    is_object
        bool, ``(batch, ny, nx)``, False in air.
    """

    sens_maps: Tensor
    is_object: Tensor


def maps_and_object(center: Tensor, ny: int, nx: int, crop: float = CROP, echo: Place | None = None) -> MapsAndObject:
    """Sensitivities by ESPIRiT, and where there is an object.

    Pixels where the low-resolution image is brighter than a fifth of its maximum are the object for sure, and kept. The
    eigenvalue that 95 % of them reach, 0.99 with 24 columns and less with few, is the yardstick: other pixels are kept
    where their eigenvalue exceeds `crop` times it, and the widest kernel is taken that leaves it above 0.8, usually
    6 x 6 with 10 columns or more, 6 x 5 with 8, 6 x 3 with 5. Where none does, the low-resolution images themselves are
    the maps, without crop.

    Parameters
    ----------
    center
        The fully sampled centre of k-space, complex, ``(batch, coils, my, mx)``.
    ny, nx
        Size of the maps.
    crop
        Smallest eigenvalue that is kept, relative to that of the object.
    echo
        Row and column in `center`, as in `smooth_images`.

    Returns
    -------
        Maps, and which pixels are kept.
    """
    found = [_of_slice(item, ny, nx, crop, echo) for item in center.split(1)]
    return MapsAndObject(torch.cat([one.sens_maps for one in found]), torch.cat([one.is_object for one in found]))


def eigen_maps(center: Tensor, ny: int, nx: int, kernel: tuple[int, int]) -> EigenMaps:
    """Solve the eigenvalue problem of ESPIRiT with a given kernel, nothing cropped.

    Parameters
    ----------
    center
        As in `maps_and_object`.
    ny, nx
        Size of the maps.
    kernel
        ``(ky, kx)``, at most the size of the centre.

    Returns
    -------
        Maps and eigenvalues.
    """
    return _eigen_maps(_coefficients(center, kernel), smooth_images(center, ny, nx))


def _of_slice(center: Tensor, ny: int, nx: int, crop: float, echo: Place | None) -> MapsAndObject:
    images = smooth_images(center, ny, nx, echo=echo)
    for kernel in _kernels(*center.shape[-2:]):
        coefficients = _coefficients(center, kernel, echo)
        reached = _eigenvalue_of_object(coefficients, center, echo)
        if reached > ENOUGH:
            maps, eigenvalues = _eigen_maps(coefficients, images)
            return MapsAndObject(maps, (eigenvalues > crop * reached) | _is_bright(images))
    return MapsAndObject(images, torch.ones_like(images[:, 0], dtype=torch.bool))


def _kernels(my: int, mx: int) -> Iterator[tuple[int, int]]:
    """Kernels to try, from the widest, which has half as many samples as the axis and one more, to the narrowest, 2."""
    widest = [min(LARGEST_KERNEL, n // 2 + 1) for n in (my, mx)]
    narrow = min(widest)
    for k in range(narrow, min(1, narrow - 1), -1):  # the narrow axis is the one that lacks patches, or both are
        yield k if widest[0] == narrow else widest[0], k if widest[1] == narrow else widest[1]


def _eigenvalue_of_object(coefficients: Tensor, center: Tensor, echo: Place | None) -> float:
    """Find the eigenvalue that 95 % of the bright pixels reach, on a coarse grid."""
    images = smooth_images(center, COARSE, COARSE, COARSE, echo)
    return float(_eigen_maps(coefficients, images).eigenvalues[_is_bright(images)].quantile(0.05))


def _is_bright(images: Tensor) -> Tensor:
    brightness = rss(images)
    return brightness > OBJECT * brightness.amax((-2, -1), keepdim=True)


def _coefficients(center: Tensor, kernel: tuple[int, int], echo: Place | None = None) -> Tensor:
    """Fourier coefficients of C, ``(batch, 2 ky - 1, 2 kx - 1, coils, coils)``, frequency 0 in the middle.

    ``sum_(p - q = f) conj(P_(c p),(d q)) / (ky kx)``: the autocorrelation of all kernels at once.
    """
    ky, kx = kernel
    batch, n_coils = center.shape[:2]
    region, is_middle = _region(center, kernel, echo)
    patches = region.unfold(-2, ky, 1).unfold(-2, kx, 1).permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)
    if not is_middle:
        patches = _balanced(patches)
    values, vectors = torch.linalg.eigh(patches.mH @ patches)
    least = THRESHOLD * values[:, -1:]
    if not is_middle:
        least = least.maximum(ABOVE_NOISE * values.quantile(0.25, dim=-1, keepdim=True))
    signal = vectors * (values > least)[:, None]
    projection = (signal @ vectors.mH).conj().reshape(batch, ky, kx, n_coils, ky, kx, n_coils)
    coefficients = projection.new_zeros(batch, 2 * ky - 1, 2 * kx - 1, n_coils, n_coils)
    for y in range(ky):
        for x in range(kx):  # q of this sample is its place from the end, as p - q + k - 1 is that of the coefficient
            part = projection[:, :, :, :, ky - 1 - y, kx - 1 - x]
            coefficients[:, y : y + ky, x : x + kx] += part
    return coefficients / (ky * kx)


def _balanced(patches: Tensor) -> Tensor:
    """Divide each patch by the square root of its norm, which is taken as twice the tenth weakest at least.

    With the echo in the middle, patches see it in all of their places. At one end of the region they see it in few, the
    others are weak, and what they alone span would count as noise.
    """
    norms = torch.linalg.vector_norm(patches, dim=-1, keepdim=True)
    weakest = norms.quantile(0.1, dim=-2, keepdim=True)
    tiny = torch.finfo(norms.dtype).tiny
    return patches / norms.maximum(2 * weakest).clamp_min(tiny).sqrt()


def _region(center: Tensor, kernel: tuple[int, int], echo: Place | None = None) -> tuple[Tensor, bool]:
    """Cut out what is around the echo, `SIDE` wide; the longer axis as long as `PATCHES` for each unknown take.

    Also say whether patches see the echo in all of their places, as they do where it is in the middle.
    """
    sides = list(center.shape[-2:])
    long = 0 if sides[0] >= sides[1] else 1
    short = 1 - long
    sides[short] = min(sides[short], SIDE)
    across = sides[short] - kernel[short] + 1
    wanted = -(-PATCHES * center.shape[1] * kernel[0] * kernel[1] // across) + kernel[long] - 1
    sides[long] = min(sides[long], max(SIDE, wanted))
    middle = center.shape[-2] // 2, center.shape[-1] // 2
    at = echo or middle
    region, place = region_around(center, (sides[0], sides[1]), at)
    around = zip(at, middle, place, sides, kernel, strict=True)
    return region, all(a == b or min(here, side - 1 - here) >= k - 1 for a, b, here, side, k in around)


def _eigen_maps(coefficients: Tensor, images: Tensor) -> EigenMaps:
    """Power iteration at each pixel, starting at the coil images there."""
    ny, nx = images.shape[-2:]
    maps = torch.empty_like(images)
    eigenvalues = images.real.new_empty(images.shape[0], ny, nx)
    tiny = torch.finfo(images.dtype).tiny
    for rows, operator in _operators(coefficients, ny, nx):
        check_stop()  # a slice of many coils takes seconds, in a thread, where no signal arrives
        vectors = images[:, :, rows].permute(0, 2, 3, 1)[..., None]
        for _ in range(POWER_ITERATIONS):
            vectors = torch.nn.functional.normalize(operator @ vectors, dim=-2, eps=tiny)
        eigenvalues[:, rows] = (vectors.mH @ (operator @ vectors))[..., 0, 0].real
        maps[:, :, rows] = vectors[..., 0].permute(0, 3, 1, 2)
    return EigenMaps(maps, eigenvalues)


def _operators(coefficients: Tensor, ny: int, nx: int) -> Iterator[tuple[slice, Tensor]]:
    """Evaluate C for some rows of pixels at a time, ``(batch, rows, nx, coils, coils)``."""
    batch, n_coils = coefficients.shape[0], coefficients.shape[-1]
    along_y, along_x = (
        _waves(n, size, coefficients) for n, size in zip((ny, nx), coefficients.shape[1:3], strict=True)
    )
    columns = torch.einsum("xf,bgfcd->bgxcd", along_x, coefficients).flatten(2)
    height = max(1, CHUNK // (batch * nx * n_coils**2))
    for top in range(0, ny, height):
        rows = slice(top, min(top + height, ny))
        yield rows, (along_y[rows] @ columns).reshape(batch, -1, nx, n_coils, n_coils)


def _waves(n: int, size: int, like: Tensor) -> Tensor:
    """``exp(2 pi i f r / n)``, ``(n, size)``, for pixels r around ``n // 2`` and frequencies f around ``size // 2``."""
    f = torch.arange(size, device=like.device, dtype=torch.float64) - size // 2
    r = torch.arange(n, device=like.device, dtype=torch.float64) - n // 2
    angles = 2 * torch.pi / n * torch.outer(r, f)
    return torch.polar(torch.ones_like(angles), angles).to(like.dtype)
