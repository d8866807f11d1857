"""BART's 16 dimensions and the axes of this package, without moving a byte.

BART stores its first dimension fastest, numpy its last axis. So a C-ordered ``(coils, ny, nx)`` array is, byte for
byte, the BART array ``nx ny 1 coils``: **x, the last axis, is BART's dimension 0 (READ), y its dimension 1 (PHS1)**.
Every function of this package uses this layout. Slices go to dimension 13, never to dimension 2: BART would take them
for a third direction in space and transform along it.

The solution of an inverse problem does not depend on which direction is called x, but BART's automatic scaling of the
data does (by 1.5 % in one example, which moves a TV image by 0.14 %): compare with files of the same layout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.bart_files.header import N_DIMS, CflError

COIL_DIM, MAPS_DIM, SLICE_DIM = 3, 4, 13
TIME_DIM, BATCH_DIM = 10, 15
SLICE_DIMS = (TIME_DIM, SLICE_DIM, BATCH_DIM)
FRAME_DIMS = (5, 10, 11, 12, 14, 15)
"""Dimensions of images that are reconstructed one by one: echoes, time, levels, averages, batches."""
BART_NAMES = (
    *("READ", "PHS1", "PHS2", "COIL", "MAPS", "TE", "COEFF", "COEFF2"),
    *("ITER", "CSHIFT", "TIME", "TIME2", "LEVEL", "SLICE", "AVG", "BATCH"),
)


def to_bart(array: NDArray[Any]) -> NDArray[Any]:
    """View an array as BART dimensions: ``array.T`` with unit axes in between.

    Parameters
    ----------
    array
        k-space, coil images or sensitivities: (ny, nx), (coils, ny, nx), (slices, coils, ny, nx) or
        (slices, maps, coils, ny, nx). For an image stack use a coil axis of length 1.

    Returns
    -------
        A view with 16 axes ``nx ny 1 coils maps 1 ... slices 1 1`` (slices at 13); Fortran-ordered, so that `write_cfl`
        needs no copy, if `array` is C-ordered.

    Raises
    ------
    ValueError
        `array` has fewer than 2 or more than 5 axes.
    """
    if not 2 <= array.ndim <= 5:
        raise ValueError(
            f"expected (ny, nx), (coils, ny, nx), (slices, coils, ny, nx) or (slices, maps, coils, ny, nx), "
            f"got shape {array.shape}"
        )
    if array.ndim < 5:
        array = array[(np.newaxis,) * (4 - array.ndim)][:, np.newaxis]
    between = (np.newaxis,) * (SLICE_DIM - MAPS_DIM - 1)
    after = (np.newaxis,) * (N_DIMS - SLICE_DIM - 1)
    return array.T[(slice(None), slice(None), np.newaxis, slice(None), slice(None), *between, slice(None), *after)]


def from_bart(array: NDArray[Any], ndim: int = 4, *, x_dim: int | None = None) -> NDArray[Any]:
    """View an array of BART dimensions in the axes of this package; inverse of `to_bart`.

    Parameters
    ----------
    array
        Up to 16 BART dimensions, as from `read_cfl`. Two of the dimensions 0 to 2 are the image plane (see
        `image_plane`), dimension 3 are coils, 4 maps, and one of 10, 13, 15 slices; all others must be 1.
    ndim
        Number of axes wanted, 2 to 5; those left out must have length 1.
    x_dim
        The BART dimension that becomes x, the last axis. Default: the lower one of the plane.

    Returns
    -------
        A view, the last `ndim` axes of (slices, maps, coils, ny, nx); with 4 axes (slices, coils, ny, nx).

    Raises
    ------
    CflError
        A dimension that has no place in the result is larger than 1.
    """
    if not 2 <= ndim <= 5:
        raise ValueError(f"ndim must be 2 to 5, got {ndim}")
    array = array.reshape(*array.shape, *[1] * (N_DIMS - array.ndim))
    first, second = image_plane(array.shape)
    if x_dim is None or x_dim == first:
        x_dim, y_dim = first, second
    elif x_dim == second:
        y_dim = first
    else:
        raise CflError(f"x_dim must be one of the image plane {(first, second)}, got {x_dim}")
    slice_dim = next((dim for dim in SLICE_DIMS if array.shape[dim] > 1), SLICE_DIM)
    kept = (slice_dim, MAPS_DIM, COIL_DIM, y_dim, x_dim)
    rest = [dim for dim in range(N_DIMS) if dim not in kept]
    extra = [f"{dim} (size {array.shape[dim]})" for dim in rest if array.shape[dim] > 1]
    if extra:
        raise CflError(
            f"BART dimensions {', '.join(extra)} have no place in (slices, maps, coils, ny, nx): "
            "choose one with `bart slice`"
        )
    array = array.transpose(*kept, *rest).squeeze(tuple(range(len(kept), N_DIMS)))
    dropped = {2: (0, 1, 2), 3: (0, 1), 4: (1,), 5: ()}[ndim]
    if any(array.shape[axis] != 1 for axis in dropped):
        raise CflError(f"(slices, maps, coils, ny, nx) = {array.shape} does not fit into {ndim} axes")
    return array.squeeze(dropped)


def image_plane(dims: tuple[int, ...]) -> tuple[int, int]:
    """Find which two of BART's dimensions 0 to 2 are the image plane.

    Parameters
    ----------
    dims
        At least 3 BART dimensions.

    Returns
    -------
        ``(0, 1)`` if dimension 2 is 1, else ``(1, 2)`` or ``(0, 2)``.

    Raises
    ------
    CflError
        All three are larger than 1: a volume, or slices that lie on the wrong dimension.
    """
    if dims[2] == 1:
        return 0, 1
    if dims[0] == 1:
        return 1, 2
    if dims[1] == 1:
        return 0, 2
    raise CflError(
        f"dimensions 0 to 2 are {dims[0]} x {dims[1]} x {dims[2]}, not one plane. Slices belong on dimension 13 "
        f"(`bart transpose 2 13`); of 3-D k-space, first transform the fully sampled direction (`bart fft -i`)"
    )


def phase_encoding_dim(word: str, dims: tuple[int, ...], where: str) -> int:
    """Find the dimension of the image plane that a user calls the phase encoding.

    Parameters
    ----------
    word
        ``READ``, ``PHS1``, ``PHS2``, its number, ``x`` (the lower one, as by default) or ``y``.
    dims, where
        BART dimensions and name of the file.

    Raises
    ------
    CflError
        An unknown word, or a dimension outside of the plane.
    """
    plane = image_plane(dims)
    words = {"x": plane[0], "y": plane[1]}
    for dim in range(3):
        words |= {BART_NAMES[dim].lower(): dim, str(dim): dim}
    dim = words.get(word.lower(), -1)
    if dim not in plane:
        names = " or ".join(BART_NAMES[d] for d in plane)
        raise CflError(f"{where}: --phase-encoding {word}; the image plane is {names}")
    return dim
