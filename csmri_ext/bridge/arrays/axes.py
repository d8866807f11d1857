"""Arrays without a header: any order of axes becomes slices of (coils, ny, nx); which array of a file is meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from csmri_ext.bridge.acquisition import Acquisition
from csmri_ext.bridge.arrays.content import check_content, check_images
from csmri_ext.bridge.arrays.domain import IMAGE, IMAGE_NAMES, KSPACE_NAMES, domain_of
from csmri_ext.bridge.arrays.order import Order, suggestion
from csmri_ext.bridge.beside import is_beside
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.first_few import first_few
from csmri_ext.bridge.fourier import fft2c
from csmri_ext.bridge.from_images import image_acquisition
from csmri_ext.bridge.from_kspace import kspace_acquisition
from csmri_ext.bridge.mask_beside import in_axes
from csmri_ext.bridge.numbers import as_float, is_complex, is_number
from csmri_ext.bridge.reading import axes_in_words, choose_frames, note
from csmri_ext.bridge.slice_checks import format_errors


@dataclass(frozen=True)
class AxisOrderedSlices:
    """``read(i)`` is slice i as (coils, ny, nx) or (ny, nx), from an array in any axis order.

    Slices are counted within the first frame, then within the second one.

    Attributes
    ----------
    read_index
        ``read_index(index)`` is ``array[index]``, an ndarray.
    axes
        One letter per axis, see `reading.AXES`.
    add_coil_axis
        Return (1, ny, nx) where `axes` has no c.
    n_slices
        Slices of a frame.
    frames
        Those that are read.
    """

    read_index: Callable[[tuple[int | slice, ...]], NDArray[Any]]
    axes: str
    add_coil_axis: bool = False
    n_slices: int = 1
    frames: tuple[int, ...] = (0,)

    def __call__(self, i: int) -> NDArray[Any]:
        """Read one slice as float32 or complex64."""
        place: dict[str, int | slice] = {"s": i % self.n_slices, "t": self.frames[i // self.n_slices], "1": 0}
        item = self.read_index(tuple(place.get(axis, slice(None)) for axis in self.axes))
        left = [axis for axis in self.axes if axis not in place]
        item = item.transpose([left.index(axis) for axis in "cyxi" if axis in left])
        with np.errstate(over="ignore"):  # values beyond float32 become infinite, which is refused
            if "i" in left:
                item = as_float(item[..., 0]) + np.complex64(1j) * as_float(item[..., 1])
            return as_float(item[np.newaxis] if self.add_coil_axis and "c" not in left else item)


@dataclass(frozen=True)
class _KspaceOf:
    """``read(i)``: k-space of image i, (1, ny, nx)."""

    read: AxisOrderedSlices

    def __call__(self, i: int) -> NDArray[np.complex64]:
        return fft2c(self.read(i))[np.newaxis]


def array_acquisition(
    read_index: Callable[[tuple[int | slice, ...]], NDArray[Any]],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    order: Order,
    path: Path,
    kind: str,
    *,
    name: str = "",
    mask: NDArray[Any] | None = None,
    frames: Sequence[int] | None = None,
    domain: str | None = None,
    force: bool = False,
    attrs: dict[str, Any] | None = None,
) -> Acquisition:
    """Make an `Acquisition` of a bare array: complex is k-space, real is magnitude images, unless the user says more.

    Parameters
    ----------
    read_index
        ``read_index(index)`` is ``array[index]``.
    shape, dtype
        Those of the array. 8- and 16-bit unsigned integers are scaled to [0, 1] by the largest value of their type;
        other values are kept.
    order
        Its axes, from `order.order_of`.
    path, kind
        The file and its format, for errors.
    name
        Name of the array in the file, see `domain.domain_of`.
    mask
        Sampling mask of the file, for k-space, its axes in the order of those of the array.
    frames
        Those to read, default all, one after the other.
    domain
        ``kspace`` or ``image``, as the user says.
    force
        Believe what looks wrong.
    attrs
        More attributes.

    Raises
    ------
    FileFormatError
        The array is not numeric, or does not fit its axes; k-space is real; its content contradicts the usual order;
        slice 0 cannot be used.
    """
    axes = order.letters
    what = f"{name or 'the array'} is {np.dtype(dtype)} of shape {shape}"
    if 0 in shape:
        raise FileFormatError(f"{path}: {what}: it is empty")
    if not is_number(np.dtype(dtype)):
        raise FileFormatError(f"{path}: {what}: not numbers")
    size = dict(zip(axes, shape, strict=True))
    wrong = [f"axis {i} is {n} long, not 1" for i, n in enumerate(shape) if axes[i] == "1" and n != 1]
    if size.get("i", 2) != 2 or ("i" in size and is_complex(np.dtype(dtype))):
        wrong.append("real and imaginary part are 2 real numbers")
    if wrong:
        raise FileFormatError(f"{path}: {what}, axes {axes_in_words(axes)}: {wrong[0]}")
    chosen = tuple(choose_frames(frames, size.get("t", 1), str(path)))
    n_slices = size.get("s", 1)
    about = {"axes": axes_in_words(axes), "axes_from": order.source, "array": name, "n_frames": len(chosen)}
    about |= attrs or {}
    complex_values = is_complex(np.dtype(dtype)) or "i" in axes
    holds = domain_of(path, name, domain, is_complex=complex_values)
    about |= {"domain_from": holds.words} if holds.words else {}
    if holds.is_kspace and not complex_values:
        raise FileFormatError(f"{path}: {what}; k-space must be complex; {pairs_hint(shape, dtype)}")
    if holds.is_kspace:
        mask = None if mask is None else in_axes(mask, axes, path)
        read_kspace = AxisOrderedSlices(read_index, axes, True, n_slices, chosen)
        full_shape = (n_slices * len(chosen), size.get("c", 1), size["y"], size["x"])
        if not order.certain and not force:
            with format_errors(path, kind):
                check_content(read_kspace, axes, shape, path)
        return kspace_acquisition(read_kspace, full_shape, path, kind, mask=mask, force=force, attrs=about)
    if "c" in axes:
        expected = "images have no coil axis, expected (slices, ny, nx)"
        remedy = (
            "combine the coils, or apply a centred FFT to each and read k-space"
            if complex_values
            else pairs_hint(shape, dtype)
        )
        raise FileFormatError(f"{path}: {what}; {expected}; {remedy}")
    read_image = AxisOrderedSlices(read_index, axes, False, n_slices, chosen)
    if complex_values and not order.certain and not force:
        with format_errors(path, kind):
            check_images(_KspaceOf(read_image), axes, n_slices, path)
    if n_slices == 2 and not complex_values and not order.certain:
        words = axes_in_words(axes.replace("s", "i"))
        note(about, f"two images of real numbers; if they are real and imaginary part of k-space: --axes '{words}'")
    return image_acquisition(read_image, n_slices * len(chosen), (size["y"], size["x"]), path, kind, about, force=force)


def pairs_hint(shape: tuple[int, ...], dtype: DTypeLike) -> str:
    """Say how real numbers become k-space: which axis holds pairs, or that a last axis interleaves them.

    Parameters
    ----------
    shape, dtype
        Of the array.
    """
    last = shape[-1] if shape else 0
    leading = ["1" if n == 1 else name for n, name in zip(shape[-4::-1], ("slice", "frame", "?", "?"), strict=False)]
    if 2 not in shape and len(shape) >= 3 and last % 2 == 0 and 4 <= last <= 128 and last < min(shape[-3:-1]):
        return (
            f"if the last axis holds real and imaginary parts of {last // 2} coils in turn, as Calgary-Campinas does, "
            "store a[..., ::2] + 1j * a[..., 1::2] and say which axes these are, for example "
            f"--axes '{' '.join([*leading[::-1], 'y x coil'])}'"
        )
    return suggestion(shape, dtype)


def choose_array(
    shapes: Mapping[str, tuple[int, ...]],
    path: Path,
    key: str | None = None,
    nested: Sequence[str] = (),
    *,
    domain: str | None = None,
) -> str:
    """Choose the array of a file that holds several: `key`, else ``kspace``, ``images``, ``image``, or the only one.

    Where images are asked for, their names come first.

    Parameters
    ----------
    shapes
        Shape of each array by name. Only those with two axes longer than one can be meant without `key`.
    path
        The file, for errors.
    key
        What the user asked for.
    nested
        Names of arrays inside structures or groups, which only `key` can choose.
    domain
        What the user says that the array holds.

    Raises
    ------
    FileFormatError
        No such array, or the choice is not clear; lists what there is.
    """
    if not shapes:
        raise FileFormatError(
            f"{path}: it holds no array of numbers; cells, tables, text and arrays of structures are not read"
        )
    listing = ", ".join(first_few([f"{name} {tuple(shape)}" for name, shape in shapes.items()], 12))
    if key is not None:
        if key not in shapes:
            raise FileFormatError(f"{path}: no array {key!r}; it holds {listing}")
        return key
    top = {name: shape for name, shape in shapes.items() if name not in nested}
    for name in (*IMAGE_NAMES, *KSPACE_NAMES) if domain == IMAGE else (*KSPACE_NAMES, *IMAGE_NAMES):
        if name in top:
            return name
    candidates = [name for name, shape in top.items() if sum(n > 1 for n in shape) >= 2 and not is_beside(name)]
    if not candidates and nested:
        inside = [name for name in nested if sum(n > 1 for n in shapes[name]) >= 2] or list(nested)
        extents = " x ".join(map(str, shapes[inside[0]]))
        raise FileFormatError(
            f"{path}: {inside[0]} ({extents}) is inside a structure; read it with --key {inside[0]}; "
            f"the file holds {listing}"
        )
    if len(candidates) != 1:
        raise FileFormatError(
            f"{path}: which array is meant? Name one 'kspace' or 'images', or choose with --key; it holds {listing}"
        )
    return candidates[0]
