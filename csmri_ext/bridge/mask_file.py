"""Sampling masks of one's own: read from any array or picture, and brought to the axes of k-space."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge import beside
from csmri_ext.bridge.bart_files.cfl import read_cfl
from csmri_ext.bridge.bart_files.dims import from_bart
from csmri_ext.bridge.conventions import looks_dc_at_corner
from csmri_ext.bridge.file_arrays import ENDINGS, choose_stored, is_bart
from csmri_ext.bridge.file_errors import FileFormatError

MASK_NAMES = (*beside.MASK_NAMES, "Mask", "masks", "sampling", "pattern", "M", "Q1")
_LARGEST = 2**26  # samples
_TWO_LEVELS = 0.01  # of the pixels of a picture that may lie between black and white


def read_mask(path: str | os.PathLike[str], *, key: str | None = None) -> NDArray[np.bool_]:
    """Read a sampling mask; where it is not zero, or a picture is bright, a sample is acquired.

    Parameters
    ----------
    path
        ``.npy``, ``.npz``, ``.mat``, BART's ``.cfl`` (from ``bart poisson`` or ``bart upat``, too), ``.png``, or the
        ``mask`` of a fastMRI ``.h5``.
    key
        Name of the array, where the file has several and none is called mask.

    Returns
    -------
        bool, ``(n,)`` or ``(n, m)``: axes of length one are dropped, but that of ``(ny, 1)``, which is rows. For BART's
        files (y, x) as `from_bart` finds them.

    Raises
    ------
    FileFormatError
        No such array, more than two axes, no numbers, nothing sampled, or a picture that is no mask.
    OSError
        The file does not exist or may not be read.
    """
    where = os.fspath(path)
    if is_bart(path):
        array = read_cfl(path)
        try:
            values = np.squeeze(from_bart(array, 2))
        except ValueError as error:
            raise FileFormatError(f"{where}: as a mask: {error}") from None
    else:
        stored = choose_stored(path, MASK_NAMES, "mask", key)
        if stored.dtype.kind not in "biufc" or np.prod(stored.shape) > _LARGEST:
            raise FileFormatError(f"{where}: a mask is numbers, not {stored.dtype} of shape {stored.shape}")
        stored_values = np.asarray(stored.read(()))
        values = np.squeeze(stored_values)
        if stored_values.shape == (values.size, 1) != (1, 1) and Path(where).suffix.lower() != ".mat":
            values = stored_values  # rows; MATLAB has no other vectors
    if values.ndim not in (1, 2):
        raise FileFormatError(f"{where}: a mask has shape (nx,) or (ny, nx), not {values.shape}")
    if not np.isfinite(values).all():
        raise FileFormatError(f"{where}: the mask has NaN or infinite values")
    if Path(where).suffix.lower() in (".png", ".tif", ".tiff"):
        low, high = float(values.min()), float(values.max())
        between = (values > low + 0.1 * (high - low)) & (values < high - 0.1 * (high - low))
        if between.mean() > _TWO_LEVELS:
            raise FileFormatError(f"{where}: a mask is black and white; {100 * between.mean():.0f} % is gray")
        mask = values > (low + high) / 2 if high > low else values > 0
    else:
        mask = values != 0
    if not mask.any():
        raise FileFormatError(f"{where}: the mask is empty, nothing is sampled")
    return mask


def is_mask_file(word: str) -> bool:
    """Whether a user who writes this for a mask means a file."""
    return Path(word).is_file() or Path(f"{word}.hdr").is_file() or word.lower().endswith(ENDINGS)


def fit_mask(mask: NDArray[np.bool_], matrix_size: tuple[int, int]) -> tuple[NDArray[np.bool_], str]:
    """Bring a mask to the axes of k-space: columns (nx,), or the plane (ny, nx), its centre at ``n // 2``.

    A mask whose shape fits only when it is transposed is transposed; one that is densest at index 0, as for transforms
    without fftshift, is shifted; a plane of equal rows becomes columns.

    Parameters
    ----------
    mask
        From `read_mask`.
    matrix_size
        ``(ny, nx)``.

    Returns
    -------
        The mask, and in words what was done, empty for nothing.

    Raises
    ------
    ValueError
        It fits in no way.
    """
    ny, nx = matrix_size
    done = []
    if mask.ndim == 2 and mask.shape != (ny, nx) and mask.shape == (nx, ny):
        mask = mask.T
        done.append("transposed")
    if mask.ndim == 2 and mask.shape[1] == 1:
        mask = mask if mask.shape[0] == ny else mask[:, 0]
    if mask.shape == (ny, 1) or (mask.shape == (ny,) and ny != nx):
        mask = np.broadcast_to(mask.reshape(ny, 1), (ny, nx))
        done.append("read as rows")
    if mask.shape not in ((nx,), (ny, nx)):
        raise ValueError(f"the mask of shape {mask.shape} does not fit k-space of (ny, nx) = {(ny, nx)}")
    if looks_dc_at_corner(mask):
        mask = np.fft.fftshift(mask)
        done.append("shifted, as its centre was at index 0")
    if mask.ndim == 2 and (mask == mask[0]).all():
        mask = mask[0]
    return np.ascontiguousarray(mask), ", ".join(done)
