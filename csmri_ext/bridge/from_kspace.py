"""From k-space to an `Acquisition`: what was sampled is decided by the data, whatever lies beside them says.

Everything here reads slice by slice and can be pickled, so that worker processes may share an `Acquisition`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition, LazyStack
from csmri_ext.bridge.conventions import is_coverage, looks_like_spokes, sampling_pattern
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.mask_beside import believed
from csmri_ext.bridge.reading import note
from csmri_ext.bridge.slice_checks import CheckedSlices
from csmri_ext.bridge.stacks import rss_target

Read = Callable[[int], NDArray[Any]]
SMALLEST = 8  # pixels of an image that a file may ask for

_MOST_FILLED = 8  # zeros beyond that are a header that is wrong, and gigabytes


class FramesDifferError(FileFormatError):
    """The frames of a file were sampled differently, and an `Acquisition` has one pattern.

    Attributes
    ----------
    frames
        Number of frames that were to be read together.
    """

    def __init__(self, message: str, frames: int) -> None:
        super().__init__(message)
        self.frames = frames


def kspace_acquisition(
    read: Read,
    shape: tuple[int, int, int, int],
    path: Path,
    kind: str,
    *,
    mask: NDArray[Any] | None = None,
    target: LazyStack | None = None,
    sens_maps: LazyStack | None = None,
    recon_size: tuple[int, int] | None = None,
    force: bool = False,
    attrs: dict[str, Any] | None = None,
) -> Acquisition:
    """Make an `Acquisition` of k-space that is read slice by slice.

    Parameters
    ----------
    read
        ``read(i)`` returns slice i, complex, (n_coils, ny, nx).
    shape
        ``(n_slices, n_coils, ny, nx)``; with ``attrs["n_frames"]``, the slices of the first frame, then of the next.
    path, kind
        The file and its format, for errors.
    mask
        What the file says was sampled, (nx,) or (ny, nx) up to axes of length one; other samples are set to zero.
        The samples decide whether it is believed, see `mask_beside.believed`. Without a mask the pattern is taken from
        the zeros of the first slice that is not empty (see `conventions.sampling_pattern`).
    target
        Reference images of the file. Without them, and where the data are fully sampled, the target is the root
        sum of squares of the coil images, cropped to `recon_size`.
    sens_maps
        Coil sensitivities of the file.
    recon_size
        ``(h, w)`` of the computed target; default ``(ny, nx)``. Where it is higher than k-space, k-space is filled with
        zeros to its size.
    force
        Take data that look non-Cartesian.
    attrs
        More attributes. ``coverage``, bool (ny, nx), is added where all samples of a part of k-space without holes,
        such as an ellipse, were acquired; such data count as fully sampled.

    Raises
    ------
    FileFormatError
        An empty axis, or a mask that does not fit; slice 0 cannot be used; rows or columns that look like spokes.
    FramesDifferError
        The frames were sampled differently.
    """
    n_slices, _, ny, nx = shape
    attrs = {"format": kind, "path": str(path), **(attrs or {})}
    if 0 in shape:
        raise FileFormatError(f"{path}: k-space of shape {shape} is empty")
    checked = CheckedSlices(read, path, kind)
    if mask is not None:
        mask = believed(mask, checked, n_slices, (ny, nx), attrs)
    if mask is not None:
        checked = CheckedSlices(_Masked(read, mask), path, kind)
    else:
        first = _first_slice(checked, n_slices // attrs.get("n_frames", 1))
        if not force and looks_like_spokes(first):
            raise FileFormatError(
                f"{path}: every row or column has its peak at one place, equally strong: these look like spokes, and "
                "this package is Cartesian. Grid them first, for example with `bart nufft -i`; or one axis is an image "
                "already: apply a centred FFT along it. --force goes on"
            )
        mask = sampling_pattern(first)
        _require_one_pattern(checked, mask, n_slices, attrs.get("n_frames", 1), path)
        checked = CheckedSlices(read, path, kind, mask=_without_margins(first, mask, attrs))
    if mask is not None and mask.ndim == 2 and is_coverage(mask):
        attrs["coverage"], mask = mask, None
    stack = LazyStack(checked, n_slices, shape[1:], np.complex64)
    size, filled = _sizes(recon_size or (ny, nx), (ny, nx), attrs)
    if filled and (filled[0] > _MOST_FILLED * ny or filled[1] > _MOST_FILLED * nx):
        raise FileFormatError(
            f"{path}: the file asks for images of {filled[0]} x {filled[1]} from k-space of {ny} x {nx}: more than "
            f"{_MOST_FILLED} times as many pixels along an axis as were measured"
        )
    if filled and sens_maps is None:
        mask, stack = _zero_filled(mask, stack, filled, attrs)
    else:
        size = (min(size[0], ny), min(size[1], nx))
    if target is None and mask is None:
        target = rss_target(stack, size)
    return Acquisition(
        kspace=stack,
        name=path.name,
        mask=mask,
        sens_maps=sens_maps,
        target=target,
        attrs={"recon_size": size, **attrs},
    )


def _without_margins(
    first: NDArray[Any], mask: NDArray[np.bool_] | None, attrs: dict[str, Any]
) -> NDArray[np.bool_] | None:
    """Take rows and columns of zeros at the border, zero-filled or partial Fourier, as not measured.

    Returns
    -------
        What may differ from zero in every slice; None: everything.
    """
    rows, columns = (np.asarray(first.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    margins = [("padding", columns)] if mask is None else []
    if mask is None or mask.ndim == 1:
        margins.append(("row_padding", rows))
    for name, lines in margins:
        if not lines.all():
            begin, end = attrs.get(name) or (0, lines.size)
            attrs[name] = (max(begin, int(lines.argmax())), min(end, lines.size - int(lines[::-1].argmax())))
    if mask is None and columns.all() and rows.all():
        return None
    sampled: NDArray[np.bool_] = columns if mask is None else mask
    return sampled if rows.all() or sampled.ndim == 2 else rows[:, np.newaxis] & sampled


def _first_slice(checked: CheckedSlices, n_slices: int) -> NDArray[Any]:
    """Read the first slice of a frame that is not zero everywhere; where all are, the error of slice 0."""
    for i in range(n_slices):
        item = checked.read_finite(i)
        if item.any():
            return item
    return checked(0)


def _require_one_pattern(
    checked: CheckedSlices, mask: NDArray[np.bool_] | None, n_slices: int, n_frames: int, path: Path
) -> None:
    for frame in range(1, n_frames):
        size = n_slices // n_frames
        other = sampling_pattern(_first_slice(replace(checked, first=frame * size), size))
        if (mask is None) != (other is None) or (mask is not None and not np.array_equal(mask, other)):  # type: ignore[arg-type]
            raise FramesDifferError(
                f"{path}: frame {frame} was sampled elsewhere than frame 0; choose one with --frames", n_frames
            )


def _sizes(
    wanted: tuple[int, int], matrix_size: tuple[int, int], attrs: dict[str, Any]
) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """Size of the images, and the matrix that k-space is filled to with zeros, or None.

    Where only nx is too small, images are squares of nx, as fastMRI's transforms crop them.
    """
    (h, w), (ny, nx) = wanted, matrix_size
    if min(h, w) < SMALLEST <= min(ny, nx):
        note(attrs, f"the file asks for images of {h} x {w}: this was never filled in, and the whole matrix is kept")
        return matrix_size, None
    if h > ny:
        return (h, w), (h, max(w, nx))
    if w > nx:
        note(attrs, f"the file asks for images of {h} x {w}, and k-space has {nx} columns: squares of {min(nx, ny)}")
    return ((h, w) if w <= nx else (min(nx, ny), nx)), None


def _zero_filled(
    mask: NDArray[np.bool_] | None, stack: LazyStack, size: tuple[int, int], attrs: dict[str, Any]
) -> tuple[NDArray[np.bool_] | None, LazyStack]:
    """Fill k-space with zeros to `size`; the zero frequency stays in the centre, added columns are not measured."""
    ny, nx = stack.shape[-2:]
    left = size[1] // 2 - nx // 2
    first, stop = attrs.get("padding") or (0, nx)
    if size[1] > nx:
        attrs["padding"] = (first + left, stop + left)
    if size[0] > ny:
        above = size[0] // 2 - ny // 2
        first, stop = attrs.get("row_padding") or (0, ny)
        attrs["row_padding"] = (first + above, stop + above)
    filled = LazyStack(_Filled(stack, size), len(stack), (stack.shape[1], *size), np.complex64)
    note(attrs, f"k-space of {ny} x {nx} is filled with zeros to the {size[0]} x {size[1]} that the file asks for")
    if mask is not None:
        mask = _filled(mask, size[-mask.ndim :])
    if attrs.get("coverage") is not None:
        attrs["coverage"] = _filled(attrs["coverage"], size)
    return mask, filled


def _filled(array: NDArray[Any], size: tuple[int, ...]) -> NDArray[Any]:
    widths = [(n // 2 - old // 2, n - old - (n // 2 - old // 2)) for n, old in zip(size, array.shape, strict=True)]
    return np.pad(array, widths)


@dataclass(frozen=True)
class _Masked:
    read: Read
    mask: NDArray[np.bool_]

    def __call__(self, i: int) -> NDArray[Any]:
        return np.where(self.mask, self.read(i), np.complex64(0))


@dataclass(frozen=True)
class _Filled:
    stack: LazyStack
    size: tuple[int, int]

    def __call__(self, i: int) -> NDArray[np.complex64]:
        kspace = self.stack[i]
        return _filled(kspace, (kspace.shape[0], *self.size))
