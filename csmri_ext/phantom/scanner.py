"""What the scanner does to an object: field of view, receive bias, ghosts, and the processing of a product sequence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from csmri_ext.bridge.fourier import ifft2c

Array = NDArray[np.floating[Any]]

_REFERENCE_MATRIX = 256  # resolutions are drawn for this matrix and kept in mm, so that they do not depend on the size


@dataclass(frozen=True)
class ScannerSettings:
    """How one subject is imaged, all of it drawn from its seed.

    Attributes
    ----------
    zoom
        Factor of the field of view of the anatomy.
    center
        (y, x) of the middle of the image in fields of view: where it lies in the object.
    coils
        Surface coils (y, x, radius) in fields of view; none: a nearly even bias.
    bias
        Ratio of the largest to the smallest sensitivity over the image.
    ghost
        Amplitude and number of the shifted copies along x.
    resolution
        Part of the frequencies of a matrix of 256 that is acquired along (y, x), the rest is zero-filled; 1: all is
        acquired, of any matrix.
    window
        Strength of the window in k-space, 0 none, 1 a Hann window.
    blank
        What post-processing sets to 0: ``nothing``, ``columns``, ``rows``, ``circle`` or ``air``.
    margin
        Part of the image that is blanked as columns or rows; level below which air is.
    """

    zoom: float
    center: tuple[float, float]
    coils: tuple[tuple[float, float, float], ...]
    bias: float
    ghost: tuple[float, int]
    resolution: tuple[float, float]
    window: float
    blank: str
    margin: float


def draw_setting(seed: int, anatomy: str, processed: bool | None) -> ScannerSettings:
    """Draw the setting of a subject.

    Parameters
    ----------
    seed
        Seed of the subject.
    anatomy
        Heads are rarely cut by the image, trunks often.
    processed
        Whether there is zero filling, a window and blanking; None: in two thirds of the subjects.
    """
    rng = np.random.default_rng([seed, 6])
    near = rng.random() < (0.2 if anatomy == "brain" else 0.55)  # the image lies within the object
    zoom = float(rng.uniform(0.55, 0.9) if near else rng.uniform(0.95, 1.3))
    reach = (0.25 if near else 0.06) / zoom
    center = (float(rng.uniform(-reach, reach)), float(rng.uniform(-reach, reach)))
    coils, bias = [], 1.0
    if rng.random() < 0.5:
        bias = float(np.exp(rng.uniform(np.log(1.8), np.log(10))))
        toward = rng.uniform(0, 2 * np.pi)
        for _ in range(int(rng.integers(1, 4))):
            angle, away = toward + rng.uniform(-0.9, 0.9), rng.uniform(0.35, 0.7)
            coils.append((away * math.sin(angle), away * math.cos(angle), float(rng.uniform(0.2, 0.5))))
    has_ghost = rng.random() < 0.15
    ghost = (float(rng.uniform(0.005, 0.03)) if has_ghost else 0.0, int(rng.integers(2, 9)))
    drawn = rng.random() < 2 / 3
    along_y, along_x = rng.uniform((0.7, 0.6), (1.6, 1.4))
    resolution = (min(float(along_y), 1.0), min(float(along_x), 1.0))
    window = float(rng.uniform(0, 1)) if rng.random() < 0.35 else 0.0
    blank = str(rng.choice(["nothing", "columns", "rows", "circle", "air"], p=[0.25, 0.2, 0.07, 0.08, 0.4]))
    margin = float(rng.uniform(0, 1))
    if not (drawn if processed is None else processed):
        resolution, window, blank = (1.0, 1.0), 0.0, "nothing"
    return ScannerSettings(zoom, center, tuple(coils), bias, ghost, resolution, window, blank, margin)


def receive_bias(setting: ScannerSettings, y: Array, x: Array) -> Array:
    """Sensitivity of the surface coils, 1 at most, (ny, nx): ``b^p``, b the sum of the coils, and p to fit `bias`.

    A coil of radius a has ``(1 + d^2 / a^2)^(-3/2)``, d the distance from its centre: that of a loop on its axis.

    Parameters
    ----------
    setting
        Coils, and ratio of the largest to the smallest sensitivity.
    y, x
        Positions in fields of view around the middle, (ny,) and (nx,).
    """
    if not setting.coils:
        return np.ones((1, 1), np.float32)
    total = np.zeros((y.size, x.size), np.float32)
    for cy, cx, radius in setting.coils:
        s = 1 + ((y - cy) ** 2)[:, np.newaxis] / np.float32(radius**2) + (x - cx) ** 2 / np.float32(radius**2)
        total += 1 / (s * np.sqrt(s))
    low, high = float(total.min()), float(total.max())
    power = math.log(setting.bias) / math.log(high / low)
    return np.exp(np.float32(power) * np.log(total / np.float32(high)))


def add_ghosts(setting: ScannerSettings, kspace: NDArray[np.complex64]) -> None:
    """Modulate the columns of k-space, as breathing and flow do: copies of the image, shifted along x. In place."""
    amplitude, copies = setting.ghost
    if amplitude:
        nx = kspace.shape[-1]
        phase = 2 * np.pi * (np.arange(nx) - nx // 2) * (nx // copies + 0.37) / nx
        kspace *= (1 + 2 * amplitude * np.cos(phase)).astype(np.float32)


def product_image(
    setting: ScannerSettings, kspace: NDArray[np.complex64], clean: Array | None
) -> NDArray[np.complex64]:
    """Image of the acquired part of k-space, windowed, and blanked where the product shows nothing.

    Parameters
    ----------
    setting
        See `ScannerSettings`.
    kspace
        (n_coils, ny, nx) with noise.
    clean
        Magnitude without noise, (ny, nx), from which air is found.

    Returns
    -------
        complex64, (n_coils, ny, nx).
    """
    ny, nx = kspace.shape[-2:]
    if min(setting.resolution) < 1 or setting.window:
        kspace = kspace * _window(ny, setting.resolution[0], setting.window)[:, np.newaxis]
        kspace = kspace * _window(nx, setting.resolution[1], setting.window)
    image = ifft2c(kspace)
    if setting.blank in ("columns", "rows"):
        n = nx if setting.blank == "columns" else ny
        along = np.abs((np.arange(n) + 0.5) / n - 0.5)
        shown = along < 0.5 - 0.2 * setting.margin
        image = image * (shown if setting.blank == "columns" else shown[:, np.newaxis])
    elif setting.blank == "circle":
        v, u = ((np.arange(n) + 0.5) / n - 0.5 for n in (ny, nx))
        image = image * ((v**2)[:, np.newaxis] + u**2 < (0.5 + 0.1 * setting.margin) ** 2)
    elif setting.blank == "air" and clean is not None:
        image = image * (gaussian_filter(clean, 1.5) > 0.004 + 0.03 * setting.margin**2)
    return image.astype(np.complex64)


def _window(n: int, resolution: float, strength: float) -> NDArray[np.float32]:
    """``1 - s + s (1 + cos(pi k / k_max)) / 2`` up to the highest acquired frequency, then 0."""
    fraction = min(resolution * _REFERENCE_MATRIX / n, 1.0) if resolution < 1 else 1.0
    k = np.abs(np.arange(n) - n // 2) / (n / 2 * fraction)
    return np.where(k <= 1, 1 - strength * (1 - np.cos(np.pi * np.minimum(k, 1))) / 2, 0).astype(np.float32)
