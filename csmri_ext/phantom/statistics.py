"""Statistics of magnitude images by which a simulated image can be told from a measured one.

Intensities are relative to the brightest tissue, the 99.9th percentile of the image: single hot pixels do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from csmri_ext.bridge.fourier import fft2c
from csmri_ext.errors import InputError

Array = NDArray[np.floating[Any]]

INTENSITIES = np.linspace(0, 1.1, 56)
"""Edges of the bins of the intensity histogram."""
THRESHOLDS = np.geomspace(1e-3, 1, 61)
"""Thresholds of the gradient, relative to its maximum."""
FREQUENCIES = np.linspace(0, 1, 65)
"""Edges of the rings of the power spectrum; 1 is the highest frequency along an axis (Nyquist)."""

_BLOCK = 8
_TISSUE = 0.1


@dataclass(frozen=True)
class ImageStatistics:
    """Statistics of one image; averages of several with `mean_statistics`.

    Attributes
    ----------
    histogram
        Density of the intensities above 0 in the bins of `INTENSITIES`; its integral is at most 1.
    sparsity
        Fraction of pixels whose gradient is above `THRESHOLDS` times the largest.
    spectrum
        Mean power in the rings of `FREQUENCIES`, relative to that of all of k-space.
    numbers
        ``slope``: exponent p of the power ~ f^p between 0.05 and 0.5 of the highest frequency.
        ``fine_slope``: the same between 0.5 and 0.95.
        ``air``: standard deviation of real and imaginary part of the noise, from the darkest blocks without a zero.
        ``grain``: that in the tissue, from differences of neighbours (Haar, diagonal); also sees fine anatomy.
        ``zeros``: fraction of pixels that are 0.
        ``tissue``: fraction of pixels above 0.1.
        ``median``: median intensity of those.
        ``edges``: smallest fraction of pixels that holds 90 % of the energy of the gradient.
    """

    histogram: Array
    sparsity: Array
    spectrum: Array
    numbers: dict[str, float]


def image_statistics(image: ArrayLike) -> ImageStatistics:
    """Measure one image.

    Parameters
    ----------
    image
        Real or complex, (ny, nx), at least 32 x 32; its magnitude is used.

    Raises
    ------
    InputError
        The image has another shape, is not finite, or is zero.
    """
    magnitude = relative_magnitude(image)
    slope = gradient_magnitude(magnitude)
    spectrum = power_spectrum(magnitude)
    tissue = magnitude > _TISSUE
    density = np.histogram(magnitude[magnitude > 0], INTENSITIES)[0] / (magnitude.size * np.diff(INTENSITIES))
    energy = np.cumsum(np.sort(slope.ravel() ** 2)[::-1])
    return ImageStatistics(
        histogram=density,
        sparsity=exceeding(slope, THRESHOLDS * slope.max()),
        spectrum=spectrum,
        numbers={
            "slope": spectral_slope(spectrum, 0.05, 0.5),
            "fine_slope": spectral_slope(spectrum, 0.5, 0.95),
            "air": air_noise(magnitude),
            "grain": grain(magnitude),
            "zeros": float(np.mean(magnitude == 0)),
            "tissue": float(tissue.mean()),
            "median": float(np.median(magnitude[tissue])),
            "edges": float(np.searchsorted(energy, 0.9 * energy[-1]) / energy.size),
        },
    )


def mean_statistics(images: list[ImageStatistics]) -> ImageStatistics:
    """Average over images; of the spectrum the geometric mean, as its values span decades.

    Raises
    ------
    InputError
        There is no image.
    """
    if not images:
        raise InputError("statistics of 0 images were given; expected at least 1")
    return ImageStatistics(
        histogram=np.mean([image.histogram for image in images], axis=0),
        sparsity=np.mean([image.sparsity for image in images], axis=0),
        spectrum=np.exp(np.mean([np.log(image.spectrum + 1e-12) for image in images], axis=0)),
        numbers={name: float(np.mean([image.numbers[name] for image in images])) for name in images[0].numbers},
    )


def relative_magnitude(image: ArrayLike) -> Array:
    """Magnitude over its 99.9th percentile, float64 (ny, nx).

    Raises
    ------
    InputError
        As in `image_statistics`.
    """
    magnitude = np.abs(np.asarray(image)).astype(np.float64)
    if magnitude.ndim != 2 or min(magnitude.shape) < 32:
        raise InputError(f"the image has the shape {magnitude.shape}; expected (ny, nx) of at least 32 x 32")
    if not np.isfinite(magnitude).all():
        raise InputError("the image has values that are not finite")
    brightest = np.percentile(magnitude, 99.9)
    if brightest == 0:
        raise InputError("the image is zero in 99.9 % of its pixels or more")
    return magnitude / brightest


def gradient_magnitude(image: Array) -> Array:
    """``sqrt((x[i+1, j] - x[i, j])^2 + (x[i, j+1] - x[i, j])^2)``, (ny - 1, nx - 1)."""
    return np.hypot(np.diff(image, axis=0)[:, :-1], np.diff(image, axis=1)[:-1])


def exceeding(values: Array, thresholds: Array) -> Array:
    """Fraction of the values above each threshold."""
    return 1 - np.searchsorted(np.sort(values, axis=None), thresholds, side="right") / values.size


def power_spectrum(image: Array) -> Array:
    """Mean of ``|F x|^2`` over the rings of `FREQUENCIES`, relative to its mean over k-space."""
    power = np.abs(fft2c(image)) ** 2
    along_y, along_x = (2 * (np.arange(n) - n // 2) / n for n in power.shape)
    radius = np.hypot(along_y[:, np.newaxis], along_x)
    count = np.histogram(radius, FREQUENCIES)[0]
    total = np.histogram(radius, FREQUENCIES, weights=power)[0]
    return total / np.maximum(count, 1) / power.mean()


def spectral_slope(spectrum: Array, low: float, high: float) -> float:
    """Exponent p of the line ``log power = p log frequency + c`` fitted between two frequencies (see `FREQUENCIES`)."""
    centers = (FREQUENCIES[1:] + FREQUENCIES[:-1]) / 2
    chosen = (centers > low) & (centers < high) & (spectrum > 0)
    return float(np.polyfit(np.log(centers[chosen]), np.log(spectrum[chosen]), 1)[0])


def air_noise(magnitude: Array) -> float:
    """Noise of real and imaginary part: ``sqrt(mean |x|^2 / 2)`` of the darkest twentieth of the blocks.

    Blocks are 8 x 8 pixels. Those with a zero do not count, as scanners and file formats blank air; where none is
    left, the answer is 0.
    """
    ny, nx = (n // _BLOCK for n in magnitude.shape)
    tiles = magnitude[: ny * _BLOCK, : nx * _BLOCK].reshape(ny, _BLOCK, nx, _BLOCK)
    blocks = tiles.transpose(0, 2, 1, 3).reshape(ny * nx, -1)
    power = np.sort(np.mean(blocks[blocks.min(axis=1) > 0] ** 2, axis=1))
    return float(np.sqrt(power[: max(power.size // 20, 1)].mean() / 2)) if power.size else 0.0


def grain(magnitude: Array) -> float:
    """``median |(a - b - c + d) / 2| / 0.6745`` over squares of 2 x 2 pixels in the tissue: sigma of white noise."""
    a, b, c, d = magnitude[:-1, :-1], magnitude[:-1, 1:], magnitude[1:, :-1], magnitude[1:, 1:]
    tissue = np.minimum(np.minimum(a, b), np.minimum(c, d)) > _TISSUE
    return float(np.median(np.abs(a - b - c + d)[tissue] / 2) / 0.6745) if tissue.any() else 0.0
