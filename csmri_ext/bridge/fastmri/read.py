"""HDF5 files of the fastMRI dataset: k-space, ISMRMRD header, reference images, sampling mask of test files.

Layout: https://github.com/facebookresearch/fastMRI (Knoll et al., 2020, doi:10.1148/ryai.2020190007).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition, LazyStack
from csmri_ext.bridge.arrays.axes import array_acquisition, pairs_hint
from csmri_ext.bridge.arrays.content import check_content
from csmri_ext.bridge.arrays.domain import IMAGE
from csmri_ext.bridge.arrays.order import NUMPY_AXES, order_of, suggestion
from csmri_ext.bridge.beside import MAPS_NAMES, MASK_NAMES, attach_beside, find_beside
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.first_few import first_few
from csmri_ext.bridge.fourier import center_crop
from csmri_ext.bridge.from_kspace import kspace_acquisition
from csmri_ext.bridge.ismrmrd.header import IsmrmrdHeader, parse_header
from csmri_ext.bridge.mask_beside import ROUNDING
from csmri_ext.bridge.numbers import as_float, is_complex
from csmri_ext.bridge.reading import choose_frames, note
from csmri_ext.bridge.size_limits import LONGEST_HEADER, read_small, require_plausible_dataset
from csmri_ext.bridge.slice_checks import CheckedSlices, format_errors

KIND = "fastMRI HDF5"
SINGLE_COIL_TARGET = "reconstruction_esc"
MULTI_COIL_TARGET = "reconstruction_rss"
_AXES = NUMPY_AXES | {5: "tscyx"}  # averages first, as in the prostate files
_GRIDS = (None, "cartesian", "epi", "other")
_DATASETS = ("kspace", "ismrmrd_header", "mask", "sens_maps", SINGLE_COIL_TARGET, MULTI_COIL_TARGET)


@dataclass(frozen=True)
class Hdf5Slices:
    """``read(i)`` is slice i of a dataset. The file is open only while reading, so processes may share the reader."""

    path: Path
    dataset: str
    add_coil_axis: bool = False
    frames: tuple[int, ...] = ()
    n_slices: int = 1

    def __call__(self, i: int) -> NDArray[Any]:
        """Read one slice; with `frames`, of the frame and its slice."""
        index = (self.frames[i // self.n_slices], i % self.n_slices) if self.frames else (i,)
        with h5py.File(self.path, "r") as file:
            require_plausible_dataset(file[self.dataset], self.path)
            item = as_float(file[self.dataset][index])
        return item[np.newaxis] if self.add_coil_axis else item


@dataclass(frozen=True)
class _Dataset:
    """``read(index)`` of a dataset."""

    path: Path
    name: str

    def __call__(self, index: Any) -> NDArray[Any]:
        with h5py.File(self.path, "r") as file:
            require_plausible_dataset(file[self.name], self.path)
            return np.asarray(file[self.name][index])


@dataclass(frozen=True)
class _CroppedSlices:
    read: Hdf5Slices
    size: tuple[int, int]

    def __call__(self, i: int) -> NDArray[Any]:
        return center_crop(self.read(i), self.size)


def read_fastmri(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    axes: str | None = None,
    frames: Sequence[int] | None = None,
    domain: str | None = None,
    force: bool = False,
) -> Acquisition:
    """Read a file of the fastMRI dataset, or one that follows its layout.

    Parameters
    ----------
    path
        HDF5 file with dataset ``kspace``, complex, (slices, ny, nx), (slices, coils, ny, nx), or as fastMRI's prostate
        files (averages, slices, coils, ny, nx). Optional: ``ismrmrd_header`` (XML), ``reconstruction_esc`` or
        ``reconstruction_rss`` (slices, h, w), ``mask``, ``sens_maps``, and any attributes.
    key
        Another dataset, without the protocol that goes with ``kspace``.
    axes
        Another order of the axes, see `reading.parse_axes`.
    frames
        Averages to read; default all, the slices of the first one first.
    domain
        ``image``: the dataset holds images, without the protocol that goes with k-space.
    force
        Take data that look non-Cartesian, and an order of axes that looks wrong.

    Returns
    -------
        Slices are read when indexed. ``target`` is the file's reconstruction, centre-cropped to a square of the columns
        of k-space where it has more of them, as fastMRI does; where it has none and is fully sampled, the root sum of
        squares of the centre-cropped coil images. ``attrs`` holds the file's attributes (acquisition, max, norm,
        patient_id...), ``recon_size`` (h, w), ``encoding_size`` (x, y, z) and ``padding`` (first and one past the last
        acquired column). A header that contradicts the data is not believed, and ``attrs["warnings"]`` says so.

    Raises
    ------
    FileFormatError
        Not HDF5, no k-space or of another shape; when a slice is read: NaN, infinite or all-zero data.
    FramesDifferError
        The averages were sampled differently: choose with `frames`.
    OSError
        The file does not exist or may not be read.
    """
    path = Path(path)
    load_filters()
    with format_errors(path, KIND), h5py.File(path, "r") as file:
        for name in _DATASETS:
            if name in file and not isinstance(file[name], h5py.Dataset):
                raise FileFormatError(f"{path}: {name} is a group, expected a dataset")
        names = _names(file)
        name = _kspace_name(names, path, key)
        stored, dtype = file[name].shape, file[name].dtype
        written = file[name].id.get_storage_size() > 0 or bool(as_float(np.asarray(file[name].fillvalue)).any())
        if file[name].size and not written:
            raise FileFormatError(f"{path}: {name} of shape {stored} announces data, and none were written")
        mask_name, maps_name = (find_beside(name, names, words) for words in (MASK_NAMES, MAPS_NAMES))
        mask, maps = None, None
        if mask_name is not None:
            found = file[mask_name]
            mask = read_small(found.__getitem__, found.shape, found.dtype, stored, path, "mask")
        if maps_name is not None:
            maps = maps_name, _Dataset(path, maps_name), file[maps_name].shape, file[maps_name].dtype
        if axes is not None or name != "kspace" or domain == IMAGE:
            return _bare_array(path, name, stored, dtype, mask, maps, axes, frames, domain, force)
        layout = _layout(stored, dtype, path)
        header_xml = _header_text(file, path)
        header = _header(header_xml, path)
        target_name = _target_name(file, single_coil=len(stored) == 3)
        target_shape = file[target_name].shape if target_name else None
        attrs = {name: _plain(value) for name, value in file.attrs.items()}

    if header.trajectory not in _GRIDS and not force:
        raise FileFormatError(
            f"{path}: the ISMRMRD header says that the trajectory is {header.trajectory}, and this package is "
            "Cartesian; --force goes on"
        )
    chosen = choose_frames(frames, layout.n_frames, str(path))
    n_slices = layout.n_slices * len(chosen)
    shape = (n_slices, *layout.slice_shape)
    read = Hdf5Slices(path, "kspace", len(stored) == 3, tuple(chosen) if len(stored) == 5 else (), layout.n_slices)
    attrs |= {"axes": layout.words, "axes_from": "fastMRI's format", "n_frames": len(chosen)}
    if header.encoding_size:
        attrs["encoding_size"] = header.encoding_size
    if header_xml:
        attrs["ismrmrd_header"] = header_xml
    if not (force or header_xml or target_name or "acquisition" in attrs):
        order = order_of(stored, _AXES, path, "kspace", None, dtype=dtype)  # anybody's array, under this name
        with format_errors(path, KIND):
            check_content(read, order.letters, stored, path)
    _add_padding(attrs, header, read, shape)
    target, recon_size = None, _recon_size(header, shape[2:])
    if target_name and target_shape:
        if len(target_shape) != 3 or target_shape[0] not in (layout.n_slices, n_slices):
            raise FileFormatError(
                f"{path}: {target_name} of shape {target_shape} does not fit {shape[0]} slices; expected (slices, h, w)"
            )
        recon_size = target_shape[1:]
        if target_shape[0] == n_slices:
            size = _size_within(recon_size, shape[2:])
            read_target = CheckedSlices(_CroppedSlices(Hdf5Slices(path, target_name), size), path, KIND)
            target = LazyStack(read_target, n_slices, size, np.float32)
    acquisition = kspace_acquisition(
        read, shape, path, KIND, mask=mask, target=target, recon_size=recon_size, force=force, attrs=attrs
    )
    if maps is not None:
        attach_beside(acquisition, *maps, _AXES[len(stored)])
    return acquisition


@dataclass(frozen=True)
class _Layout:
    """What the axes of ``kspace`` are."""

    words: str
    n_frames: int
    n_slices: int
    slice_shape: tuple[int, int, int]


def _layout(shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> _Layout:
    what = f"{path}: kspace is {dtype} of shape {shape}; "
    expected = "expected complex (slices, ny, nx) or (slices, coils, ny, nx)"
    if not is_complex(dtype):
        raise FileFormatError(f"{what}{expected}; {pairs_hint(shape, dtype)}")
    if len(shape) not in (3, 4, 5):
        raise FileFormatError(f"{what}{expected}; {suggestion(shape, dtype)}")
    n_frames = shape[0] if len(shape) == 5 else 1
    n_slices, *coils, ny, nx = shape[-4:]
    words = {3: "slice y x", 4: "slice coil y x", 5: "frame slice coil y x"}[len(shape)]
    return _Layout(words, n_frames, n_slices, (coils[0] if coils else 1, ny, nx))


def _names(file: h5py.File) -> list[str]:
    """List the datasets of a file, those in groups too."""
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def _kspace_name(names: list[str], path: Path, key: str | None) -> str:
    name = key or "kspace"
    if name in names:
        return name
    found = f"datasets found: {', '.join(first_few(sorted(names), 12))}" if names else "it has no dataset"
    choose = "; read one with --key" if names and key is None else ""
    if "dataset/data" in names:
        choose = " (this looks like ISMRMRD raw data without its header, dataset/xml)"
    raise FileFormatError(f"{path}: no dataset {name!r}; {found}{choose}")


def _bare_array(
    path: Path,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    mask: NDArray[Any] | None,
    maps: tuple[str, _Dataset, tuple[int, ...], np.dtype[Any]] | None,
    axes: str | None,
    frames: Sequence[int] | None,
    domain: str | None,
    force: bool,
) -> Acquisition:
    order = order_of(shape, NUMPY_AXES, path, name, axes, dtype=dtype, force=force)
    read = _Dataset(path, name)
    acquisition = array_acquisition(
        read, shape, dtype, order, path, "HDF5", name=name, mask=mask, frames=frames, domain=domain, force=force
    )
    if maps is not None:
        attach_beside(acquisition, *maps, order.letters)
    return acquisition


def _add_padding(
    attrs: dict[str, Any], header: IsmrmrdHeader, read: Hdf5Slices, shape: tuple[int, int, int, int]
) -> None:
    """Believe the header's range of columns unless samples lie outside of it, which it then would throw away."""
    if header.padding is None:
        return
    nx = shape[3]
    left, right = max(header.padding[0], 0), min(header.padding[1], nx)
    with format_errors(read.path, KIND):
        magnitude = np.abs(as_float(read(shape[0] // 2))).max(axis=(0, 1))
    columns = np.flatnonzero(magnitude > ROUNDING * magnitude.max())
    outside = columns[(columns < left) | (columns >= right)]
    said = (
        f"the ISMRMRD header says that columns {header.padding[0]} to {header.padding[1] - 1} of {nx} were acquired, "
    )
    if outside.size:
        why = f"but {outside.size} columns outside of them have samples, "
    elif (left, right) != header.padding:
        why = f"but there are columns 0 to {nx - 1} only, "
    else:
        attrs["padding"] = header.padding
        return
    note(attrs, f"{said}{why}so the header is wrong and all are kept")


def _recon_size(header: IsmrmrdHeader, matrix_size: tuple[int, int]) -> tuple[int, int] | None:
    """Size of images by the header: its reconSpace, or the whole axis where that is the encodedSpace and longer."""
    if header.recon_size is None or header.encoding_size is None:
        return header.recon_size[:2] if header.recon_size else None
    sizes = zip(header.recon_size[:2], header.encoding_size[:2], matrix_size, strict=True)
    h, w = (n if recon == encoded != n and recon < n else recon for recon, encoded, n in sizes)
    return h, w


def _header_text(file: h5py.File, path: Path) -> str | None:
    if "ismrmrd_header" not in file:
        return None
    stored = file["ismrmrd_header"]
    n_bytes = stored.size * (stored.dtype.itemsize or 1) if stored.shape is not None else 0
    if stored.size != 1 or n_bytes > LONGEST_HEADER:
        raise FileFormatError(f"{path}: ismrmrd_header is {stored.dtype} of shape {stored.shape}, expected one text")
    value = stored[()]
    return _text(value.item() if isinstance(value, np.ndarray) else value)


def _size_within(size: tuple[int, int], matrix_size: tuple[int, int]) -> tuple[int, int]:
    """Size of the reference for k-space of `matrix_size`: fastMRI crops both to squares where nx is the smaller one."""
    ny, nx = matrix_size
    if size[0] > ny:  # k-space is filled to it with zeros
        return size
    return size if size[1] <= nx else (min(nx, ny), nx)


def _header(xml: str | None, path: Path) -> IsmrmrdHeader:
    try:
        return parse_header(xml) if xml else IsmrmrdHeader()
    except ValueError as error:
        raise FileFormatError(f"{path}: {error}") from error


def load_filters() -> None:
    """Let HDF5 read blosc, zstd and others where the package hdf5plugin is installed."""
    with suppress(ImportError):
        import hdf5plugin  # noqa: F401


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
