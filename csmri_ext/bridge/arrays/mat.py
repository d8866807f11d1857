"""MATLAB files: version 5 to 7 (see `mat5`), and version 7.3, which is HDF5 with reversed axes."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition
from csmri_ext.bridge.arrays.axes import MATLAB_AXES, array_acquisition, choose_array, default_axes
from csmri_ext.bridge.arrays.mat5 import list_variables
from csmri_ext.bridge.from_slices import format_errors

KIND = "MATLAB"


def read_mat(path: str | os.PathLike[str], *, key: str | None = None, axes: str | None = None) -> Acquisition:
    """Read one variable of a MATLAB file; a variable called ``mask`` beside k-space is its sampling mask.

    Complex variables are k-space, zero frequency in the centre; real ones are magnitude images, from which k-space is
    simulated. Slices are read when they are indexed; compressed variables of version 7 are unpacked to a temporary
    file first.

    Parameters
    ----------
    path
        Shapes as MATLAB shows them: (ny, nx), (ny, nx, slices) or (ny, nx, coils, slices).
    key
        Name of the variable; default ``kspace``, ``images`` or the only array.
    axes
        Another order of the axes in MATLAB, one letter per axis: s slice, c coil, y, x. ``"yxc"`` is one slice of
        several coils.

    Raises
    ------
    FileFormatError
        The file is damaged, the choice of variable is not clear, or the variable cannot be used.
    """
    path = Path(path)
    with format_errors(path, KIND):
        return _read_version_7_3(path, key, axes) if h5py.is_hdf5(path) else _read_version_5(path, key, axes)


def _read_version_7_3(path: Path, key: str | None, axes: str | None) -> Acquisition:
    with h5py.File(path, "r") as file:
        datasets = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
        shapes = {name: item.shape[::-1] for name, item in datasets.items()}
        name = choose_array(shapes, path, key)
        dtype = datasets[name].dtype
        mask = datasets["mask"][()].T if "mask" in datasets and name != "mask" else None
    order = axes or default_axes(len(shapes[name]), MATLAB_AXES, path, name, shapes[name])
    read_index = partial(_read_dataset, path, name)
    return array_acquisition(read_index, shapes[name][::-1], dtype, order[::-1], path, KIND, name=name, mask=mask)


def _read_dataset(path: Path, name: str, index: tuple[int | slice, ...]) -> NDArray[Any]:
    with h5py.File(path, "r") as file:
        return file[name][index]


def _read_version_5(path: Path, key: str | None, axes: str | None) -> Acquisition:
    variables = list_variables(path)
    shapes = {name: variable.shape for name, variable in variables.items()}
    name = choose_array(shapes, path, key)
    chosen = variables[name]
    order = axes or default_axes(len(chosen.shape), MATLAB_AXES, path, name, chosen.shape)
    mask = variables["mask"].read(()) if "mask" in variables and name != "mask" else None
    return array_acquisition(chosen.read, chosen.shape, chosen.dtype, order, path, KIND, name=name, mask=mask)
