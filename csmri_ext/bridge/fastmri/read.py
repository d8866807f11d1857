"""HDF5 files of the fastMRI dataset: k-space, ISMRMRD header, reference images, sampling mask of test files.

Layout: https://github.com/facebookresearch/fastMRI (Knoll et al., 2020, doi:10.1148/ryai.2020190007).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition, LazyStack
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.fourier import center_crop
from csmri_ext.bridge.from_slices import CheckedSlices, format_errors, kspace_acquisition
from csmri_ext.bridge.ismrmrd.header import IsmrmrdHeader, parse_header

KIND = "fastMRI HDF5"
SINGLE_COIL_TARGET = "reconstruction_esc"
MULTI_COIL_TARGET = "reconstruction_rss"
_DATASETS = ("kspace", "ismrmrd_header", "mask", "sens_maps", SINGLE_COIL_TARGET, MULTI_COIL_TARGET)


@dataclass(frozen=True)
class Hdf5Slices:
    """``read(i)`` is slice i of a dataset. The file is open only while reading, so processes may share the reader."""

    path: Path
    dataset: str
    add_coil_axis: bool = False

    def __call__(self, i: int) -> NDArray[Any]:
        """Read one slice."""
        with h5py.File(self.path, "r") as file:
            item = file[self.dataset][i]
        return item[np.newaxis] if self.add_coil_axis else item


@dataclass(frozen=True)
class _CroppedSlices:
    read: Hdf5Slices
    size: tuple[int, int]

    def __call__(self, i: int) -> NDArray[Any]:
        return center_crop(self.read(i), self.size)


def read_fastmri(path: str | os.PathLike[str]) -> Acquisition:
    """Read a file of the fastMRI dataset, or one that follows its layout.

    Parameters
    ----------
    path
        HDF5 file with dataset ``kspace``, complex, (slices, ny, nx) or (slices, coils, ny, nx). Optional:
        ``ismrmrd_header`` (XML), ``reconstruction_esc`` or ``reconstruction_rss`` (slices, h, w), ``mask``,
        ``sens_maps`` (shape of kspace), and any attributes.

    Returns
    -------
        Slices are read when indexed. ``target`` is the file's reconstruction, centre-cropped to the columns of k-space
        where it has more of them, as fastMRI does; where it has none and is fully sampled, the root sum of squares of
        the centre-cropped coil images. ``attrs`` holds the file's attributes
        (acquisition, max, norm, patient_id...), ``recon_size`` (h, w), ``encoding_size`` (x, y, z) and ``padding``
        (first and one past the last acquired column).

    Raises
    ------
    FileFormatError
        Not HDF5, no k-space or of another shape; when a slice is read: NaN, infinite or all-zero data.
    OSError
        The file does not exist or may not be read.
    """
    path = Path(path)
    with format_errors(path, KIND), h5py.File(path, "r") as file:
        for name in _DATASETS:
            if name in file and not isinstance(file[name], h5py.Dataset):
                raise FileFormatError(f"{path}: {name} is a group, expected a dataset")
        shape = _kspace_shape(file, path)
        header_xml = _text(file["ismrmrd_header"][()]) if "ismrmrd_header" in file else None
        header = _header(header_xml, path)
        mask = file["mask"][()] if "mask" in file else None
        target_name = _target_name(file, single_coil=file["kspace"].ndim == 3)
        target_shape = file[target_name].shape if target_name else None
        has_maps = "sens_maps" in file
        if has_maps and file["sens_maps"].shape != file["kspace"].shape:
            maps_shape = file["sens_maps"].shape
            raise FileFormatError(
                f"{path}: sens_maps of shape {maps_shape} do not fit kspace of {file['kspace'].shape}"
            )
        attrs = {name: _plain(value) for name, value in file.attrs.items()}
        single_coil = file["kspace"].ndim == 3

    target = None
    recon_size = header.recon_size[:2] if header.recon_size else None
    if target_name and target_shape:
        if len(target_shape) != 3 or target_shape[0] != shape[0]:
            raise FileFormatError(
                f"{path}: {target_name} of shape {target_shape} does not fit {shape[0]} slices; expected (slices, h, w)"
            )
        recon_size = _size_within(target_shape[1:], shape[2:])
        read_target = CheckedSlices(_CroppedSlices(Hdf5Slices(path, target_name), recon_size), path, KIND)
        target = LazyStack(read_target, shape[0], recon_size, np.float32)
    sens_maps = None
    if has_maps:
        read_maps = CheckedSlices(Hdf5Slices(path, "sens_maps", add_coil_axis=single_coil), path, KIND)
        sens_maps = LazyStack(read_maps, shape[0], shape[1:], np.complex64)
    if header.padding and not max(header.padding[0], 0) < min(header.padding[1], shape[3]):
        raise FileFormatError(
            f"{path}: the ISMRMRD header says that columns {header.padding[0]} to {header.padding[1] - 1} were "
            f"acquired, k-space has {shape[3]}"
        )
    for name in ("encoding_size", "padding"):
        if getattr(header, name):
            attrs[name] = getattr(header, name)
    if header_xml:
        attrs["ismrmrd_header"] = header_xml
    return kspace_acquisition(
        Hdf5Slices(path, "kspace", add_coil_axis=single_coil),
        shape,
        path,
        KIND,
        mask=mask,
        target=target,
        sens_maps=sens_maps,
        recon_size=recon_size,
        attrs=attrs,
    )


def _kspace_shape(file: h5py.File, path: Path) -> tuple[int, int, int, int]:
    if "kspace" not in file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        found = f"datasets found: {', '.join(sorted(names)[:12])}" if names else "it has no dataset"
        hint = " (this looks like ISMRMRD raw data, which must be sorted into k-space first)" * (
            "dataset/data" in names
        )
        raise FileFormatError(f"{path}: no dataset 'kspace'; {found}{hint}")
    kspace = file["kspace"]
    if kspace.dtype.kind != "c" or kspace.ndim not in (3, 4):
        raise FileFormatError(
            f"{path}: kspace is {kspace.dtype} of shape {kspace.shape}; "
            "expected complex (slices, ny, nx) or (slices, coils, ny, nx)"
        )
    n_slices, *coils, ny, nx = kspace.shape
    return n_slices, coils[0] if coils else 1, ny, nx


def _size_within(size: tuple[int, int], matrix_size: tuple[int, int]) -> tuple[int, int]:
    """Size of the reference for k-space of `matrix_size`: fastMRI crops both to squares where nx is the smaller one."""
    ny, nx = matrix_size
    h, w = size if size[1] <= nx else (nx, nx)
    return min(h, ny), w


def _header(xml: str | None, path: Path) -> IsmrmrdHeader:
    try:
        return parse_header(xml) if xml else IsmrmrdHeader()
    except ValueError as error:
        raise FileFormatError(f"{path}: {error}") from error


def _target_name(file: h5py.File, *, single_coil: bool) -> str | None:
    order = (SINGLE_COIL_TARGET, MULTI_COIL_TARGET) if single_coil else (MULTI_COIL_TARGET, SINGLE_COIL_TARGET)
    return next((name for name in order if name in file), None)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _plain(value: Any) -> Any:
    """Turn what h5py returns for an attribute into str, int, float, or an array."""
    if isinstance(value, (bytes, np.bytes_)):
        return _text(bytes(value))
    return value.item() if isinstance(value, np.generic) else value
