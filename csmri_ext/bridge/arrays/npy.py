"""numpy's own files, npy and npz: bare arrays of k-space or images."""

from __future__ import annotations

import math
import os
import zipfile
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition
from csmri_ext.bridge.arrays.axes import array_acquisition, choose_array
from csmri_ext.bridge.arrays.order import NUMPY_AXES, order_of
from csmri_ext.bridge.arrays.unpacked import unpack
from csmri_ext.bridge.beside import MAPS_NAMES, MASK_NAMES, attach_beside, find_beside
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.reading import Frames
from csmri_ext.bridge.size_limits import read_small, require_plausible
from csmri_ext.bridge.slice_checks import format_errors

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0}
PICKLED = "it holds Python objects, such as a dict or a list, and no array of numbers: save the arrays with np.savez"


def read_npy(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    frames: Frames = None,
    domain: str | None = None,
    force: bool = False,
) -> Acquisition:
    """Read an npy file, memory-mapped.

    Complex arrays are k-space, zero frequency in the centre; real ones are magnitude images, from which k-space is
    simulated (see `from_images.image_acquisition`).

    Parameters
    ----------
    path
        (ny, nx), (slices, ny, nx) or (slices, coils, ny, nx), fastMRI's order.
    axes
        Another order, one word per axis: ``"coil y x"`` is one slice of several coils, see `reading.parse_axes`.
    frames
        Those to read of an axis called frame.
    domain
        ``image``: complex numbers are images, not k-space.
    force
        Believe the usual order, and what else looks wrong.

    Raises
    ------
    FileFormatError
        The file is damaged or its array cannot be used; without `axes`, also where the usual order is unlikely.
    """
    path = Path(path)
    with format_errors(path, "npy"):
        with path.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            read_header = _HEADERS.get(version, np.lib.format.read_array_header_2_0)
            if read_header(stream)[2].hasobject:
                raise FileFormatError(f"{path}: {PICKLED}")
        array = np.load(path, mmap_mode="r")
    order = order_of(array.shape, NUMPY_AXES, path, "", axes, dtype=array.dtype, force=force)
    read_index = partial(_read_npy, path)
    return array_acquisition(
        read_index, array.shape, array.dtype, order, path, "npy", frames=frames, domain=domain, force=force
    )


def read_npz(
    path: Path | str,
    *,
    key: str | None = None,
    axes: str | None = None,
    frames: Frames = None,
    domain: str | None = None,
    force: bool = False,
) -> Acquisition:
    """Read one array of an npz file; arrays ``mask`` and ``sens_maps`` beside k-space, or called alike, belong to it.

    The array is unpacked to a temporary file when its first slice is read, so that memory holds one slice.

    Parameters
    ----------
    path
        The file.
    key
        Name of the array; default ``kspace``, ``images`` or the only array.
    axes, frames, force
        As in `read_npy`.
    domain
        ``image`` or ``kspace``, where neither the numbers nor the name of the array say it, or say it wrongly.

    Raises
    ------
    FileFormatError
        The file is damaged, the choice of array is not clear, or the array cannot be used.
    """
    path = Path(path)
    with format_errors(path, "npz"):
        shapes, dtypes = npz_contents(path)
    name = choose_array(shapes, path, key, domain=domain)
    order = order_of(shapes[name], NUMPY_AXES, path, name, axes, dtype=dtypes[name], force=force)
    mask = None
    beside = find_beside(name, shapes, MASK_NAMES)
    if beside is not None:
        read_mask = partial(read_npz_array, path, beside)
        mask = read_small(read_mask, shapes[beside], dtypes[beside], shapes[name], path, "mask")
    acquisition = array_acquisition(
        partial(read_npz_array, path, name),
        shapes[name],
        dtypes[name],
        order,
        path,
        "npz",
        name=name,
        mask=mask,
        frames=frames,
        domain=domain,
        force=force,
    )
    maps = find_beside(name, shapes, MAPS_NAMES)
    if maps is not None:
        read_maps = partial(read_npz_array, path, maps)
        attach_beside(acquisition, maps, read_maps, shapes[maps], dtypes[maps], order.letters)
    return acquisition


def _read_npy(path: Path, index: tuple[int | slice, ...]) -> NDArray[Any]:
    return np.array(np.load(path, mmap_mode="r")[index])


def read_npz_array(path: Path, name: str, index: tuple[int | slice, ...]) -> NDArray[Any]:
    """Return ``array[index]`` of the array called `name`; the file is unpacked once."""
    return np.array(_unpacked_member(path, name, path.stat().st_mtime_ns)[index])


@lru_cache(maxsize=4)
def _unpacked_member(path: Path, name: str, _modified: int) -> NDArray[Any]:
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
        member = archive.getinfo(f"{name}.npy")
        require_plausible(member.file_size, member.compress_size, f"{path}: {name}")
        return unpack(stream, ".npy", partial(np.load, mmap_mode="r"), member.file_size, member.compress_size)


def npz_contents(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, np.dtype[Any]]]:
    """Shapes and dtypes from the headers of the members, without reading their data.

    Raises
    ------
    ValueError
        A member has another size than its header says.
    """
    shapes, dtypes = {}, {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if not member.endswith(".npy"):
                continue
            name = member.removesuffix(".npy")
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                read_header = _HEADERS.get(version, np.lib.format.read_array_header_2_0)
                shapes[name], _, dtypes[name] = read_header(stream)
                start = stream.tell()
            promised = start + math.prod(shapes[name]) * dtypes[name].itemsize
            size = archive.getinfo(member).file_size
            if not dtypes[name].hasobject and size != promised:
                raise ValueError(f"{member} has {size} bytes, its header promises {promised}")
    return shapes, dtypes
