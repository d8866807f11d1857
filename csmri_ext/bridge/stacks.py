"""Stacks made of others: reference images from k-space, and several acquisitions as one volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition, LazyStack
from csmri_ext.bridge.fourier import center_crop, ifft2c


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


@dataclass(frozen=True)
class _RootSumOfSquares:
    kspace: NDArray[Any] | LazyStack
    size: tuple[int, int]

    def __call__(self, i: int) -> NDArray[np.float32]:
        coils = np.asarray(self.kspace[i]).reshape(-1, *self.kspace.shape[-2:])
        return np.linalg.norm(center_crop(ifft2c(coils), self.size), axis=0)


@dataclass(frozen=True)
class _Concatenated:
    places: tuple[tuple[NDArray[Any] | LazyStack, int], ...]

    def __call__(self, i: int) -> NDArray[Any]:
        stack, position = self.places[i]
        return np.asarray(stack[position])
