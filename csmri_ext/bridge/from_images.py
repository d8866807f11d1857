"""From images to an `Acquisition`: k-space is simulated, the reference is the image itself.

Everything here reads slice by slice and can be pickled, so that worker processes may share an `Acquisition`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition, LazyStack
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.fourier import fft2c
from csmri_ext.bridge.slice_checks import CheckedSlices, format_errors

MAGNITUDE_NOTE = (
    "k-space simulated from magnitude images: the true phase is lost and noise stays in the reference, "
    "so measured data are harder than this"
)
COMPLEX_NOTE = (
    "k-space simulated from complex images: noise stays in the reference, so measured data are harder than this"
)
BELOW_ZERO, NEGATIVE_PIXELS = 0.02, 0.05  # of the brightest pixels, and of all: more than the ringing of edges
NEGATIVE_ENERGY = 0.01  # what resampling leaves below zero is far less; a z-scored volume has a half


def image_acquisition(
    read: Callable[[int], NDArray[Any]],
    n_slices: int,
    shape: tuple[int, int],
    path: Path,
    kind: str,
    attrs: dict[str, Any] | None = None,
    *,
    force: bool = False,
) -> Acquisition:
    """Make an `Acquisition` of images: ``kspace = fft2c(image)`` and ``target = |image|``, both slice by slice.

    Empty slices at both ends of the volume are left out; ``attrs["first_slice"]`` counts those at the start.

    Parameters
    ----------
    read
        ``read(i)`` returns image i, real or complex, of `shape`.
    n_slices
        Number of images in the file.
    shape
        ``(ny, nx)``.
    path, kind
        The file and its format, for errors.
    attrs
        More attributes. ``simulated`` and ``note`` are added for every image file.
    force
        Take the magnitude of negative values, which folds them.

    Raises
    ------
    FileFormatError
        All slices are zero; or the values are real and more than 1 % of their energy, or 5 % of the pixels, are
        negative, so that they are no magnitudes. When a slice is read: its k-space leaves the range of float32.
    """
    checked = CheckedSlices(read, path, kind)
    first, stop = _without_empty_ends(checked, n_slices)
    with format_errors(path, kind):
        some = [read(i) for i in sorted({first, (first + stop) // 2, stop - 1})]
    is_complex = np.iscomplexobj(some[0])
    if not is_complex and not force:
        _refuse_negative(some, path, n_slices)
    checked = CheckedSlices(read, path, kind, first)
    note = COMPLEX_NOTE if is_complex else MAGNITUDE_NOTE
    about = {"format": kind, "path": str(path), "recon_size": shape, "simulated": True, "note": note}
    if (attrs or {}).get("n_frames", 1) > 1 and stop - first < n_slices:
        first, stop = 0, n_slices  # the frames have as many slices each
        checked = CheckedSlices(read, path, kind)
    return Acquisition(
        kspace=LazyStack(_SimulatedKspace(checked), stop - first, (1, *shape), np.complex64),
        target=LazyStack(_Magnitude(checked), stop - first, shape, np.float32),
        name=path.name,
        attrs={**about, "first_slice": first, **(attrs or {})},
    )


def _refuse_negative(images: list[NDArray[Any]], path: Path, n_slices: int) -> None:
    values = np.stack(images).astype(np.float64)
    values[~np.isfinite(values)] = 0  # whoever reads that slice is told
    below = float((values[values < 0] ** 2).sum() / max(float((values**2).sum()), np.finfo(np.float64).tiny))
    peak = float(np.quantile(values, 0.999))
    background = float((values < -BELOW_ZERO * peak).mean())  # a shifted background has little energy, and many pixels
    if below <= NEGATIVE_ENERGY and background <= NEGATIVE_PIXELS:
        return
    many = f"{100 * below:.0f} % of the energy is in" if below > NEGATIVE_ENERGY else f"{100 * background:.0f} % are"
    pair = "real and imaginary parts (--axes names that axis complex), " if n_slices == 2 else ""
    raise FileFormatError(
        f"{path}: {many} negative values, down to {values.min():.3g}, so these are no magnitude images: {pair}z-scores "
        "or a difference? Add their offset; --force takes the magnitude, which folds them"
    )


def _without_empty_ends(slices: CheckedSlices, n_slices: int) -> tuple[int, int]:
    first, stop = 0, n_slices
    while first < stop and not slices.read_finite(first).any():
        first += 1
    while first < stop and not slices.read_finite(stop - 1).any():
        stop -= 1
    if first == stop:
        raise FileFormatError(f"{slices.path}: all {n_slices} slices are zero everywhere")
    return first, stop


@dataclass(frozen=True)
class _SimulatedKspace:
    images: CheckedSlices

    def __call__(self, i: int) -> NDArray[np.complex64]:
        image = self.images(i)
        with np.errstate(over="ignore", invalid="ignore"):
            kspace = fft2c(image)
        if not np.isfinite(kspace).all():
            raise FileFormatError(
                f"{self.images.path}: slice {self.images.first + i} (counted from 0) has values up to "
                f"{np.abs(image).max():.3g}, whose k-space leaves the range of float32: rescale the images"
            )
        return kspace[np.newaxis]


@dataclass(frozen=True)
class _Magnitude:
    images: CheckedSlices

    def __call__(self, i: int) -> NDArray[np.float32]:
        return np.abs(self.images(i)).astype(np.float32)
