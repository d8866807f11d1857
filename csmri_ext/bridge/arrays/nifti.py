"""NIfTI volumes (nibabel): magnitude images in a fixed frame, whatever the orientation of the file."""

from __future__ import annotations

import gzip
import math
import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition
from csmri_ext.bridge.arrays.unpacked import unpack
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.from_images import image_acquisition
from csmri_ext.bridge.reading import axes_in_words
from csmri_ext.bridge.size_limits import LONGEST_HEADER, require_plausible
from csmri_ext.bridge.slice_checks import format_errors

KIND = "NIfTI"
# Where (slice, row, column) increase to, in nibabel's letters: each plane as radiologists look at it.
FEW = 4  # times as many voxels along the two other axes: a stack of a few slices
THICK = 1.5  # slices are thick where their distance is this many times that of the pixels
PLANES = {"axial": ("S", "P", "L"), "coronal": ("A", "I", "L"), "sagittal": ("R", "I", "P")}


def read_nifti(
    path: str | os.PathLike[str], *, plane: str | None = None, volume: int | None = None, force: bool = False
) -> Acquisition:
    """Read a NIfTI volume as slices of one anatomical plane; k-space is simulated from them.

    The volume is turned to the closest canonical orientation (no interpolation): axial slices have rows towards
    posterior and columns towards the patient's left.

    Parameters
    ----------
    path
        ``.nii`` or ``.nii.gz``, three axes, or four with `volume`. Values are those of the header's slope and
        intercept, not normalised.
    plane
        ``axial``, ``coronal`` or ``sagittal``. Default: across an axis of a few voxels, a fourth of the others at most;
        else the plane of the best resolution, whose slices are at least 1.5 times as thick as their pixels are wide;
        axial where the voxels are about cubes.
    volume
        Index on the fourth axis, needed where it is longer than one.
    force
        Take the magnitude of volumes with negative values.

    Returns
    -------
        ``target`` is the magnitude of the images, float32. ``attrs["affine"]`` maps (slice, row, column) of the
        file's volume, empty slices included, to mm in RAS+ (4 x 4); ``attrs["plane"]`` names the plane, and
        ``attrs["plane_from"]`` why this one.

    Raises
    ------
    FileFormatError
        The file is damaged, or its axes do not fit; when a slice is read: NaN, infinite or all-zero data.
    ImportError
        nibabel is not installed.
    """
    try:
        import nibabel
    except ImportError as error:
        raise ImportError("NIfTI files need nibabel: pip install csmri_ext[nifti]") from error
    path = Path(path)
    if plane is not None and plane not in PLANES:
        raise FileFormatError(f"{path}: unknown plane {plane!r}; known: {', '.join(PLANES)}")
    with format_errors(path, KIND):
        _require_short_header(path)
        image: Any = nibabel.load(path)
        shape = tuple(int(n) for n in image.shape)
        dtype = image.get_data_dtype()
        _check(path, shape, dtype, volume)
        spatial = (*shape, 1, 1)[:3]
        values = _Values(
            path=Path(image.file_map["image"].filename),
            dtype=dtype,
            offset=int(image.dataobj.offset) + (volume or 0) * math.prod(spatial) * dtype.itemsize,
            shape=spatial,
            slope=float(image.dataobj.slope),
            intercept=float(image.dataobj.inter),
        )
        if not np.isfinite(image.affine).all() or np.linalg.matrix_rank(image.affine[:3, :3]) < 3:
            raise FileFormatError(
                f"{path}: the affine of the header is singular, so no plane is known: write one with nibabel, such as "
                "diag(dx, dy, dz, 1)"
            )
        orientations = nibabel.orientations
        to_ras = orientations.io_orientation(image.affine)[:, 0].astype(int)  # axes of the file along R, A and S
        plane, reason = (plane, "as asked for") if plane else _best_plane(image.affine, spatial, to_ras)
        wanted = orientations.axcodes2ornt(PLANES[plane])
        # Row a of `turn`: which axis axis a of the file becomes (0 slice, 1 row, 2 column), and 1 or -1 (reversed).
        turn = orientations.ornt_transform(orientations.io_orientation(image.affine), wanted)
        affine = image.affine @ orientations.inv_ornt_aff(turn, spatial)
    order = tuple(int(axis) for axis in np.argsort(turn[:, 0]))
    reversed_axes = tuple(axis for axis in range(3) if turn[axis, 1] < 0)
    n_slices, ny, nx = (spatial[axis] for axis in order)
    letters = "".join("syx"[int(axis)] for axis in turn[:, 0])
    attrs = {
        "axes": axes_in_words(letters),
        "plane": plane,
        "plane_from": f"{plane} plane, {reason}",
        "affine": affine,
    }
    turned = _TurnedSlices(values, order, reversed_axes)
    return image_acquisition(turned, n_slices, (ny, nx), path, KIND, attrs, force=force)


def _best_plane(affine: NDArray[np.float64], shape: tuple[int, ...], to_ras: NDArray[np.intp]) -> tuple[str, str]:
    """Choose the plane across right, anterior or superior, and say why.

    Across the axis of a few voxels, else across the largest distance of voxels, else axial.
    """
    axes = np.argsort(to_ras)
    shape = tuple(shape[axis] for axis in axes)
    size = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))[axes]
    voxel = f"of {' x '.join(f'{mm:.3g}' for mm in size)} mm (right, anterior, superior)"
    across = ("sagittal", "coronal", "axial")
    fewest, second_fewest = np.sort(shape)[:2]
    if FEW * fewest <= second_fewest:
        return across[int(np.argmin(shape))], f"across the axis of {fewest} voxels {voxel}"
    second, largest = np.sort(size)[1:]
    if not largest >= THICK * second:
        return "axial", f"the default for voxels {voxel}"
    return across[int(size.argmax())], f"across the slices of voxels {voxel}"


def _require_short_header(path: Path) -> None:
    """Refuse extensions of the header that would unpack to gigabytes: nibabel reads all that lies before the voxels."""
    if path.suffix != ".gz":
        return
    with gzip.open(path) as stream:
        start = stream.read(176)
    for order in "<>":
        (size,) = struct.unpack_from(f"{order}i", start) if len(start) >= 4 else (0,)
        place = {348: ("f", 108), 540: ("q", 168)}.get(size)
        if place and len(start) == 176:
            (offset,) = struct.unpack_from(f"{order}{place[0]}", start, place[1])
            if not offset <= LONGEST_HEADER:
                raise FileFormatError(f"{path}: the header says that the voxels begin at byte {offset:g}")


def _check(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], volume: int | None) -> None:
    if dtype.kind not in "fiuc":
        raise FileFormatError(f"{path}: values are {dtype}; expected numbers, colour is not supported")
    if path.suffix not in (".nii", ".gz", ".img", ".hdr"):
        raise FileFormatError(f"{path}: only .nii, .nii.gz and .img/.hdr are supported")
    n_volumes = math.prod(shape[3:4])
    if len(shape) < 2 or min(shape) < 1 or math.prod(shape[4:]) > 1:
        raise FileFormatError(f"{path}: shape {shape}; expected three axes, or four with the index of a volume")
    if (volume is None and n_volumes > 1) or not 0 <= (volume or 0) < n_volumes:
        raise FileFormatError(
            f"{path}: shape {shape}; choose a volume from 0 to {n_volumes - 1} with --volume"
            + ("" if volume is None else f", not {volume}")
        )


@dataclass(frozen=True)
class _Values:
    """Where and how a file keeps its values."""

    path: Path
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    slope: float
    intercept: float

    def map_file(self, name: str) -> NDArray[Any]:
        return np.memmap(name, self.dtype, "r", self.offset, self.shape, order="F")


@lru_cache(maxsize=4)
def _unpacked(values: _Values, _modified: int) -> NDArray[Any]:
    needed = values.offset + math.prod(values.shape) * values.dtype.itemsize
    stored = values.path.stat().st_size
    require_plausible(needed, stored, f"{values.path}: shape {values.shape}")
    with gzip.open(values.path) as stream:
        return unpack(stream, ".nii", values.map_file, needed, stored)


@dataclass(frozen=True)
class _TurnedSlices:
    """``read(i)`` is slice i after the axes were reversed and put in order."""

    values: _Values
    order: tuple[int, ...]
    reversed_axes: tuple[int, ...]

    def __call__(self, i: int) -> NDArray[Any]:
        values = self.values
        if values.path.suffix == ".gz":
            stored = _unpacked(values, values.path.stat().st_mtime_ns)
        else:
            stored = values.map_file(str(values.path))
        item = np.flip(stored, self.reversed_axes).transpose(self.order)[i]
        scaled = item * np.float64(values.slope) + values.intercept
        return scaled.astype(np.complex64 if np.iscomplexobj(scaled) else np.float32)
