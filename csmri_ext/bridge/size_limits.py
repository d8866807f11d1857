"""What lies beside k-space, a mask or a header, is small: more is refused before any memory is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.numbers import is_number


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
    if not is_number(dtype) or dtype.kind not in "biuf":
        raise FileFormatError(f"{path}: the {name} is {dtype} with values that are no numbers; expected 0 and 1")
    return read(())
