"""The arrays in a file, whatever its format, before their axes are decided: for masks and sensitivities."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.arrays.images import read_pixels
from csmri_ext.bridge.arrays.mat5 import list_variables
from csmri_ext.bridge.arrays.npy import npz_contents, read_npz_array
from csmri_ext.bridge.bart_files.cfl import read_cfl
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.first_few import first_few
from csmri_ext.bridge.size_limits import require_plausible_dataset
from csmri_ext.bridge.slice_checks import format_errors

ENDINGS = (".npy", ".npz", ".mat", ".h5", ".hdf5", ".cfl", ".hdr", ".ra", ".png", ".tif", ".tiff")


@dataclass(frozen=True)
class StoredArray:
    """An array of a file: ``read(index)`` is ``array[index]``.

    Attributes
    ----------
    name
        In the file; empty where there is one array without a name.
    shape, dtype
        As the file says; MATLAB's as MATLAB shows them, BART's with all 16 dimensions.
    read
        Reads a part.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Any], NDArray[Any]]


def is_bart(path: str | os.PathLike[str]) -> bool:
    """Whether a path names a BART array: by its extension, or without one beside a ``.hdr`` file."""
    name = os.fspath(path)
    return name.endswith((".cfl", ".hdr", ".ra")) or (not Path(name).is_file() and Path(f"{name}.hdr").is_file())


def stored_arrays(path: str | os.PathLike[str]) -> dict[str, StoredArray]:
    """List the arrays of a file by name, in the file's order.

    Parameters
    ----------
    path
        ``.npy .npz .mat .h5 .cfl .ra .png .tif``.

    Raises
    ------
    FileFormatError
        Another kind of file, or a damaged one.
    OSError
        It does not exist or may not be read.
    """
    path = Path(path)
    return {name: replace(array, read=partial(_checked, path, array.read)) for name, array in _listed(path).items()}


def _checked(path: Path, read: Callable[[Any], NDArray[Any]], index: Any) -> NDArray[Any]:
    """Read a part; a damaged file may show only now."""
    with format_errors(path, path.suffix[1:].lower() or "known"):
        return read(index)


def _listed(path: Path) -> dict[str, StoredArray]:
    if is_bart(path):
        array = read_cfl(path)
        return {"": StoredArray("", array.shape, array.dtype, array.__getitem__)}
    with path.open("rb") as file:
        start = file.read(8)
    ending = path.suffix.lower()
    with format_errors(path, ending[1:] or "known"):
        if ending == ".npy":
            array = np.load(path, mmap_mode="r")
            return {"": StoredArray("", array.shape, array.dtype, array.__getitem__)}
        if ending == ".npz":
            shapes, dtypes = npz_contents(path)
            return {n: StoredArray(n, shapes[n], dtypes[n], partial(read_npz_array, path, n)) for n in shapes}
        if start == b"\x89HDF\r\n\x1a\n":
            return _hdf5_arrays(path, reverse=ending == ".mat")
        if ending == ".mat":
            variables = list_variables(path, structures=True)
            return {n: StoredArray(n, v.shape, v.dtype, v.read) for n, v in variables.items()}
        if ending in (".png", ".tif", ".tiff"):
            pixels = read_pixels(path)
            return {"": StoredArray("", pixels.shape, pixels.dtype, pixels.__getitem__)}
    raise FileFormatError(f"{path}: no arrays are read from such a file; known: {' '.join(ENDINGS)}")


def choose_stored(path: str | os.PathLike[str], names: tuple[str, ...], what: str, key: str | None) -> StoredArray:
    """Choose the array called `key`, else one of `names`, also inside a structure, else the only one.

    Raises
    ------
    FileFormatError
        No such array, or several.
    """
    arrays = stored_arrays(path)
    listing = ", ".join(first_few([f"{name} {array.shape}" for name, array in arrays.items()], 12)) or "nothing"
    if key is not None and key in arrays:
        return arrays[key]
    for name in names if key is None else ():
        inside = [full for full in arrays if full.replace("/", ".").rpartition(".")[2] == name]
        if name in arrays or len(inside) == 1:
            return arrays[name if name in arrays else inside[0]]
    if key is None and len(arrays) == 1:
        return next(iter(arrays.values()))
    wanted = f"no array {key!r}" if key is not None else f"which array is the {what}? Name it {names[0]}"
    raise FileFormatError(f"{os.fspath(path)}: {wanted}; it holds {listing}")


def _hdf5_arrays(path: Path, *, reverse: bool) -> dict[str, StoredArray]:
    found: dict[str, StoredArray] = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "biufcV" and not name.startswith("#"):
            shape = item.shape[::-1] if reverse else item.shape
            plain = name.replace("/", ".") if reverse else name
            found[plain] = StoredArray(plain, shape, item.dtype, partial(_read_hdf5, path, name, reverse))

    with h5py.File(path, "r") as file:
        file.visititems(add)
    return found


def _read_hdf5(path: Path, name: str, reverse: bool, index: Any) -> NDArray[Any]:
    with format_errors(path, "HDF5"), h5py.File(path, "r") as file:
        require_plausible_dataset(file[name], path)
        if not reverse:
            return np.asarray(file[name][index])
        n_axes = file[name].ndim
        index = index if isinstance(index, tuple) else (index,)
        index = (*index, *[slice(None)] * (n_axes - len(index)))
        return np.asarray(file[name][index[::-1]]).T
