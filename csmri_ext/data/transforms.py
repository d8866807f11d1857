"""Random changes of an image that keep it an MR image: resolution, section, mirror, phase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.fourier import fft2c, ifft2c

Size = int | tuple[int | None, int | None] | None
"""Rows and columns, one number for both; None: as they are."""

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
        Probability that only the magnitude is kept, as in image files (and in the NasN paper's brain experiment); not
        of coil images, whose phases say where the coils are.
    """

    resolution: tuple[float, float] = (1.0, 1.0)
    mirror: bool = False
    magnitude: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.resolution
        if not 0 < low <= high <= 1 or not 0 <= self.magnitude <= 1:
            raise ValueError(f"resolution {low:g} to {high:g}, magnitude {self.magnitude:g}: expected within (0, 1]")

    def __call__(
        self,
        image: NDArray[np.complex64],
        size: Size,
        rng: np.random.Generator,
        fraction: float | None = None,
    ) -> NDArray[np.complex64]:
        """Change one image.

        Parameters
        ----------
        image
            complex64, (ny, nx), or (coils, ny, nx).
        size
            Rows and columns of the result: a random section, or the image amid zeros. None, for one of them or for
            both: all of it.
        rng
            Source of the random numbers.
        fraction
            The resolution, where others share it; None: drawn.

        Returns
        -------
            complex64, of the size asked for, or about the size of the image.
        """
        drawn = rng.uniform(*self.resolution)
        image = lower_resolution(image, drawn if fraction is None else fraction)
        if self.mirror:
            if rng.random() < 0.5:
                image = image.swapaxes(-2, -1)
            image = image[..., :: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
        image = section(image, size, rng)
        if rng.random() < self.magnitude and image.ndim == 2:
            image = np.abs(image).astype(np.complex64)
        return np.ascontiguousarray(image)


def lower_resolution(image: NDArray[np.complex64], fraction: float) -> NDArray[np.complex64]:
    """Keep the central `fraction` of k-space along both axes, to even sizes; amplitudes stay.

    Parameters
    ----------
    image
        complex64, (..., ny, nx).
    fraction
        Above 0, at most 1.
    """
    whole = image.shape[-2:]
    kept = lower_size(whole, fraction)
    if kept == whole:
        return image
    first = [n // 2 - k // 2 for n, k in zip(whole, kept, strict=True)]
    kspace = fft2c(image)[..., first[0] : first[0] + kept[0], first[1] : first[1] + kept[1]]
    return ifft2c(kspace) * np.float32(math.sqrt(math.prod(kept) / math.prod(whole)))


def lower_size(shape: Sequence[int], fraction: float) -> tuple[int, int]:
    """Rows and columns that `lower_resolution` leaves of the last two axes."""
    ny, nx = (min(n, max(2, 2 * round(fraction * n / 2))) for n in shape[-2:])
    return ny, nx


def section(image: NDArray[np.complex64], size: Size, rng: np.random.Generator) -> NDArray[np.complex64]:
    """Cut a random section; along a shorter axis the image lies amid zeros.

    A place with less than a quarter of the mean signal, which is mostly air, is drawn again, a few times.

    Parameters
    ----------
    image
        complex64, (..., ny, nx).
    size
        Rows and columns, or one number for both, at least 1; None: all.
    rng
        Source of the random place.
    """
    shape = _shape(size, image)
    if shape == image.shape[-2:] and size is None:
        return image
    enough = 0.25 * np.abs(image).mean()
    for _ in range(_MOST_TRIES):
        offsets = [
            int(rng.integers(min(n - m, 0), max(n - m, 0) + 1)) for n, m in zip(image.shape[-2:], shape, strict=True)
        ]
        part, place = _window(image, shape, offsets)
        if np.abs(part).mean() >= enough:
            break
    return _amid_zeros(part, place, shape)


def center_section(image: NDArray[np.complex64], size: int) -> NDArray[np.complex64]:
    """Cut ``size`` x ``size`` pixels around the centre; along a shorter axis the image lies amid zeros.

    Parameters
    ----------
    image
        complex64, (..., ny, nx).
    size
        At least 1.
    """
    offsets = [math.trunc((n - size) / 2) for n in image.shape[-2:]]
    return _amid_zeros(*_window(image, (size, size), offsets), (size, size))


def _shape(size: Size, image: NDArray[np.complex64]) -> tuple[int, int]:
    rows, columns = size if isinstance(size, tuple) else (size, size)
    ny, nx = image.shape[-2:]
    return (ny if rows is None else rows, nx if columns is None else columns)


def _window(
    image: NDArray[np.complex64], shape: tuple[int, int], offsets: Sequence[int]
) -> tuple[NDArray[np.complex64], tuple[slice, slice]]:
    """Give what the image has between ``offset`` and ``offset + size`` along each axis, and its place in there."""
    axes = [
        (max(first, 0), max(-first, 0), min(n, size))
        for first, n, size in zip(offsets, image.shape[-2:], shape, strict=True)
    ]
    rows, columns = (slice(start, start + kept) for start, _, kept in axes)
    y, x = (slice(start, start + kept) for _, start, kept in axes)
    return image[..., rows, columns], (y, x)


def _amid_zeros(
    part: NDArray[np.complex64], place: tuple[slice, slice], shape: tuple[int, int]
) -> NDArray[np.complex64]:
    out = np.zeros((*part.shape[:-2], *shape), np.complex64)
    out[..., place[0], place[1]] = part
    return out
