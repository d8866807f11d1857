"""Write files that fastMRI's own tools read: volumes of k-space, and reconstructions for its evaluation script."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition, LazyStack
from csmri_ext.bridge.atomic import replacing
from csmri_ext.bridge.fastmri.read import MULTI_COIL_TARGET, SINGLE_COIL_TARGET
from csmri_ext.bridge.ismrmrd.header import make_header, parse_header
from csmri_ext.bridge.stacks import rss_target

# What `load` adds about the file it read; a new file has its own.
_NOT_WRITTEN = {"format", "path", "recon_size", "encoding_size", "padding", "ismrmrd_header", "max", "norm"} | {
    "axes",
    "axes_from",
    "array",
    "n_frames",
}


def write_fastmri(
    path: str | os.PathLike[str],
    data: Acquisition | NDArray[Any] | LazyStack,
    *,
    target: NDArray[Any] | LazyStack | None = None,
    mask: NDArray[Any] | None = None,
    attrs: dict[str, Any] | None = None,
) -> None:
    """Write a volume as fastMRI stores it, so that fastMRI's ``SliceDataset`` and `read_fastmri` read it.

    Datasets: ``kspace`` complex64, (slices, ny, nx) for one coil, else (slices, coils, ny, nx); ``ismrmrd_header``;
    ``reconstruction_esc`` (one coil) or ``reconstruction_rss``, float32; ``mask`` and ``sens_maps`` where given.
    Attributes: ``max`` and ``norm`` of the target, and every string or number of `attrs`. Slices are copied one by
    one, and `path` is replaced only by a complete file.

    Parameters
    ----------
    path
        File to write.
    data
        An `Acquisition`, or k-space: (slices, ny, nx) or (slices, coils, ny, nx), complex.
    target
        (slices, h, w) reference images. Default: those of the `Acquisition`; without them, and without a mask, the
        root sum of squares of the coil images.
    mask
        Acquired samples, (nx,) or (ny, nx); default: those of the `Acquisition`.
    attrs
        More attributes, such as ``{"acquisition": "CORPD_FBK", "patient_id": "0001"}``.

    Raises
    ------
    ValueError
        k-space is not complex or has another shape; the target has another number of slices; the mask does not fit.
    OSError
        The file cannot be written.
    """
    given = data if isinstance(data, Acquisition) else Acquisition(kspace=data, name=Path(path).name)
    target = given.target if target is None else target
    mask = given.mask if mask is None else np.asarray(mask) != 0
    kspace, sens_maps = given.kspace, given.sens_maps
    if kspace.ndim not in (3, 4) or 0 in kspace.shape or kspace.dtype.kind != "c":
        raise ValueError(
            f"k-space is {kspace.dtype} of shape {kspace.shape}; "
            "expected complex (slices, ny, nx) or (slices, coils, ny, nx)"
        )
    n_slices, (ny, nx) = kspace.shape[0], kspace.shape[-2:]
    n_coils = kspace.shape[1] if kspace.ndim == 4 else 1
    if target is None and mask is None:
        target = rss_target(kspace, given.attrs.get("recon_size", (ny, nx)))
    if target is not None and (target.ndim != 3 or target.shape[0] != n_slices):
        raise ValueError(f"target of shape {target.shape} does not fit k-space of shape {kspace.shape}")
    if mask is not None and mask.shape not in ((nx,), (ny, nx)):
        raise ValueError(f"mask of shape {mask.shape} does not fit k-space of shape {kspace.shape}")
    recon_h, recon_w = given.attrs.get("recon_size", (ny, nx)) if target is None else target.shape[1:]
    about = {key: value for key, value in given.attrs.items() if key not in _NOT_WRITTEN} | (attrs or {})

    shape = (n_slices, ny, nx) if n_coils == 1 else (n_slices, n_coils, ny, nx)
    with _new_file(path) as file:
        file["ismrmrd_header"] = _header(given.attrs, (ny, nx), (recon_h, recon_w), n_slices, n_coils)
        _copy_slices(file.create_dataset("kspace", shape, np.complex64), kspace)
        if sens_maps is not None:
            _copy_slices(file.create_dataset("sens_maps", shape, np.complex64), sens_maps)
        if mask is not None:
            file["mask"] = mask
        if target is not None:
            name = SINGLE_COIL_TARGET if n_coils == 1 else MULTI_COIL_TARGET
            dataset = file.create_dataset(name, target.shape, np.float32)
            about |= _copy_slices(dataset, target)
        for key, value in about.items():
            if isinstance(value, (str, int, float)):
                file.attrs[key] = value


def write_reconstructions(
    path: str | os.PathLike[str], volume: NDArray[Any] | LazyStack, *, attrs: Mapping[str, Any] | None = None
) -> None:
    """Write reconstructed images as fastMRI's ``evaluate.py`` expects: float32 dataset ``reconstruction``.

    Parameters
    ----------
    path
        File to write; it is replaced only by a complete file.
    volume
        (slices, h, w) images; the magnitude of complex images is written.
    attrs
        Attributes of the file, such as `result_records.h5_attributes`.

    Raises
    ------
    ValueError
        The volume has another number of axes, or NaN or infinite values.
    OSError
        The file cannot be written.
    """
    if volume.ndim != 3:
        raise ValueError(f"a volume of reconstructions has shape (slices, h, w), not {volume.shape}")
    with _new_file(path) as file:
        dataset = file.create_dataset("reconstruction", volume.shape, np.float32)
        for i in range(volume.shape[0]):
            image = np.asarray(volume[i])
            if not np.isfinite(image).all():
                raise ValueError(f"{path}: the reconstruction of slice {i} has NaN or infinite values")
            dataset[i] = np.abs(image) if np.iscomplexobj(image) else image
        for key, value in (attrs or {}).items():
            file.attrs[key] = value


@contextmanager
def _new_file(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open a file that replaces `path` when it is complete; what the disk refused becomes an OSError naming `path`."""
    with replacing(path) as temporary, _Disk(temporary) as disk:
        try:
            with h5py.File(disk, "w") as file:
                yield file
        finally:
            if disk.refused is not None:
                raise OSError(disk.refused.errno, disk.refused.strerror, os.fspath(path)) from disk.refused


class _Disk(io.FileIO):
    """A file that keeps what the disk refuses to itself: HDF5 crashes the process where a file cannot be closed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.refused: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            rest = memoryview(data).cast("B")
            while self.refused is None and len(rest):  # the system may take a part
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.refused = error
        return memoryview(data).nbytes

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size) if self.refused is None else self.tell()
        except OSError as error:
            self.refused = error
            return self.tell()


def _copy_slices(dataset: h5py.Dataset, stack: NDArray[Any] | LazyStack) -> dict[str, float]:
    """Copy slice by slice; return the largest magnitude and the 2-norm, which fastMRI keeps as ``max`` and ``norm``."""
    largest, sum_of_squares = 0.0, 0.0
    for i in range(dataset.shape[0]):
        item = np.asarray(stack[i]).reshape(dataset.shape[1:])
        dataset[i] = item
        magnitude = np.abs(item)
        largest = max(largest, float(magnitude.max()))
        sum_of_squares += float(np.square(magnitude, dtype=np.float64).sum())
    return {"max": largest, "norm": sum_of_squares**0.5}


def _header(
    attrs: dict[str, Any], matrix_size: tuple[int, int], recon_size: tuple[int, int], n_slices: int, n_coils: int
) -> str:
    """Keep the header that was read where it still describes the data; else make one."""
    kept = attrs.get("ismrmrd_header")
    if kept and (parse_header(kept).recon_size or ())[:2] == tuple(recon_size):
        return str(kept)
    return make_header(matrix_size, recon_size, n_slices, n_coils, attrs.get("padding"))
