"""`Acquisition`: what any supported file becomes, and `LazyStack`, which reads it slice by slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class LazyStack:
    """An array of slices that are read when indexed, so that a volume never has to fit in memory.

    Behaves as a read-only array of shape ``(n_slices, *item_shape)``: ``stack[3]`` reads one slice, ``stack[2:5]`` is
    another `LazyStack`, ``np.asarray(stack)`` reads everything.

    Parameters
    ----------
    read
        ``read(i)`` returns slice ``i`` as an array of shape `item_shape`, ``0 <= i < n_slices``. A stack can be pickled
        where `read` can: a function of a module or a callable object, not a lambda.
    n_slices
        Number of slices.
    item_shape
        Shape of one slice.
    dtype
        dtype of one slice.
    """

    def __init__(
        self, read: Callable[[int], NDArray[Any]], n_slices: int, item_shape: tuple[int, ...], dtype: DTypeLike
    ) -> None:
        self._read = read
        self.shape = (n_slices, *item_shape)
        self.dtype = np.dtype(dtype)

    @property
    def ndim(self) -> int:
        """Number of axes, slices included."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            chosen = range(len(self))[index]
            return LazyStack(partial(_chosen_slice, self, chosen), len(chosen), self.shape[1:], self.dtype)
        position = range(len(self))[index]  # negative indices, and IndexError beyond the end
        item = np.asarray(self._read(position), dtype=self.dtype)
        if item.shape != self.shape[1:]:
            raise ValueError(f"slice {position} has shape {item.shape}, expected {self.shape[1:]}")
        return item

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a LazyStack is read from a file: it cannot become an array without a copy")
        out = np.empty(self.shape, dtype=dtype or self.dtype)
        for i in range(len(self)):
            out[i] = self[i]
        return out


def middle_slices(available: int, wanted: int | float | None) -> range:
    """Choose slices around the middle of a volume; outer ones are often empty.

    Parameters
    ----------
    available
        Slices of the volume.
    wanted
        int: so many, or all where it has fewer; float: this share of them, at least one; None: all.

    Raises
    ------
    ValueError
        A number below 1, or a share outside (0, 1].
    """
    if wanted is not None and not (wanted >= 1 if isinstance(wanted, int) else 0 < wanted <= 1):
        raise ValueError(f"{wanted} slices; expected a number from 1, or a share above 0.0, at most 1.0")
    share = available if wanted is None else wanted if isinstance(wanted, int) else max(round(wanted * available), 1)
    count = min(share, available)
    return range((available - count) // 2, (available - count) // 2 + count)


def _chosen_slice(stack: LazyStack, chosen: range, i: int) -> NDArray[Any]:
    return stack[chosen[i]]


@dataclass
class Acquisition:
    """One volume in the conventions of this package, whatever file it came from.

    Attributes
    ----------
    kspace
        complex64 ``(n_slices, n_coils, ny, nx)``, zero frequency in the centre (``n // 2``), orthonormal scaling of
        the file kept as it is. Single-coil data have ``n_coils == 1``. An ndarray, perhaps memory-mapped, or a
        `LazyStack`.
    mask
        bool ``(nx,)`` or ``(ny, nx)``, True where a sample was acquired, when the file is undersampled; else None.
    sens_maps
        complex64 ``(n_slices, n_coils, ny, nx)``, or None.
    target
        float32 ``(n_slices, h, w)`` magnitude reference image, or None where no fully sampled data exist. It may be
        smaller than ``(ny, nx)``: reconstructions are centre-cropped to it.
    name
        File name without folder; it seeds the mask, as in fastMRI (so it includes the extension).
    attrs
        Whatever else the file says: ``format``, ``path``, ``acquisition``, ``recon_size``, ``affine``... The first and
        one past the last column that was acquired are ``padding``, and of the rows ``row_padding``.
    """

    kspace: NDArray[np.complex64] | LazyStack
    name: str
    mask: NDArray[np.bool_] | None = None
    sens_maps: NDArray[np.complex64] | LazyStack | None = None
    target: NDArray[np.float32] | LazyStack | None = None
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return self.kspace.shape[0]

    @property
    def n_coils(self) -> int:
        """Number of receive coils, 1 for single-coil data."""
        return self.kspace.shape[1]

    @property
    def matrix_size(self) -> tuple[int, int]:
        """``(ny, nx)`` of k-space; nx is the phase-encode axis."""
        return self.kspace.shape[2], self.kspace.shape[3]

    @property
    def measured(self) -> NDArray[np.bool_]:
        """What was acquired before any mask, bool ``(nx,)`` or ``(ny, nx)``.

        False in rows and columns of zeros at the border, as of partial Fourier and zero padding, and outside of a
        coverage such as an ellipse.
        """
        ny, nx = self.matrix_size
        measured: NDArray[np.bool_] = _between(self.attrs.get("padding"), nx)
        if self.attrs.get("row_padding"):
            measured = _between(self.attrs["row_padding"], ny)[:, np.newaxis] & measured
        coverage = self.attrs.get("coverage")
        return measured if coverage is None else measured & coverage


def _between(padding: tuple[int, int] | None, n: int) -> NDArray[np.bool_]:
    first, stop = padding or (0, n)
    return (np.arange(n) >= first) & (np.arange(n) < stop)
