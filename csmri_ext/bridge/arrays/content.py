"""What samples say against the usual order of axes: coils read as slices, slices as coils, k-space as either."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.arrays.order import suggestion
from csmri_ext.bridge.conventions import NEARLY_ONE, has_peak, is_kspace_profile, likeness, looks_like_coils
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.reading import axes_in_words

_FEW = 8  # slices whose likeness is looked at
_PEAK_OF_SEVERAL = 10  # times the mean energy; noise of two images or more reaches nine
_SHORTEST = 16  # axis on which a peak in the middle says something

ReadSlice = Callable[[int], NDArray[Any]]


def check_content(read_slice: ReadSlice, letters: str, shape: tuple[int, ...], path: Path) -> None:
    """Look at k-space in the usual order: whether slices are coils, coils slices, or either of them k-space.

    Parameters
    ----------
    read_slice
        ``read_slice(i)`` is slice i, (coils, ny, nx).
    letters, shape
        How the array would be read, and its shape.
    path
        The file, for errors.

    Raises
    ------
    FileFormatError
        The energy along slices or coils has the peak of k-space in the middle; the slices look like coil images of one
        slice, or the coils like images of different ones; or one cannot tell because the centre is undersampled, or of
        noise.
    """
    size = dict(zip(letters, shape, strict=True))
    n_slices, n_coils = size.get("s", 1), size.get("c", 1)
    read_as = axes_in_words(letters)
    exchanged = axes_in_words(letters.translate(str.maketrans("sc", "cs")))
    before = f"{path}: read in the usual order, {read_as}, but "
    middle = read_slice(n_slices // 2)
    for what, energy, place in (_along_slices(read_slice, n_slices), _along_coils(middle)):
        if is_kspace_profile(energy, place):
            raise FileFormatError(
                f"{before}the {what} have the peak of k-space in their middle: {suggestion(shape, np.complex64)}, or "
                f"--axes '{read_as}' if this is right; of 3-D k-space, transform one direction first"
            )
    coils_like = looks_like_coils(middle) if n_coils > 1 else None
    if n_slices == 1 or coils_like:
        some, slices_like = middle[:1], None
    else:
        some = _some_slices(read_slice, n_slices, int(_energy(middle).argmax()))
        slices_like = looks_like_coils(some)
    if slices_like:
        raise FileFormatError(
            f"{before}the {n_slices} slices look like the coil images of one slice: say --axes '{exchanged}', or "
            f"--axes '{read_as}' if they are slices"
        )
    if coils_like is False:
        raise FileFormatError(
            f"{before}the {n_coils} coils look like images of different slices or frames: say which axes they are, "
            f"for example --axes '{axes_in_words(letters.replace('c', 't'))}', or --axes '{read_as}' if this is right"
        )
    if slices_like is None and "c" not in letters and n_slices > 1:
        missing = _center_is_missing(some)
        if missing or _are_unclear(some):
            what = "undersampled" if missing else "noisy"
            raise FileFormatError(
                f"{path}: {n_slices} {what} images of which one cannot tell whether they are slices or coils: say "
                f"--axes '{exchanged}' or --axes '{read_as}'"
            )


def check_images(read_slice: ReadSlice, letters: str, n_slices: int, path: Path) -> None:
    """Look at complex images in the usual order: whether the slices are the coil images of one slice.

    Parameters
    ----------
    read_slice
        ``read_slice(i)`` is k-space of image i, (1, ny, nx).
    letters
        How the array would be read.
    n_slices
        Number of images.
    path
        The file, for errors.

    Raises
    ------
    FileFormatError
        They look like it.
    """
    if n_slices > 1 and looks_like_coils(_some_slices(read_slice, n_slices)):
        raise FileFormatError(
            f"{path}: read in the usual order, {axes_in_words(letters)}, but the {n_slices} images look like the coil "
            f"images of one slice: combine them, or say --axes '{axes_in_words(letters)}' if they are slices"
        )


def _some_slices(read_slice: ReadSlice, n_slices: int, coil: int = 0) -> NDArray[Any]:
    return np.stack([read_slice(i)[coil] for i in range(min(n_slices, _FEW))])


def _are_unclear(images: NDArray[Any]) -> bool:
    """Whether images are neither alike, nor different, nor one image again, nor nothing but noise."""
    found = likeness(images)
    energy = (np.abs(images).astype(np.float64) ** 2).sum(axis=0)
    return found is not None and found[1] <= NEARLY_ONE and has_peak(energy, _PEAK_OF_SEVERAL)


def _along_slices(read_slice: ReadSlice, n_slices: int) -> tuple[str, NDArray[np.float64], int]:
    """Energy of some slices, the three in the middle among them, and where the middle one is in this list."""
    middle = n_slices // 2
    places = sorted({middle - 1, middle, middle + 1, *range(0, n_slices, n_slices // 12 + 1)})
    if n_slices < _SHORTEST:
        return f"{n_slices} slices", np.zeros(1), 0
    return f"{n_slices} slices", np.array([_energy(read_slice(i)).sum() for i in places]), places.index(middle)


def _along_coils(middle: NDArray[Any]) -> tuple[str, NDArray[np.float64], int]:
    n_coils = len(middle)
    return f"{n_coils} coils", _energy(middle) if n_coils >= _SHORTEST else np.zeros(1), n_coils // 2


def _energy(coils: NDArray[Any]) -> NDArray[np.float64]:
    energy: NDArray[np.float64] = (np.abs(coils).astype(np.float64) ** 2).sum(axis=(1, 2))
    return energy


def _center_is_missing(images: NDArray[Any]) -> bool:
    """Whether samples of the central 24 x 24 are missing in all images."""
    ny, nx = images.shape[-2:]
    center = images[:, max(ny // 2 - 12, 0) : ny // 2 + 12, max(nx // 2 - 12, 0) : nx // 2 + 12]
    return bool(images.any()) and not center.any(axis=0).all()
