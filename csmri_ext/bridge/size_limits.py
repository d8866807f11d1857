"""What a file announces is compared with what it holds, before any memory or disk is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.numbers import is_number

LONGEST_HEADER = 16 * 2**20
"""Bytes of a header in text."""
_MODEST = 2**28  # bytes that any array may have
_DENSEST = 500  # bytes of an array for each byte of the file; deflate packs zeros 1,000 times, measured data 20


def require_plausible(announced: int, stored: int, where: str) -> None:
    """Refuse an array that would be gigabytes of nothing.

    Parameters
    ----------
    announced
        Bytes of the whole array.
    stored
        Bytes of it in the file.
    where
        File and array, for the error.

    Raises
    ------
    FileFormatError
        More than 256 MiB, and more than 500 times what is stored.
    """
    if announced > _MODEST and announced > _DENSEST * stored:
        raise FileFormatError(
            f"{where} announces {announced / 1e9:.2f} GB, and the file holds {stored} bytes of it: nothing that was "
            "measured is packed so densely"
        )


def require_plausible_dataset(dataset: Any, path: Path) -> None:
    """`require_plausible` of a dataset of HDF5; one that refers to other files is theirs to check."""
    if not dataset.is_virtual and not dataset.external:
        name = dataset.name.lstrip("/")
        require_plausible(
            (dataset.size or 0) * dataset.dtype.itemsize, dataset.id.get_storage_size(), f"{path}: {name}"
        )


def read_small(
    read: Callable[[tuple[()]], NDArray[Any]],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    kspace_shape: tuple[int, ...],
    path: Path,
    name: str,
) -> NDArray[Any]:
    """Read a mask if its type is a number's and it has at most one number a sample.

    Parameters
    ----------
    read
        ``read(())`` returns the array.
    shape, dtype
        What the file says of it.
    kspace_shape
        What the file says of k-space.
    path, name
        The file and the array, for errors.

    Raises
    ------
    FileFormatError
        It has more values than k-space, or values that are no real numbers.
    """
    if math.prod(shape) > math.prod(kspace_shape):
        raise FileFormatError(f"{path}: {name} of shape {shape} does not fit k-space of shape {kspace_shape}")
    if not is_number(dtype) or dtype.kind not in "biufc":
        raise FileFormatError(f"{path}: the {name} is {dtype} with values that are no numbers; expected 0 and 1")
    return read(())
