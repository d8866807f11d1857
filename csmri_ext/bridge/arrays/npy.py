"""numpy's own files, npy and npz: bare arrays of k-space or images."""

from __future__ import annotations

import os
import zipfile
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition
from csmri_ext.bridge.arrays.axes import NUMPY_AXES, array_acquisition, choose_array, default_axes
from csmri_ext.bridge.arrays.unpacked import unpack
from csmri_ext.bridge.from_slices import format_errors


def read_npy(path: str | os.PathLike[str], *, axes: str | None = None) -> Acquisition:
    """Read an npy file, memory-mapped.

    Complex arrays are k-space, zero frequency in the centre; real ones are magnitude images, from which k-space is
    simulated (see `from_slices.image_acquisition`).

    Parameters
    ----------
    path
        (ny, nx), (slices, ny, nx) or (slices, coils, ny, nx), fastMRI's order.
    axes
        Another order, one letter per axis: s slice, c coil, y, x. ``"cyx"`` is one slice of several coils.

    Raises
    ------
    FileFormatError
        The file is damaged or its array cannot be used.
    """
    path = Path(path)
    with format_errors(path, "npy"):
        array = np.load(path, mmap_mode="r")
    order = axes or default_axes(array.ndim, NUMPY_AXES, path, "", array.shape)
    return array_acquisition(partial(_read_npy, path), array.shape, array.dtype, order, path, "npy")


def read_npz(path: str | os.PathLike[str], *, key: str | None = None, axes: str | None = None) -> Acquisition:
    """Read one array of an npz file; an array called ``mask`` beside k-space is its sampling mask.

    The array is unpacked to a temporary file when its first slice is read, so that memory holds one slice.

    Parameters
    ----------
    path
        The file.
    key
        Name of the array; default ``kspace``, ``images`` or the only array.
    axes
        As in `read_npy`.

    Raises
    ------
    FileFormatError
        The file is damaged, the choice of array is not clear, or the array cannot be used.
    """
    path = Path(path)
    with format_errors(path, "npz"):
        shapes, dtypes = _npz_contents(path)
    name = choose_array(shapes, path, key)
    mask = None
    if "mask" in shapes and name != "mask":
        with format_errors(path, "npz"), np.load(path) as file:
            mask = file["mask"]
    order = axes or default_axes(len(shapes[name]), NUMPY_AXES, path, name, shapes[name])
    read_index = partial(_read_npz, path, name)
    return array_acquisition(read_index, shapes[name], dtypes[name], order, path, "npz", name=name, mask=mask)


def _read_npy(path: Path, index: tuple[int | slice, ...]) -> NDArray[Any]:
    return np.array(np.load(path, mmap_mode="r")[index])


def _read_npz(path: Path, name: str, index: tuple[int | slice, ...]) -> NDArray[Any]:
    return np.array(_unpacked_member(path, name, path.stat().st_mtime_ns)[index])


@lru_cache(maxsize=4)
def _unpacked_member(path: Path, name: str, _modified: int) -> NDArray[Any]:
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
        return unpack(stream, ".npy", partial(np.load, mmap_mode="r"))


def _npz_contents(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, np.dtype[Any]]]:
    """Shapes and dtypes from the headers of the members, without reading their data."""
    shapes, dtypes = {}, {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if not member.endswith(".npy"):
                continue
            name = member.removesuffix(".npy")
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                read_header = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                shapes[name], _, dtypes[name] = read_header(stream)
    return shapes, dtypes
