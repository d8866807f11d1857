"""Random changes of an image that keep it an MR image: resolution, section, mirror, phase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.fourier import fft2c, ifft2c

_MOST_TRIES = 5


@dataclass(frozen=True)
class Augmentation:
    """What may happen to an image of the training set; nothing by default.

    Attributes
    ----------
    resolution
        Range of the fraction of k-space that is kept along both axes, at most 1: pixels grow, and so does the noise
        relative to them. Drawn uniformly.
    mirror
        Whether rows, columns and the diagonal are mirrored, each with probability one half.
    magnitude
        Probability that only the magnitude is kept, as in image files (and in the NasN paper's brain experiment).
    """

    resolution: tuple[float, float] = (1.0, 1.0)
    mirror: bool = False
    magnitude: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.resolution
        if not 0 < low <= high <= 1 or not 0 <= self.magnitude <= 1:
            raise ValueError(f"resolution {low:g} to {high:g}, magnitude {self.magnitude:g}: expected within (0, 1]")

    def __call__(
        self, image: NDArray[np.complex64], size: int | None, rng: np.random.Generator
    ) -> NDArray[np.complex64]:
        """Change one image.

        Parameters
        ----------
        image
            complex64, (ny, nx).
        size
            Rows and columns of the result: a random section, or the image amid zeros. None: all of it.
        rng
            Source of the random numbers.

        Returns
        -------
            complex64, (size, size), or about the size of the image.
        """
        image = lower_resolution(image, rng.uniform(*self.resolution))
        if size is not None:
            image = section(image, size, rng)
        if self.mirror:
            if rng.random() < 0.5:
                image = image.T
            image = image[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
        if rng.random() < self.magnitude:
            image = np.abs(image).astype(np.complex64)
        return np.ascontiguousarray(image)


def lower_resolution(image: NDArray[np.complex64], fraction: float) -> NDArray[np.complex64]:
    """Keep the central `fraction` of k-space along both axes, to even sizes; amplitudes stay.

    Parameters
    ----------
    image
        complex64, (ny, nx).
    fraction
        Above 0, at most 1.
    """
    kept = [min(n, max(2, 2 * round(fraction * n / 2))) for n in image.shape]
    if tuple(kept) == image.shape:
        return image
    first = [n // 2 - k // 2 for n, k in zip(image.shape, kept, strict=True)]
    kspace = fft2c(image)[first[0] : first[0] + kept[0], first[1] : first[1] + kept[1]]
    return ifft2c(kspace) * np.float32(math.sqrt(math.prod(kept) / image.size))


def section(image: NDArray[np.complex64], size: int, rng: np.random.Generator) -> NDArray[np.complex64]:
    """Cut ``size`` x ``size`` pixels at a random place; along a shorter axis the image lies amid zeros.

    A place with less than a quarter of the mean signal, which is mostly air, is drawn again, a few times.

    Parameters
    ----------
    image
        complex64, (ny, nx).
    size
        At least 1.
    rng
        Source of the random place.
    """
    enough = 0.25 * np.abs(image).mean()
    for _ in range(_MOST_TRIES):
        offsets = [int(rng.integers(min(n - size, 0), max(n - size, 0) + 1)) for n in image.shape]
        part, place = _window(image, size, offsets)
        if np.abs(part).mean() >= enough:
            break
    return _amid_zeros(part, place, size)


def center_section(image: NDArray[np.complex64], size: int) -> NDArray[np.complex64]:
    """Cut ``size`` x ``size`` pixels around the centre; along a shorter axis the image lies amid zeros.

    Parameters
    ----------
    image
        complex64, (ny, nx).
    size
        At least 1.
    """
    offsets = [math.trunc((n - size) / 2) for n in image.shape]
    return _amid_zeros(*_window(image, size, offsets), size)


def _window(
    image: NDArray[np.complex64], size: int, offsets: Sequence[int]
) -> tuple[NDArray[np.complex64], tuple[slice, ...]]:
    """Give what the image has between ``offset`` and ``offset + size`` along each axis, and its place in there."""
    axes = [(max(first, 0), max(-first, 0), min(n, size)) for first, n in zip(offsets, image.shape, strict=True)]
    source = tuple(slice(start, start + kept) for start, _, kept in axes)
    return image[source], tuple(slice(start, start + kept) for _, start, kept in axes)


def _amid_zeros(part: NDArray[np.complex64], place: tuple[slice, ...], size: int) -> NDArray[np.complex64]:
    out = np.zeros((size, size), np.complex64)
    out[place] = part
    return out
