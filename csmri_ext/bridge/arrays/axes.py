"""Axis orders of arrays without a header: which axis is slice, coil, ny, nx; and which array of a file is meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from csmri_ext.bridge.acquisition import Acquisition
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.from_slices import image_acquisition, kspace_acquisition

NUMPY_AXES = {2: "yx", 3: "syx", 4: "scyx"}  # fastMRI's order
MATLAB_AXES = {2: "yx", 3: "yxs", 4: "yxcs"}
KSPACE_NAMES = ("kspace",)
IMAGE_NAMES = ("images", "image")


@dataclass(frozen=True)
class AxisOrderedSlices:
    """``read(i)`` is slice i as (coils, ny, nx) or (ny, nx), from an array in any axis order.

    Attributes
    ----------
    read_index
        ``read_index(index)`` is ``array[index]``, an ndarray.
    axes
        One letter per axis: s slice, c coil, y, x.
    add_coil_axis
        Return (1, ny, nx) where `axes` has no c.
    """

    read_index: Callable[[tuple[int | slice, ...]], NDArray[Any]]
    axes: str
    add_coil_axis: bool = False

    def __call__(self, i: int) -> NDArray[Any]:
        """Read one slice as float32 or complex64."""
        item = self.read_index(tuple(i if axis == "s" else slice(None) for axis in self.axes))
        left = self.axes.replace("s", "")
        item = item.transpose([left.index(axis) for axis in "cyx" if axis in left])
        with np.errstate(over="ignore"):  # values beyond float32 become infinite, which is refused
            return _as_float(item[np.newaxis] if self.add_coil_axis and "c" not in left else item)


def array_acquisition(
    read_index: Callable[[tuple[int | slice, ...]], NDArray[Any]],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    axes: str,
    path: Path,
    kind: str,
    *,
    name: str = "",
    mask: NDArray[Any] | None = None,
) -> Acquisition:
    """Make an `Acquisition` of a bare array: complex is k-space, real is magnitude images.

    Parameters
    ----------
    read_index
        ``read_index(index)`` is ``array[index]``.
    shape, dtype
        Those of the array. 8- and 16-bit unsigned integers are scaled to [0, 1] by the largest value of their type;
        other values are kept.
    axes
        One letter per axis of the array: s slice, c coil, y, x; y and x are needed.
    path, kind
        The file and its format, for errors.
    name
        Name of the array in the file. A complex array called images is images.
    mask
        Sampling mask of the file, for k-space.

    Raises
    ------
    FileFormatError
        The array is not numeric, or does not fit `axes`; k-space is real; slice 0 cannot be used.
    """
    what = f"{name or 'the array'} is {np.dtype(dtype)} of shape {shape}"
    if len(axes) != len(shape) or len(set(axes)) != len(axes) or not set("yx") <= set(axes) <= set("scyx"):
        raise FileFormatError(
            f"{path}: {what}, which does not fit axes {axes!r}; give one letter per axis: y, x, and s (slice), c (coil)"
        )
    if 0 in shape:
        raise FileFormatError(f"{path}: {what}: it is empty")
    is_complex = _is_complex(np.dtype(dtype))
    if not is_complex and np.dtype(dtype).kind not in "fiub":
        raise FileFormatError(f"{path}: {what}: not numbers")
    size = dict(zip(axes, shape, strict=True))
    attrs = {"axes": axes, "array": name}
    if name in KSPACE_NAMES and not is_complex:
        raise FileFormatError(f"{path}: {what}; k-space must be complex")
    if is_complex and name not in IMAGE_NAMES:
        read_kspace = AxisOrderedSlices(read_index, axes, add_coil_axis=True)
        full_shape = (size.get("s", 1), size.get("c", 1), size["y"], size["x"])
        return kspace_acquisition(read_kspace, full_shape, path, kind, mask=mask, attrs=attrs)
    if "c" in axes:
        raise FileFormatError(f"{path}: {what}; images have no coil axis, expected (slices, ny, nx)")
    read_image = AxisOrderedSlices(read_index, axes)
    return image_acquisition(read_image, size.get("s", 1), (size["y"], size["x"]), path, kind, attrs)


def default_axes(ndim: int, orders: Mapping[int, str], path: Path, name: str, shape: tuple[int, ...]) -> str:
    """Look up the usual order of the axes, or raise a `FileFormatError` where an array has too few or too many."""
    if ndim not in orders:
        expected = " or ".join(f"({', '.join(order)})" for order in orders.values())
        raise FileFormatError(f"{path}: {name or 'the array'} has shape {shape}; expected axes {expected}")
    return orders[ndim]


def choose_array(shapes: Mapping[str, tuple[int, ...]], path: Path, key: str | None = None) -> str:
    """Choose the array of a file that holds several: `key`, else ``kspace``, ``images``, ``image``, or the only one.

    Parameters
    ----------
    shapes
        Shape of each array by name. Only those with two axes longer than one can be meant without `key`.
    path
        The file, for errors.
    key
        What the user asked for.

    Raises
    ------
    FileFormatError
        No such array, or the choice is not clear; lists what there is.
    """
    listing = ", ".join(f"{name} {tuple(shape)}" for name, shape in list(shapes.items())[:12]) or "nothing"
    if key is not None:
        if key not in shapes:
            raise FileFormatError(f"{path}: no array {key!r}; it holds {listing}")
        return key
    for name in (*KSPACE_NAMES, *IMAGE_NAMES):
        if name in shapes:
            return name
    candidates = [name for name, shape in shapes.items() if sum(n > 1 for n in shape) >= 2 and name != "mask"]
    if len(candidates) != 1:
        raise FileFormatError(
            f"{path}: which array is meant? Name one 'kspace' or 'images', or choose; it holds {listing}"
        )
    return candidates[0]


def _is_complex(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "c" or (dtype.names is not None and set(dtype.names) == {"real", "imag"})


def _as_float(item: NDArray[Any]) -> NDArray[Any]:
    if item.dtype.names:  # MATLAB's complex in HDF5
        return (item["real"] + 1j * item["imag"]).astype(np.complex64)
    if item.dtype.kind == "c":
        return item.astype(np.complex64)
    if item.dtype in (np.uint8, np.uint16):
        return item.astype(np.float32) / np.float32(np.iinfo(item.dtype).max)
    return item.astype(np.float32)
