"""From a function that reads one slice of a file to an `Acquisition`: validation, simulated k-space, computed targets.

Everything here reads slice by slice and can be pickled, so that worker processes may share an `Acquisition`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition, LazyStack
from csmri_ext.bridge.conventions import sampling_pattern
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.fourier import center_crop, fft2c, ifft2c

SIMULATED_NOTE = (
    "k-space simulated from magnitude images: the true phase is lost and noise stays in the reference, "
    "so measured data are harder than this"
)


@contextmanager
def format_errors(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a file library raises into one `FileFormatError`: ``path: not a readable <kind> file (reason)``.

    Errors of the system (missing file, no permission) and of memory, and missing packages, pass unchanged.

    Parameters
    ----------
    path
        The file being read.
    kind
        What the file should be: ``"NIfTI"``, ``"HDF5"``.
    """
    try:
        yield
    except (FileFormatError, MemoryError, ImportError):
        raise
    except Exception as error:
        of_the_system = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)  # EINVAL: a wrong offset
        if of_the_system or isinstance(error, FileNotFoundError):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileFormatError(f"{path}: not a readable {kind} file ({reason[:200]})") from error


@dataclass(frozen=True)
class CheckedSlices:
    """``checked(i)`` reads slice ``first + i`` and refuses NaN, infinite and all-zero data, naming file and slice.

    Attributes
    ----------
    read
        ``read(i)`` returns slice i of the file.
    path, kind
        Named in errors.
    first
        Slice of the file that is slice 0 here.
    mask
        Samples that may differ from zero; data outside it mean that slices were sampled differently.
    """

    read: Callable[[int], NDArray[Any]]
    path: Path
    kind: str
    first: int = 0
    mask: NDArray[np.bool_] | None = None

    def __call__(self, i: int) -> NDArray[Any]:
        """Read and check one slice."""
        item = self.read_finite(i)
        where = f"{self.path}: slice {self.first + i} (counted from 0)"
        if not item.any():
            raise FileFormatError(f"{where} is zero everywhere")
        if self.mask is not None and item[..., ~np.broadcast_to(self.mask, item.shape[-2:])].any():
            raise FileFormatError(f"{where} was sampled elsewhere than slice 0; one file holds one sampling pattern")
        return item

    def read_finite(self, i: int) -> NDArray[Any]:
        """Read one slice, which may be empty."""
        with format_errors(self.path, self.kind):
            item = self.read(self.first + i)
        if not np.isfinite(item).all():
            raise FileFormatError(f"{self.path}: slice {self.first + i} (counted from 0) has NaN or infinite values")
        return item


def image_acquisition(
    read: Callable[[int], NDArray[Any]],
    n_slices: int,
    shape: tuple[int, int],
    path: Path,
    kind: str,
    attrs: dict[str, Any] | None = None,
) -> Acquisition:
    """Make an `Acquisition` of images: ``kspace = fft2c(image)`` and ``target = |image|``, both slice by slice.

    Empty slices at both ends of the volume are left out; ``attrs["first_slice"]`` counts those at the start.

    Parameters
    ----------
    read
        ``read(i)`` returns image i, real or complex, of `shape`.
    n_slices
        Number of images in the file.
    shape
        ``(ny, nx)``.
    path, kind
        The file and its format, for errors.
    attrs
        More attributes. ``simulated`` and ``note`` are added for every image file.
    """
    checked = CheckedSlices(read, path, kind)
    first, stop = _without_empty_ends(checked, n_slices)
    checked = CheckedSlices(read, path, kind, first)
    about = {"format": kind, "path": str(path), "recon_size": shape, "simulated": True, "note": SIMULATED_NOTE}
    return Acquisition(
        kspace=LazyStack(_SimulatedKspace(checked), stop - first, (1, *shape), np.complex64),
        target=LazyStack(_Magnitude(checked), stop - first, shape, np.float32),
        name=path.name,
        attrs={**about, "first_slice": first, **(attrs or {})},
    )


def kspace_acquisition(
    read: Callable[[int], NDArray[Any]],
    shape: tuple[int, int, int, int],
    path: Path,
    kind: str,
    *,
    mask: NDArray[Any] | None = None,
    target: LazyStack | None = None,
    sens_maps: LazyStack | None = None,
    recon_size: tuple[int, int] | None = None,
    attrs: dict[str, Any] | None = None,
) -> Acquisition:
    """Make an `Acquisition` of k-space that is read slice by slice.

    Parameters
    ----------
    read
        ``read(i)`` returns slice i, complex, (n_coils, ny, nx).
    shape
        ``(n_slices, n_coils, ny, nx)``.
    path, kind
        The file and its format, for errors.
    mask
        What the file says was sampled, (nx,) or (ny, nx) up to axes of length one; other samples are set to zero.
        Without it the pattern is taken from the zeros of slice 0 (see `conventions.sampling_pattern`).
    target
        Reference images of the file. Without them, and where the data are fully sampled, the target is the root
        sum of squares of the coil images, cropped to `recon_size`.
    sens_maps
        Coil sensitivities of the file.
    recon_size
        ``(h, w)`` of the computed target; default ``(ny, nx)``.
    attrs
        More attributes.

    Raises
    ------
    FileFormatError
        An empty axis, or a mask that does not fit; slice 0 cannot be used.
    """
    n_slices, _, ny, nx = shape
    if 0 in shape:
        raise FileFormatError(f"{path}: k-space of shape {shape} is empty")
    if mask is not None:
        mask = _as_mask(mask, (ny, nx), path)
        kspace = CheckedSlices(_Masked(read, mask), path, kind)
    else:
        pattern = sampling_pattern(CheckedSlices(read, path, kind)(0))
        mask = pattern
        kspace = CheckedSlices(read, path, kind, mask=pattern)
    stack = LazyStack(kspace, n_slices, shape[1:], np.complex64)
    size = recon_size or (ny, nx)
    size = (min(size[0], ny), min(size[1], nx))
    if target is None and mask is None:
        target = rss_target(stack, size)
    return Acquisition(
        kspace=stack,
        name=path.name,
        mask=mask,
        sens_maps=sens_maps,
        target=target,
        attrs={"format": kind, "path": str(path), "recon_size": size, **(attrs or {})},
    )


def rss_target(kspace: NDArray[Any] | LazyStack, size: tuple[int, int]) -> LazyStack:
    """Compute reference images, ``center_crop(rss(ifft2c(kspace)), size)``, when they are indexed.

    Parameters
    ----------
    kspace
        Fully sampled, complex, (n_slices, n_coils, ny, nx) or (n_slices, ny, nx).
    size
        ``(h, w)``, at most ``(ny, nx)``.

    Returns
    -------
        float32, (n_slices, h, w).
    """
    return LazyStack(_RootSumOfSquares(kspace, size), kspace.shape[0], size, np.float32)


def stack_slices(acquisitions: Sequence[Acquisition], name: str) -> Acquisition:
    """Treat acquisitions of one shape, such as the images of a folder, as one volume, slice after slice.

    Parameters
    ----------
    acquisitions
        At least one, all fully sampled or all with the same mask. Sensitivity maps are not kept.
    name
        Name of the volume.

    Raises
    ------
    ValueError
        No acquisition, or their shapes or masks differ, or only some have a target.
    """
    if not acquisitions:
        raise ValueError("no acquisition to stack")
    first = acquisitions[0]
    for other in acquisitions[1:]:
        if _slice_shapes(other) != _slice_shapes(first):
            raise ValueError(
                f"cannot stack {first.name} and {other.name}: their k-space (coils, ny, nx) and target (h, w) are "
                f"{_slice_shapes(first)} and {_slice_shapes(other)}"
            )
        if not np.array_equal(other.mask, first.mask):  # type: ignore[arg-type]  # None equals None
            raise ValueError(f"cannot stack {first.name} and {other.name}: their sampling masks differ")
    targets = [acquisition.target for acquisition in acquisitions if acquisition.target is not None]
    return Acquisition(
        kspace=_concatenated([acquisition.kspace for acquisition in acquisitions]),
        name=name,
        mask=first.mask,
        target=_concatenated(targets) if targets else None,
        attrs=dict(first.attrs),
    )


def _slice_shapes(acquisition: Acquisition) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    target = acquisition.target
    return acquisition.kspace.shape[1:], None if target is None else target.shape[1:]


def _concatenated(stacks: Sequence[NDArray[Any] | LazyStack]) -> LazyStack:
    places = tuple((stack, i) for stack in stacks for i in range(stack.shape[0]))
    return LazyStack(_Concatenated(places), len(places), stacks[0].shape[1:], stacks[0].dtype)


def _without_empty_ends(slices: CheckedSlices, n_slices: int) -> tuple[int, int]:
    first, stop = 0, n_slices
    while first < stop and not slices.read_finite(first).any():
        first += 1
    while first < stop and not slices.read_finite(stop - 1).any():
        stop -= 1
    if first == stop:
        raise FileFormatError(f"{slices.path}: all {n_slices} slices are zero everywhere")
    return first, stop


def _as_mask(mask: NDArray[Any], matrix_size: tuple[int, int], path: Path) -> NDArray[np.bool_]:
    squeezed = np.squeeze(mask)
    if squeezed.shape not in (matrix_size, matrix_size[1:]):
        raise FileFormatError(f"{path}: mask of shape {mask.shape} does not fit k-space of (ny, nx) = {matrix_size}")
    if mask.dtype.kind not in "biuf" or not np.isfinite(squeezed).all():
        raise FileFormatError(f"{path}: the mask is {mask.dtype} with values that are no numbers; expected 0 and 1")
    if not squeezed.any():
        raise FileFormatError(f"{path}: the mask is empty, nothing was sampled")
    return squeezed != 0


@dataclass(frozen=True)
class _SimulatedKspace:
    images: CheckedSlices

    def __call__(self, i: int) -> NDArray[np.complex64]:
        return fft2c(self.images(i))[np.newaxis]


@dataclass(frozen=True)
class _Magnitude:
    images: CheckedSlices

    def __call__(self, i: int) -> NDArray[np.float32]:
        return np.abs(self.images(i)).astype(np.float32)


@dataclass(frozen=True)
class _RootSumOfSquares:
    kspace: NDArray[Any] | LazyStack
    size: tuple[int, int]

    def __call__(self, i: int) -> NDArray[np.float32]:
        coils = np.asarray(self.kspace[i]).reshape(-1, *self.kspace.shape[-2:])
        return np.linalg.norm(center_crop(ifft2c(coils), self.size), axis=0)


@dataclass(frozen=True)
class _Masked:
    read: Callable[[int], NDArray[Any]]
    mask: NDArray[np.bool_]

    def __call__(self, i: int) -> NDArray[Any]:
        return np.where(self.mask, self.read(i), np.complex64(0))


@dataclass(frozen=True)
class _Concatenated:
    places: tuple[tuple[NDArray[Any] | LazyStack, int], ...]

    def __call__(self, i: int) -> NDArray[Any]:
        stack, position = self.places[i]
        return np.asarray(stack[position])
