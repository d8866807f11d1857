"""MATLAB files: version 5 to 7 (see `mat5`), and version 7.3, which is HDF5 with reversed axes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition
from csmri_ext.bridge.arrays.axes import array_acquisition, choose_array
from csmri_ext.bridge.arrays.mat5 import list_variables
from csmri_ext.bridge.arrays.order import MATLAB_AXES, order_of
from csmri_ext.bridge.beside import MAPS_NAMES, MASK_NAMES, attach_beside, find_beside
from csmri_ext.bridge.numbers import is_number
from csmri_ext.bridge.reading import Frames
from csmri_ext.bridge.size_limits import read_small, require_plausible_dataset
from csmri_ext.bridge.slice_checks import format_errors

KIND = "MATLAB"
_Stored = tuple[tuple[int, ...], np.dtype[Any], Callable[[Any], NDArray[Any]]]


def read_mat(
    path: Path | str,
    *,
    key: str | None = None,
    axes: str | None = None,
    frames: Frames = None,
    domain: str | None = None,
    force: bool = False,
) -> Acquisition:
    """Read one variable of a MATLAB file; ``mask`` and ``sens_maps`` beside k-space, or called alike, belong to it.

    Complex variables are k-space, zero frequency in the centre; real ones are magnitude images, from which k-space is
    simulated. Slices are read when they are indexed; compressed variables of version 7 are unpacked to a temporary
    file first.

    Parameters
    ----------
    path
        Shapes as MATLAB shows them: (ny, nx), (ny, nx, slices) or (ny, nx, coils, slices). CMRxRecon's variables,
        ``kspace_single_full`` and the like, are (ny, nx, slices, frames) or (ny, nx, coils, slices, frames).
    key
        Name of the variable, ``data.kspace`` for one in a structure; default ``kspace``, ``images`` or the only array.
    axes
        Another order of the axes in MATLAB, one word per axis: ``"y x coil"`` is one slice of several coils, see
        `reading.parse_axes`.
    frames, force
        As in `npy.read_npy`.
    domain
        As in `npy.read_npz`.

    Raises
    ------
    FileFormatError
        The file is damaged, the choice of variable is not clear, or the variable cannot be used; without `axes`, also
        where the usual order is unlikely.
    """
    path = Path(path)
    with format_errors(path, KIND):
        arrays = _version_7_3(path) if h5py.is_hdf5(path) else _version_5(path)
    shapes = {name: shape for name, (shape, _, _) in arrays.items()}
    name = choose_array(shapes, path, key, [name for name in arrays if "." in name], domain=domain)
    shape, dtype, read = arrays[name]
    order = order_of(shape, MATLAB_AXES, path, name.rpartition(".")[2], axes, dtype=dtype, force=force)
    mask, beside = None, find_beside(name, arrays, MASK_NAMES)
    if beside is not None:
        mask_shape, mask_dtype, read_mask = arrays[beside]
        with format_errors(path, KIND):
            mask = read_small(read_mask, mask_shape, mask_dtype, shape, path, "mask")
    with format_errors(path, KIND):
        acquisition = array_acquisition(
            read, shape, dtype, order, path, KIND, name=name, mask=mask, frames=frames, domain=domain, force=force
        )
    maps = find_beside(name, arrays, MAPS_NAMES)
    if maps is not None:
        maps_shape, maps_dtype, read_maps = arrays[maps]
        attach_beside(acquisition, maps, read_maps, maps_shape, maps_dtype, order.letters)
    return acquisition


def _version_7_3(path: Path) -> dict[str, _Stored]:
    arrays: dict[str, _Stored] = {}

    def add(name: str, item: Any) -> None:
        text = item.attrs.get("MATLAB_class") in (b"char", "char")
        if isinstance(item, h5py.Dataset) and is_number(item.dtype) and not text and not name.startswith("#"):
            read = partial(_read_dataset, path, name)
            arrays[name.replace("/", ".")] = (item.shape[::-1], item.dtype, read)

    with h5py.File(path, "r") as file:
        file.visititems(add)  # "#refs#" holds what cells refer to
    return arrays


def _read_dataset(path: Path, name: str, index: Any) -> NDArray[Any]:
    """Return ``array[index]`` of the array as MATLAB shows it; all of it for ``()``."""
    with h5py.File(path, "r") as file:
        require_plausible_dataset(file[name], path)
        return np.asarray(file[name][index[::-1] if index else ()]).T


def _version_5(path: Path) -> dict[str, _Stored]:
    return {
        name: (found.shape, found.dtype, found.read) for name, found in list_variables(path, structures=True).items()
    }
