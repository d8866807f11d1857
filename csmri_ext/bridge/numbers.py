"""Numbers as files store them: complex as a type of its own or as a pair of fields, integers as fractions of one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_PAIRS = ({"real", "imag"}, {"re", "im"}, {"r", "i"})  # MATLAB's and ISMRMRD's complex in HDF5, Julia's, h5py's


def is_complex(dtype: np.dtype[Any]) -> bool:
    """Whether values are complex, also as a pair of fields called real and imag, re and im, or r and i, in any case."""
    return dtype.kind == "c" or (dtype.names is not None and {name.lower() for name in dtype.names} in _PAIRS)


def is_number(dtype: np.dtype[Any]) -> bool:
    """Whether values are numbers or truth values."""
    return dtype.kind in "fiub" or is_complex(dtype)


def as_float(item: NDArray[Any]) -> NDArray[Any]:
    """Turn stored numbers into float32 or complex64; 8- and 16-bit unsigned integers into fractions of their largest.

    Values beyond the range of float32 become infinite, which readers refuse.
    """
    if item.dtype.names:
        real, imaginary = sorted(item.dtype.names, key=str.lower, reverse=True)
        item = item[real] + np.complex64(1j) * item[imaginary]
    if item.dtype.kind == "c":
        return item.astype(np.complex64)
    if item.dtype in (np.uint8, np.uint16):
        return item.astype(np.float32) / np.float32(np.iinfo(item.dtype).max)
    return item.astype(np.float32)
