"""Coil sensitivities beside k-space: whatever their order of axes, they become maps of each slice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition, LazyStack
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.numbers import as_float, is_number
from csmri_ext.bridge.reading import axes_in_words, note
from csmri_ext.bridge.slice_checks import CheckedSlices

# In the order in which they are tried; m are the sets of maps, as ESPIRiT makes several.
_LEFT_OUT = ("", "t", "i", "ti", "s", "st", "sti", "st1", "sti1")  # axes of k-space that its maps may lack
_ORDERS = ("yx", "cyx", "scyx", "mcyx", "smcyx", "mscyx", "yxc", "yxcs", "yxcm", "yxcms", "yxcsm")


def attach_maps(
    acquisition: Acquisition,
    read: Callable[[Any], NDArray[Any]],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    path: Path,
    *,
    letters: str | None = None,
    name: str = "sens_maps",
) -> None:
    """Give an acquisition the sensitivities that fit it: of each slice, or one set for all.

    Of several sets, as from ``bart ecalib -m 2``, the first is used, and a warning says so.

    Parameters
    ----------
    acquisition
        Its ``sens_maps`` are set.
    read
        ``read(index)`` is ``array[index]`` of the maps.
    shape, dtype
        Of the array. Its axes are those of k-space where it has as many, else they are found by their lengths:
        (coils, ny, nx), (slices, coils, ny, nx), (sets, coils, ny, nx), or MATLAB's (ny, nx, coils, slices)...
    path
        The file, for errors.
    letters
        Axes of k-space in its own file, see `reading.AXES`; maps without slices or frames have the others in order.
    name
        Of the array.

    Raises
    ------
    FileFormatError
        The maps are no numbers or fit in no order; when they are read: NaN, infinite or all zero.
    """
    n_slices, n_coils, ny, nx = acquisition.kspace.shape
    per_frame = n_slices // int(acquisition.attrs.get("n_frames", 1))
    wanted = {"s": (1, per_frame, n_slices), "c": (n_coils,), "y": (ny,), "x": (nx,)}
    tried = [letters.translate(dict.fromkeys(map(ord, left_out))) for left_out in _LEFT_OUT] if letters else []
    tried = [order for order in dict.fromkeys(tried) if not set(order) & set("ti")]
    tried += [f"{order}m" for order in tried] + list(_ORDERS)  # SKM-TEA's sets are last
    for order in tried:
        sizes = dict(zip(order, shape, strict=False))
        fits = len(order) == len(shape) and is_number(dtype) and ("c" in order or n_coils == 1)
        if fits and all(sizes[axis] in wanted[axis] for axis in order if axis in wanted):
            break
    else:
        raise FileFormatError(
            f"{path}: {name} of shape {shape} ({dtype}) do not fit kspace "
            f"(slices, coils, ny, nx) = {acquisition.kspace.shape}"
        )
    if sizes.get("m", 1) > 1:
        note(acquisition.attrs, f"{path.name} holds {sizes['m']} sets of coil sensitivities: the first is used")
    in_order = _MapsOfSlice(read, order, sizes.get("s", 1))
    checked = CheckedSlices(in_order, path, "sensitivity")
    acquisition.sens_maps = LazyStack(checked, n_slices, (n_coils, ny, nx), np.complex64)
    first = f", the first of {sizes['m']} sets" if sizes.get("m", 1) > 1 else ""
    which = "" if name == "sens_maps" else f" ({name})"
    acquisition.attrs["maps_from"] = f"{path.name}{which}{first}, axes {axes_in_words(order.replace('m', ''))}"


@dataclass(frozen=True)
class _MapsOfSlice:
    """``read(i)``: the maps of slice i, first set, complex64 (coils, ny, nx)."""

    read: Callable[[Any], NDArray[Any]]
    order: str
    n_slices: int

    def __call__(self, i: int) -> NDArray[np.complex64]:
        place: dict[str, int] = {"s": i % self.n_slices, "m": 0, "1": 0}
        item = as_float(self.read(tuple(place.get(axis, slice(None)) for axis in self.order)))
        left = [axis for axis in self.order if axis not in place]
        item = item.transpose([left.index(axis) for axis in "cyx" if axis in left])
        return (item if "c" in left else item[np.newaxis]).astype(np.complex64)
