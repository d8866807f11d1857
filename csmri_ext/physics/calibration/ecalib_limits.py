"""When the calibration region is too small for ``bart ecalib``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from csmri_ext.physics.mask_properties import calibration_block

KERNEL = 6
LARGEST = 24
PATCHES_ACROSS = 5
PATCHES = 40


def ecalib_shortfall(mask: Tensor | NDArray[np.bool_], ny: int, echo: tuple[int, int] | None = None) -> str | None:
    """Say why ``bart ecalib`` would fail on this calibration region, if it would.

    Its 6 x 6 kernel has ``(my - 5) (mx - 5)`` places in a region of even sides ``my x mx``, at most 24 each. With few
    places the eigenvalues of the object fall below the crop. On phantoms of 160 x 160 with 4, 8 and 16 coils, 10
    columns lost nothing, 8 up to a third of the object, 6 nearly all of it, and with 5 BART ended with an error; of
    square regions, 12 x 12 lost nothing and 10 x 10 up to a seventh.

    Parameters
    ----------
    mask
        bool, ``(nx,)`` or ``(ny, nx)``; axes of size 1 in front are dropped.
    ny
        Number of rows that a mask of columns stands for.
    echo
        As in `calibration_block`. BART takes the middle of the matrix: roll k-space by `calibration_offset` first.

    Returns
    -------
        One sentence for a warning, or None if the region is large enough.

    Raises
    ------
    ValueError
        As in `calibration_block`.
    """
    blocks = calibration_block(mask, echo)
    sides = [block.stop - block.start for block in blocks]
    if len(sides) == 1:
        sides = [ny, *sides]
    places = [min(side - side % 2, LARGEST) - KERNEL + 1 for side in sides]
    if min(places) >= PATCHES_ACROSS and places[0] * places[1] >= PATCHES:
        return None
    return (
        f"the calibration region of {sides[0]} x {sides[1]} samples is too small for bart ecalib, "
        "which would cut off part of the object"
    )


def calibration_offset(
    mask: Tensor | NDArray[np.bool_], shape: tuple[int, int], echo: tuple[int, int] | None = None
) -> tuple[int, int]:
    """Count by how many rows and columns to roll k-space for ``bart ecalib``, which takes the middle of the matrix.

    The region that comes to lie there is at most 24 samples wide, as near to the echo as the `calibration_block`
    reaches. A roll turns all coil images by the same linear phase, which is no part of sensitivities: those of the
    rolled k-space are those of the original.

    Parameters
    ----------
    mask, echo
        As in `calibration_block`.
    shape
        ``(ny, nx)`` of k-space.

    Returns
    -------
        Shifts along y and x, as of `numpy.roll`. (0, 0) where the echo is within an eighth of the region from the
        middle and the block lies around that.
    """
    ny, nx = shape
    y, x = ny // 2, nx // 2
    at = (y, x) if echo is None else echo
    rows, columns = (slice(0, ny), *calibration_block(mask, echo))[-2:]
    return _offset(rows, at[0], y), _offset(columns, at[1], x)


def _offset(block: slice, echo: int, middle: int) -> int:
    m = block.stop - block.start
    side = min(m, LARGEST)
    if block.start + m // 2 == middle and abs(echo - middle) <= side // 8:
        return 0
    first = min(max(echo - side // 2, block.start), block.stop - side)
    return middle - (first + side // 2)
