"""Procedural MR images and k-space: endless, seeded, without a patient.

The anatomy is drawn on a grid finer than the image, with other pixel centres, and the central part of
its k-space is kept, as a scanner does. Images made from it have Gibbs ringing and partial volumes, so reconstructing
them on the pixel grid is no inverse crime.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from csmri_ext.bridge.acquisition import Acquisition, LazyStack
from csmri_ext.bridge.fastmri.write import write_fastmri
from csmri_ext.bridge.fourier import fft2c, ifft2c
from csmri_ext.bridge.stacks import rss_target
from csmri_ext.phantom.abstract import draw_abstract
from csmri_ext.phantom.body import draw_body
from csmri_ext.phantom.coil_maps import loop_sensitivities
from csmri_ext.phantom.head import draw_head
from csmri_ext.phantom.planes import PLANES
from csmri_ext.phantom.random_fields import RandomFields
from csmri_ext.phantom.scanner import ScannerSettings, add_ghosts, draw_setting, product_image, receive_bias

ANATOMIES = ("brain", "body", "abstract")
CONTRAST_ODDS = {"t1": 0.45, "t2": 0.25, "pd": 0.15, "flair": 0.15}
"""Known contrasts, and how often a seed draws them."""

_FIELD_OF_VIEW_MM = {"brain": 232.0, "body": 360.0, "abstract": 232.0}  # of the shorter side of the image, times zoom
_SLICE_SPACING_MM = 5.0
_HEAD_HEIGHT_MM = 100.0


@dataclass(frozen=True)
class _Subject:
    """All that determines a volume."""

    size: tuple[int, int]
    seed: int
    n_slices: int
    n_coils: int
    anatomy: str
    contrast: str
    plane: str | None
    noise: float
    setting: ScannerSettings

    @property
    def pixel_mm(self) -> float:
        return _FIELD_OF_VIEW_MM[self.anatomy] * self.setting.zoom / min(self.size)


def phantom(
    size: int | tuple[int, int] = 256,
    seed: int = 0,
    *,
    n_coils: int = 1,
    anatomy: str = "brain",
    contrast: str | None = None,
    noise: float | None = None,
    processed: bool | None = None,
    plane: str | None = None,
) -> NDArray[np.complex64]:
    """Make one image; every seed is another subject, slice height and contrast.

    Parameters
    ----------
    size
        ``(ny, nx)``, or one number for both; at least 16.
    seed
        Seed, 0 or more. The same seed gives the same anatomy at every size.
    n_coils
        Number of receive coils.
    anatomy
        ``brain`` (head and neck), ``body`` (trunk with organs) or ``abstract`` (shapes, folds, tubes, textures).
    contrast
        ``t1``, ``t2``, ``pd`` or ``flair``; default: drawn by the seed (see `CONTRAST_ODDS`).
    noise
        Standard deviation of the noise in the real and in the imaginary part, relative to the brightest tissue
        (about 1). Default: drawn by the seed between 0.002 and 0.03, log-uniformly.
    processed
        Whether the image went through what a scanner's product sequence does after the noise: zero filling, a window
        in k-space, blanked margins or air (see `scanner.ScannerSettings`). Default: drawn by the seed for one coil,
        False for several.
    plane
        Of a head: ``axial``, ``sagittal`` or ``coronal``; default: drawn by the seed (see `planes.PLANES`).

    Returns
    -------
        complex64, (ny, nx); coil images (n_coils, ny, nx) where `n_coils` is above 1.

    Raises
    ------
    ValueError
        Unknown anatomy, contrast or plane; size, seed, noise or number of coils out of range.
    """
    images = _coil_images(_subject(size, seed, 1, n_coils, anatomy, contrast, noise, processed, plane), 0)
    return images if n_coils > 1 else images[0]


def phantom_volume(
    n_slices: int,
    size: int | tuple[int, int] = 256,
    seed: int = 0,
    *,
    n_coils: int = 1,
    anatomy: str = "brain",
    contrast: str | None = None,
    noise: float | None = None,
    processed: bool | None = None,
    plane: str | None = None,
) -> NDArray[np.complex64]:
    """Make neighbouring slices of one subject, 5 mm apart (closer where more would not fit).

    Parameters
    ----------
    n_slices
        Number of slices, at least 1.
    size, seed, n_coils, anatomy, contrast, noise, processed, plane
        As in `phantom`.

    Returns
    -------
        complex64, (n_slices, ny, nx), or (n_slices, n_coils, ny, nx) where `n_coils` is above 1.

    Raises
    ------
    ValueError
        As in `phantom`.
    """
    subject = _subject(size, seed, n_slices, n_coils, anatomy, contrast, noise, processed, plane)
    images = np.stack([_coil_images(subject, i) for i in range(n_slices)])
    return images if n_coils > 1 else images[:, 0]


def phantom_acquisition(
    n_slices: int = 1,
    size: int | tuple[int, int] = 256,
    seed: int = 0,
    *,
    n_coils: int = 1,
    anatomy: str = "brain",
    contrast: str | None = None,
    noise: float | None = None,
    processed: bool | None = None,
    plane: str | None = None,
) -> Acquisition:
    """Make a fully sampled acquisition; its slices are computed when they are indexed.

    Parameters
    ----------
    n_slices, size, seed, n_coils, anatomy, contrast, noise, processed, plane
        As in `phantom_volume`.

    Returns
    -------
        ``kspace`` of the cropped fine grid, with noise; ``target`` is the root sum of squares of its coil images.
        ``sens_maps`` is None: as with measured data, they have to be estimated (`coil_maps` are the true ones).

    Raises
    ------
    ValueError
        As in `phantom`.
    """
    subject = _subject(size, seed, n_slices, n_coils, anatomy, contrast, noise, processed, plane)
    kspace = LazyStack(partial(_read_slice, subject), n_slices, (n_coils, *subject.size), np.complex64)
    return Acquisition(
        kspace=kspace,
        target=rss_target(kspace, subject.size),
        name=f"phantom_{anatomy}_{seed}",
        attrs={
            "format": "phantom",
            "acquisition": f"phantom_{anatomy}_{subject.contrast}",
            "recon_size": subject.size,
            "simulated": True,
            "note": "procedural phantom: not an image of a person",
            "seed": seed,
            "noise": subject.noise,
        },
    )


def write_phantom(path: str | os.PathLike[str], n_slices: int = 8, **options: Any) -> None:
    """Write a phantom as a file of the fastMRI layout (see `bridge.write_fastmri`).

    Parameters
    ----------
    path
        File to write, usually ``.h5``.
    n_slices
        Number of slices.
    options
        As in `phantom_acquisition`: size, seed, n_coils, anatomy, contrast, noise, processed, plane.

    Raises
    ------
    ValueError
        As in `phantom`.
    OSError
        The file cannot be written.
    """
    write_fastmri(path, phantom_acquisition(n_slices, **options))


def coil_maps(
    size: int | tuple[int, int], n_coils: int, seed: int = 0, *, anatomy: str = "brain"
) -> NDArray[np.complex64]:
    """Sensitivities of the coils of the phantom with this seed, at the pixels of its image.

    Parameters
    ----------
    size, n_coils, seed, anatomy
        As in `phantom`.

    Returns
    -------
        complex64, (n_coils, ny, nx), root sum of squares 1.

    Raises
    ------
    ValueError
        As in `phantom`.
    """
    subject = _subject(size, seed, 1, n_coils, anatomy, "t1", 0.0, None, None)
    y, x = _positions(subject, subject.size, subject.size)
    return loop_sensitivities(y, x, n_coils, seed)


def _subject(
    size: int | tuple[int, int],
    seed: int,
    n_slices: int,
    n_coils: int,
    anatomy: str,
    contrast: str | None,
    noise: float | None,
    processed: bool | None,
    plane: str | None,
) -> _Subject:
    """Check what the user asked for, and draw the rest at random."""
    ny, nx = size if isinstance(size, tuple) else (size, size)
    if min(ny, nx) < 16:
        raise ValueError(f"a phantom of {ny} x {nx} pixels is too small; the least is 16 x 16")
    if seed < 0 or n_slices < 1 or n_coils < 1:
        raise ValueError(f"seed {seed}, n_slices {n_slices}, n_coils {n_coils}: expected at least 0, 1 and 1")
    if anatomy not in ANATOMIES:
        raise ValueError(f"unknown anatomy {anatomy!r}; known: {', '.join(ANATOMIES)}")
    if contrast is not None and contrast not in CONTRAST_ODDS:
        raise ValueError(f"unknown contrast {contrast!r}; known: {', '.join(CONTRAST_ODDS)}")
    if plane is not None and plane not in PLANES:
        raise ValueError(f"unknown plane {plane!r}; known: {', '.join(PLANES)}")
    if noise is not None and not 0 <= noise < math.inf:
        raise ValueError(f"noise is {noise}; expected a standard deviation of 0 or more")
    rng = np.random.default_rng([seed, 1])
    drawn_contrast = str(rng.choice(list(CONTRAST_ODDS), p=list(CONTRAST_ODDS.values())))
    drawn_noise = float(np.exp(rng.uniform(np.log(0.002), np.log(0.03))))
    return _Subject(
        size=(ny, nx),
        seed=seed,
        n_slices=n_slices,
        n_coils=n_coils,
        anatomy=anatomy,
        contrast=contrast or drawn_contrast,
        plane=plane,
        noise=drawn_noise if noise is None else noise,
        setting=draw_setting(seed, anatomy, False if processed is None and n_coils > 1 else processed),
    )


def _positions(
    subject: _Subject, shape: tuple[int, int], matrix: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centres of `shape` pixels over the extent of `matrix` pixels of the image, in mm in the frame of the object."""
    pixel, extent = subject.pixel_mm, min(subject.size)
    y, x = (
        ((np.arange(n) - n // 2) * (m / n) + middle * extent) * pixel
        for n, m, middle in zip(shape, matrix, subject.setting.center, strict=True)
    )
    return y.astype(np.float32), x.astype(np.float32)


def _read_slice(subject: _Subject, i: int) -> NDArray[np.complex64]:
    return _kspace(subject, i).copy()


@lru_cache(maxsize=2)  # the target of a slice is usually read right after its k-space
def _kspace(subject: _Subject, i: int) -> NDArray[np.complex64]:
    return fft2c(_coil_images(subject, i))


def _coil_images(subject: _Subject, i: int) -> NDArray[np.complex64]:
    """Make slice i, (n_coils, ny, nx): the fine image transformed, cropped, noise added, and back."""
    ny, nx = subject.size
    fine = (ny + 3 * (ny // 4), nx + 3 * (nx // 4))
    # Drawn somewhat beyond the image, as the oversampled readout sees it, and cut: what leaves it does not fold over.
    wide = (ny + 2 * (ny // 8), nx + 2 * (nx // 8))
    y, x = _positions(subject, fine, wide)
    image = _fine_image(subject, i, y, x)
    maps = loop_sensitivities(y, x, subject.n_coils, subject.seed)
    kspace = np.stack([_middle(fft2c(image * coil), wide) for coil in maps])
    # Orthonormal transforms of two sizes: without this factor the image would change its amplitude.
    kspace *= np.float32(math.sqrt(wide[0] * wide[1] / (fine[0] * fine[1])))
    add_ghosts(subject.setting, kspace)
    kspace = fft2c(_middle(ifft2c(kspace), subject.size))
    clean = np.linalg.norm(ifft2c(kspace), axis=0) if subject.setting.blank == "air" else None
    noise = np.random.default_rng([subject.seed, 3, i]).standard_normal((2, *kspace.shape), np.float32)
    kspace += np.float32(subject.noise) * (noise[0] + 1j * noise[1])
    return product_image(subject.setting, kspace, clean)


def _middle(array: NDArray[np.complex64], shape: tuple[int, int]) -> NDArray[np.complex64]:
    """Cut the middle of the last two axes; index ``n // 2`` stays in the middle."""
    top, left = (have // 2 - want // 2 for have, want in zip(array.shape[-2:], shape, strict=True))
    return array[..., top : top + shape[0], left : left + shape[1]]


def _fine_image(subject: _Subject, i: int, y: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Draw slice i at the given positions, with texture, bias field and phase."""
    spacing = min(_SLICE_SPACING_MM, 0.85 * _HEAD_HEIGHT_MM / subject.n_slices)
    z = (i - (subject.n_slices - 1) / 2) * spacing
    fields = RandomFields(subject.seed, y, x, z)
    if subject.anatomy == "brain":
        canvas = draw_head(fields, subject.contrast, subject.plane, (subject.n_slices - 1) / 2 * spacing)
    elif subject.anatomy == "body":
        canvas = draw_body(fields, subject.contrast)
    else:
        canvas = draw_abstract(fields)

    f = fields.part("imaging")
    blur = f.uniform(0.15, 0.7)  # mm: slice thickness, motion, relaxation during the readout
    signal = gaussian_filter(canvas.signal, blur / canvas.pixel_mm, truncate=3)
    rng = np.random.default_rng([subject.seed, 4, i])
    size, strength = f.uniform(0.5, 1.8) / canvas.pixel_mm, float(np.exp(f.uniform(np.log(0.1), np.log(0.8))))
    grain = gaussian_filter(rng.standard_normal(signal.shape, np.float32), size, truncate=3)
    extent = subject.pixel_mm * min(subject.size)
    center_y, center_x = subject.setting.center
    bias = np.exp(0.12 * f.smooth(60)) * receive_bias(subject.setting, y / extent - center_y, x / extent - center_x)
    signal *= (1 + strength * canvas.texture * (grain / grain.std())) * bias
    phase = f.uniform(0, 2 * np.pi) + f.uniform(0, 0.9) * f.smooth(55) + 0.1 * f.smooth(14)
    signal = np.maximum(signal, 0)
    image = np.empty(signal.shape, np.complex64)
    image.real, image.imag = signal * np.cos(phase), signal * np.sin(phase)
    return image
