"""What an array says about its own conventions: where zero frequency lies, which samples were acquired."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def looks_dc_at_corner(kspace_or_mask: NDArray[Any]) -> bool:
    """Guess whether zero frequency lies at index 0 (plain FFT order) instead of at ``n // 2``.

    Compares the mean energy ``|k|^2`` (for a bool mask: the density) in a box around the centre, an eighth of each
    axis wide, with that of the same box around index 0, which plain FFT order splits over the four corners.

    Parameters
    ----------
    kspace_or_mask
        k-space (..., ny, nx), or a sampling mask (nx,) or (ny, nx); any numeric or bool dtype.

    Returns
    -------
        True when the corners hold clearly more (twice the energy, 1.5 times the density) than the centre. Arrays
        without such a maximum, as a full mask, give False.
    """
    array = np.asarray(kspace_or_mask)
    if array.ndim == 0:
        raise ValueError("expected k-space (..., ny, nx) or a mask (nx,) or (ny, nx), got a single number")
    density = array.astype(np.float64) if array.dtype == np.bool_ else np.abs(array).astype(np.float64) ** 2
    is_mask = array.dtype == np.bool_ or np.isin(density, (0.0, 1.0)).all()
    axes = (-1,) if array.ndim == 1 else (-2, -1)
    center = _central_mean(density, axes)
    corner = _central_mean(np.fft.fftshift(density, axes=axes), axes)
    return bool(corner > (1.5 if is_mask else 2.0) * center)


def _central_mean(array: NDArray[np.float64], axes: tuple[int, ...]) -> float:
    for axis in axes:
        n = array.shape[axis]
        half = n // 16
        array = array.take(range(n // 2 - half, n // 2 + half + 1), axis=axis)
    return float(array.mean())


def sampling_pattern(kspace: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Find which samples of a zero-filled k-space were acquired: those that are not exactly zero in every coil.

    Parameters
    ----------
    kspace
        Complex, (..., ny, nx); leading axes are coils.

    Returns
    -------
        bool ``(nx,)`` where whole columns are missing, bool ``(ny, nx)`` otherwise; None where the data are fully
        sampled. Empty rows or columns at the border are zero padding, not undersampling.
    """
    acquired = (kspace != 0).reshape(-1, *kspace.shape[-2:]).any(axis=0)
    rows, columns = acquired.any(axis=1), acquired.any(axis=0)
    if not acquired[np.ix_(rows, columns)].all() or not _is_contiguous(rows):
        return acquired
    return None if _is_contiguous(columns) else columns


def _is_contiguous(flags: NDArray[np.bool_]) -> bool:
    indices = np.flatnonzero(flags)
    return indices.size == 0 or indices[-1] - indices[0] + 1 == indices.size


def looks_like_spokes(kspace: NDArray[Any]) -> bool:
    """Guess whether the rows or columns are radial spokes or spirals: each passes the zero frequency at one place.

    Every line of non-Cartesian data has its strongest sample at the same place, its middle or its start, and these
    samples are about equally strong, because they are the same point of k-space. The lines of a Cartesian grid become
    weaker by orders of magnitude away from the centre.

    Parameters
    ----------
    kspace
        Complex, (..., ny, nx); leading axes are coils.
    """
    magnitude = np.sqrt((np.abs(kspace).astype(np.float64) ** 2).reshape(-1, *kspace.shape[-2:]).sum(axis=0))
    return any(_are_spokes(lines) for lines in (magnitude, magnitude.T))


def image_axis(kspace: NDArray[Any]) -> int | None:
    """Guess which axis, if one, is image space already, as where data were transformed along one direction only.

    Along the strongest line of the other axis, the energy of an image is spread over many samples, ``(sum e)^2 / sum
    e^2 / n`` is 0.3 to 0.8, and its neighbours correlate; that of k-space is in a few samples, 0.01 to 0.1.

    Parameters
    ----------
    kspace
        As in `sampling_pattern`.

    Returns
    -------
        0 for y, 1 for x, None where neither or both are.
    """
    coils = np.abs(kspace).astype(np.float64).reshape(-1, *kspace.shape[-2:])
    energy = (coils**2).sum(axis=0)
    if min(energy.shape) < 16 or not energy.any() or not np.isfinite(energy).all():
        return None
    lines = [energy[:, energy.sum(axis=0).argmax()], energy[energy.sum(axis=1).argmax()]]  # along y, along x
    spread = [float(line.sum() ** 2 / (line**2).sum() / line.size) for line in lines]
    axis = int(np.argmax(spread))
    values = np.moveaxis(np.asarray(kspace).reshape(coils.shape), axis + 1, -1)
    values = values[:, energy.sum(axis=axis).argmax()].astype(np.complex128)
    alike = float(abs((values[:, 1:] * values[:, :-1].conj()).sum())) / float((np.abs(values) ** 2).sum())
    return axis if spread[axis] > 0.25 and spread[1 - axis] < spread[axis] / 4 and alike > 0.8 else None


FEWEST_SPOKES = 5  # of a frame of fast imaging; a grid has more lines than that


def _are_spokes(lines: NDArray[np.float64]) -> bool:
    lines = lines[lines.any(axis=1)]
    n_lines, n = lines.shape
    if n_lines < FEWEST_SPOKES or n < 16:
        return False
    peaks, places = lines.max(axis=1), lines.argmax(axis=1)
    reach = max(2, n // 50)
    near = max((np.abs(places - n // 2) <= reach).mean(), (places <= reach).mean())
    alike = ((peaks > 0.3 * np.median(peaks)) & (peaks < 3 * np.median(peaks))).mean()
    sharp = (peaks > 3 * np.median(lines, axis=1)).mean()
    return bool(min(near, alike, sharp) >= 0.9)


def looks_like_coils(kspace: NDArray[Any]) -> bool | None:
    """Guess whether the first axis are coils that see one object, or images of different objects.

    Coil images are one image times smooth sensitivities: within a small neighbourhood their covariance has rank one,
    over the whole field of view it has not. With ``l`` and ``g`` from `likeness`, ``(1 - l) / (1 - g)`` is 0.02 to 0.05
    for coils, measured or simulated, and 0.25 to 0.65 for slices. Noise raises it, up to 0.45 for coils.

    Parameters
    ----------
    kspace
        Complex, (n, ny, nx), zero frequency at ``n // 2``.

    Returns
    -------
        None where this cannot be told: fewer than two images, a fully sampled centre below 24 x 24, much noise, or
        images that differ by factors.
    """
    found = likeness(kspace)
    if found is None or found[0] < 0.8 or found[1] > 0.9985:
        return None
    local, whole = found
    ratio = (1 - local) / (1 - whole)
    if whole > NEARLY_ONE:
        return False if ratio > 0.4 else None
    return True if ratio < 0.12 else False if ratio > 0.2 + 2 * max(0.0, 0.98 - local) else None


NEARLY_ONE = 0.995  # of the energy in one image and its multiples: neighbouring slices, or one slice again


def likeness(kspace: NDArray[Any]) -> tuple[float, float] | None:
    """Compute how alike images are: the largest eigenvalue's share of their covariance, locally and globally.

    Locally is within 5 x 5 pixels of images of 48 x 48, from the centre of k-space, mean weighted with energy.

    Parameters
    ----------
    kspace
        As `looks_like_coils` takes it.

    Returns
    -------
        Both shares, or None: fewer than two images, or a fully sampled centre below 24 x 24.
    """
    size = _sampled_center(np.asarray(kspace.any(axis=0)), 48)
    corner = [n // 2 - m // 2 for n, m in zip(kspace.shape[-2:], size, strict=True)]
    center = kspace[:, corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]].astype(np.complex128)
    if len(center) < 2 or min(size) < 24 or not center.any(axis=0).all() or not np.isfinite(center).all():
        return None
    taper = [np.cos(np.pi * (np.arange(m) - m // 2) / (m + 1)) for m in size]
    images = np.fft.fft2(center * taper[0][:, None] * taper[1])  # which way, and a phase, make no difference here
    images = np.fft.fftshift(images / np.linalg.norm(images), axes=(-2, -1))
    covariance = np.einsum("byx,cyx->yxbc", images, images.conj())
    whole = float(np.linalg.eigvalsh(covariance.sum(axis=(0, 1)))[-1])
    for axis in (0, 1):
        covariance = np.sum([np.roll(covariance, shift, axis) for shift in range(-2, 3)], axis=0)
    eigenvalues = np.linalg.eigvalsh(covariance)
    return float(eigenvalues[..., -1].sum() / eigenvalues.sum()), whole


def has_peak(energy: NDArray[np.float64], times: float = 20.0) -> bool:
    """Whether a sample stands out, as the zero frequency of an image does: noise reaches ten times its mean, not more.

    Parameters
    ----------
    energy
        ``|k|^2``, summed over coils: (ny, nx).
    times
        How many times its mean.
    """
    return bool(energy.max() >= times * energy.mean() > 0)


def _sampled_center(sampled: NDArray[np.bool_], most: int) -> list[int]:
    """Size of the fully sampled centre, along each axis by the lines through the zero frequency, `most` or less."""
    ny, nx = sampled.shape
    sizes = []
    for n, line in ((ny, sampled[:, nx // 2]), (nx, sampled[ny // 2])):
        m = min(n, most)
        while m and not line[n // 2 - m // 2 : n // 2 - m // 2 + m].all():
            m -= 1
        sizes.append(m)
    return sizes


def is_kspace_profile(energy: NDArray[np.float64], middle: int) -> bool:
    """Guess whether energy along an axis is that of k-space: a peak in the middle that falls off to both sides.

    Slices and coils differ by small factors; samples of k-space are hundreds of times stronger at the zero frequency.

    Parameters
    ----------
    energy
        ``sum |a|^2`` at some places of the axis.
    middle
        Which of these places is ``n // 2``.
    """
    if not 0 < middle < len(energy) - 1 or not np.isfinite(energy).all():
        return False
    typical = float(np.median(np.delete(energy, middle)))
    return bool(energy[middle] > 30 * typical > 0 and min(energy[middle - 1], energy[middle + 1]) > 3 * typical)


def is_coverage(pattern: NDArray[np.bool_]) -> bool:
    """Whether a pattern (ny, nx) is a part of k-space without holes around its centre, such as an ellipse.

    Every row and every column is one run of samples, the zero frequency is among them, and they fill at least 40 % of
    the rectangle around them. Such data are not undersampled: their corners were never wanted.
    """
    ny, nx = pattern.shape
    rows, columns = (np.flatnonzero(pattern.any(axis=axis)) for axis in (1, 0))
    if not pattern[ny // 2, nx // 2] or pattern[np.ix_(rows, columns)].mean() < 0.4:
        return False
    return all(_is_contiguous(line) for lines in (pattern, pattern.T) for line in lines)
