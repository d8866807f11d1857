"""Images to learn from, by volume, whatever files they come from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge import FileFormatError
from csmri_ext.bridge.acquisition import Acquisition, middle_slices
from csmri_ext.bridge.file_errors import EmptySliceError
from csmri_ext.bridge.folder_lock import LOCK_FILE
from csmri_ext.bridge.fourier import center_crop, ifft2c
from csmri_ext.bridge.load import BY_EXTENSION, Files
from csmri_ext.progress import note_once

Item = TypeVar("Item")


@dataclass(frozen=True)
class ImageVolume:
    """Slices of one subject.

    Attributes
    ----------
    name
        Of the subject or file.
    n_slices
        Number of slices.
    read
        ``read(i)`` returns slice i, complex64 ``(ny, nx)``, or ``(coils, ny, nx)``.
    """

    name: str
    n_slices: int
    read: Callable[[int], NDArray[np.complex64]]


class Images(Sequence[NDArray[np.complex64]]):
    """The slices of some volumes, one after the other, read when indexed; sizes and numbers of coils may differ.

    A slice is a complex64 image ``(ny, nx)``, or several coil images ``(coils, ny, nx)``.

    Parameters
    ----------
    parts
        The volumes; their names differ.

    Raises
    ------
    ValueError
        Two volumes with one name, which could not be told apart when they are split.
    """

    def __init__(self, parts: Sequence[ImageVolume]) -> None:
        self.parts = tuple(parts)
        names = [part.name for part in self.parts]
        twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
        if twice:
            raise ValueError(f"two volumes are called {sorted(twice)[0]!r}")
        self._ends = list(accumulate(part.n_slices for part in self.parts))

    @property
    def volumes(self) -> list[str]:
        """Name of the volume of every image."""
        return [part.name for part in self.parts for _ in range(part.n_slices)]

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> NDArray[np.complex64]:  # type: ignore[override]
        position = range(len(self))[index]  # negative indices, and IndexError beyond the end
        number = int(np.searchsorted(self._ends, position, side="right"))
        part = self.parts[number]
        return part.read(position - (self._ends[number] - part.n_slices))


def open_images(
    paths: Sequence[str | os.PathLike[str]],
    *,
    slices: int | float | None = None,
    coils: bool = False,
    reading: Files | None = None,
    opened: Callable[[str, Acquisition], None] = lambda *_: None,
) -> Images:
    """Open files of fully sampled slices as training images.

    Single-coil k-space gives its complex image; several coils give their root sum of squares, a real image with zero
    phase (as in the NasN paper's brain experiment), or all coil images; files of images give what they show. The image
    is cut to the size that the file asks for, fastMRI's 320 x 320 for instance.

    Parameters
    ----------
    paths
        Files, and folders whose files are taken, sorted by name. Every format of `csmri_ext.bridge.load`.
    slices
        Number, or share, of the slices of each volume to keep, around its middle; None: all.
    coils
        Keep several coils apart, ``(coils, ny, nx)``.
    reading
        How files are read.
    opened
        Called with the name and what was read of every file.

    Raises
    ------
    FileFormatError
        A file that is undersampled, or unreadable; the message names it. No file at all.
    """
    volumes = []
    files, reading = files_of(paths), reading or Files()
    reading = reading.of_many() if len(files) > 1 else reading
    for file, name in files:
        acquisition = _fully_sampled(file, reading)
        opened(name, acquisition)
        volumes.append(_volume(acquisition, name, slices, coils))
    return Images(volumes)


def files_of(paths: Sequence[str | os.PathLike[str]]) -> list[tuple[Path, str]]:
    """List files, and those of folders, each with a name of its own.

    What lies in the folder of a training or a search, below one that is named, is its result and no image.

    Raises
    ------
    FileFormatError
        No file at all.
    """
    files = [file for path in paths for file in _files(Path(path))]
    if not files:
        raise FileFormatError(f"no images in {', '.join(map(str, paths)) or 'no files'}")
    shortest = Path(os.path.commonpath([file.resolve().parent for file in files]))
    return [(file, str(file.resolve().relative_to(shortest))) for file in files]


def evenly_spaced(images: Images, most: int) -> list[NDArray[np.complex64]]:
    """Read at most so many slices, evenly spaced over all: a set to validate on.

    In the place of one that is zero everywhere comes the next one that is not, if there is one before the next place.

    Parameters
    ----------
    images
        The slices.
    most
        At least 1.

    Raises
    ------
    EmptySliceError
        Every slice is zero everywhere.
    """
    step = max(len(images) // most, 1)
    chosen, empty = [], None
    for i in range(0, len(images), step)[:most]:
        try:
            chosen.append(first_filled(images, range(i, min(i + step, len(images))))[1])
        except EmptySliceError as error:
            empty = error
    if empty is not None and not chosen:
        raise empty
    return chosen


def first_filled(images: Sequence[Item], indices: Iterable[int]) -> tuple[int, Item]:
    """Read the first of these slices that is not zero everywhere: the others teach nothing. Each is named once.

    Parameters
    ----------
    images
        Slices: arrays, or `csmri_ext.data.scans.Scan`.
    indices
        In the order in which they are tried; at least one.

    Returns
    -------
        Its index, and the slice.

    Raises
    ------
    EmptySliceError
        All of them are zero everywhere.
    """
    for index in indices:
        try:
            item = images[index]
            values: Any = getattr(item, "kspace", item)
            if values.any():
                return index, item
            empty = EmptySliceError(f"slice {index} (counted from 0, over all volumes) is zero everywhere")
        except EmptySliceError as error:
            empty = error
        note_once(f"{empty}: left out")
    raise empty


def split_by_volume(
    images: Images, fractions: Sequence[float], seed: int = 0, groups: Sequence[str] | None = None
) -> list[Images]:
    """Split at random so that no subject is in two parts.

    Parameters
    ----------
    images
        Images of at least as many volumes as there are parts.
    fractions
        Share of the volumes, or groups, of each part; scaled to a sum of 1. Every part gets at least one.
    seed
        Seed of the order.
    groups
        Group of each volume, its patient for instance: what has one group stays in one part. None: each its own.

    Raises
    ------
    ValueError
        Fewer volumes or groups than parts, a fraction that is not positive, or not one group per volume.
    """
    numbers = np.arange(len(images.parts)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = len(set(numbers))
    if min(fractions) <= 0 or count < len(fractions):
        kind = "volume" if groups is None else "group"
        raise ValueError(
            f"{count} {kind}{'' if count == 1 else 's'} in parts of {', '.join(f'{f:g}' for f in fractions)}: "
            f"expected positive shares and at least one {kind} for each"
        )
    order = np.random.default_rng([seed, 5]).permutation(count)
    ends = np.round(np.cumsum(fractions) / np.sum(fractions) * count).astype(int)
    for i in range(len(ends) - 1):  # nobody is left without a volume
        ends[i] = min(max(ends[i], (ends[i - 1] if i else 0) + 1), count - (len(ends) - 1 - i))
    chosen = [np.isin(numbers, part) for part in np.split(order, ends[:-1])]
    return [Images([volume for volume, here in zip(images.parts, part, strict=True) if here]) for part in chosen]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    known = tuple(ending for ending in BY_EXTENSION if ending != ".hdr")  # a .cfl and its .hdr are one file
    below = list(path.rglob("*"))
    runs = {lock.parent for lock in below if lock.name == LOCK_FILE} - {path}
    found = [file for file in below if file.name.lower().endswith(known) and file.is_file()]
    return sorted(file for file in found if not runs.intersection(file.parents))


def _fully_sampled(path: Path, reading: Files) -> Acquisition:
    first, *others = reading.open(path)
    if others or first.mask is not None:
        raise FileFormatError(
            f"{path}: undersampled k-space has no reference to learn from (csmri train --self-supervised needs none)"
        )
    return first


def _volume(acquisition: Acquisition, name: str, slices: int | float | None, coils: bool) -> ImageVolume:
    chosen = middle_slices(acquisition.n_slices, slices)
    return ImageVolume(name, len(chosen), partial(_slice, acquisition, chosen.start, coils))


def _slice(acquisition: Acquisition, first: int, coils: bool, i: int) -> NDArray[np.complex64]:
    target = acquisition.target
    size = acquisition.attrs.get("recon_size") or acquisition.matrix_size
    if acquisition.n_coils == 1:
        return center_crop(ifft2c(acquisition.kspace[first + i][0]), size)
    if coils:
        return center_crop(ifft2c(acquisition.kspace[first + i]), size)
    if target is None:
        image = np.linalg.norm(ifft2c(acquisition.kspace[first + i]), axis=0)
        return center_crop(image, size).astype(np.complex64)
    return np.asarray(target[first + i]).astype(np.complex64)
