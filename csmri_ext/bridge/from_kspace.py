"""From k-space to an `Acquisition`: what was sampled is decided by the data, whatever lies beside them says.

Everything here reads slice by slice and can be pickled, so that worker processes may share an `Acquisition`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition, LazyStack
from csmri_ext.bridge.conventions import is_coverage, looks_like_spokes, sampling_pattern
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.reading import note
from csmri_ext.bridge.slice_checks import CheckedSlices, format_errors
from csmri_ext.bridge.stacks import rss_target

ROUNDING = 1e-7  # of the largest sample: what is smaller was not measured
Read = Callable[[int], NDArray[Any]]

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
        A mask of ones says nothing, and one beside k-space that is full is not applied, but kept in
        ``attrs["mask_beside"]``. Without a mask the pattern is taken from the zeros of slice 0 (see
        `conventions.sampling_pattern`).
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
        mask = _applied(_as_mask(mask, (ny, nx), path), checked, n_slices, attrs)
    if mask is not None:
        checked = CheckedSlices(_Masked(read, mask), path, kind)
    else:
        first = checked(0)
        if not force and looks_like_spokes(first):
            raise FileFormatError(
                f"{path}: every row or column has its peak at one place, equally strong: these look like spokes, and "
                "this package is Cartesian. Grid them first, for example with `bart nufft -i`; --force goes on"
            )
        mask = sampling_pattern(first)
        _require_one_pattern(checked, mask, n_slices, attrs.get("n_frames", 1), path)
        checked = CheckedSlices(read, path, kind, mask=mask)
    if mask is not None and mask.ndim == 2 and is_coverage(mask):
        attrs["coverage"], mask = mask, None
    stack = LazyStack(checked, n_slices, shape[1:], np.complex64)
    size, filled = _sizes(recon_size or (ny, nx), (ny, nx))
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


def _as_mask(mask: NDArray[Any], matrix_size: tuple[int, int], path: Path) -> NDArray[np.bool_]:
    squeezed = np.squeeze(mask)
    if squeezed.shape not in (matrix_size, matrix_size[1:]):
        raise FileFormatError(f"{path}: mask of shape {mask.shape} does not fit k-space of (ny, nx) = {matrix_size}")
    if mask.dtype.kind not in "biuf" or not np.isfinite(squeezed).all():
        raise FileFormatError(f"{path}: the mask is {mask.dtype} with values that are no numbers; expected 0 and 1")
    if not squeezed.any():
        raise FileFormatError(f"{path}: the mask is empty, nothing was sampled")
    return squeezed != 0


def _applied(
    mask: NDArray[np.bool_], checked: CheckedSlices, n_slices: int, attrs: dict[str, Any]
) -> NDArray[np.bool_] | None:
    """Return the file's mask if it says what was sampled; None where it is full, or k-space is full beside it."""
    if mask.all():
        return None
    with format_errors(checked.path, checked.kind):
        magnitude = np.abs(checked.read(n_slices // 2)).max(axis=0)
    if not np.isfinite(magnitude).all() or not magnitude.any():
        return mask  # whoever reads the slice is told
    measured = magnitude > ROUNDING * magnitude.max()
    outside = ~np.broadcast_to(mask, measured.shape)
    rows, columns = (np.flatnonzero(measured.any(axis=axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    on_its_coverage = (measured & outside).any() and is_coverage(measured)
    if not on_its_coverage and (not outside[box].any() or measured[box][outside[box]].mean() < 0.9):
        return mask
    attrs["mask_beside"] = mask
    note(
        attrs,
        f"k-space is full beside a mask that keeps {100 * float(mask.mean()):.0f} %: taken as fully sampled; "
        f"--mask {checked.path.name} applies that mask",
    )
    return None


def _require_one_pattern(
    checked: CheckedSlices, mask: NDArray[np.bool_] | None, n_slices: int, n_frames: int, path: Path
) -> None:
    for frame in range(1, n_frames):
        other = sampling_pattern(checked(frame * (n_slices // n_frames)))
        if (mask is None) != (other is None) or (mask is not None and not np.array_equal(mask, other)):  # type: ignore[arg-type]
            raise FramesDifferError(
                f"{path}: frame {frame} was sampled elsewhere than frame 0; choose one with --frames", n_frames
            )


def _sizes(wanted: tuple[int, int], matrix_size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """Size of the images, and the matrix that k-space is filled to with zeros, or None.

    Where only nx is too small, images are squares of nx, as fastMRI's transforms crop them.
    """
    (h, w), (ny, nx) = wanted, matrix_size
    if h > ny:
        return (h, w), (h, max(w, nx))
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
