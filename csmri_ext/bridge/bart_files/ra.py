"""BART's other array format, ``.ra``: a binary header and the values in one file."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.bart_files.header import N_DIMS, CflError

_MAGIC = 0x7961727261776172  # "rawarray", little-endian
_BIG_ENDIAN = 1
_COMPLEX = 4
_MAX_DIMS = 100
_HEADER = struct.Struct("<6Q")  # magic, flags, element type, bytes per element, bytes of data, number of dimensions


def read_ra(path: str | os.PathLike[str]) -> NDArray[np.complex64]:
    """Map a ``.ra`` file of complex64 values into memory, read-only.

    Parameters
    ----------
    path
        The file, with its extension.

    Returns
    -------
        complex64, 16 BART dimensions, first varies fastest (Fortran order).

    Raises
    ------
    CflError
        The file does not exist, is not a raw array, is big-endian or of another type than complex64, is
        shorter than its header says, or has sizes below 1 or a 17th dimension that is not 1. Bytes after the
        data are allowed.
    """
    path = Path(path)
    if not path.is_file():
        raise CflError(f"{path}: no such file")
    with path.open("rb") as file:
        fixed = file.read(_HEADER.size)
        if len(fixed) < _HEADER.size:
            raise CflError(f"{path}: {len(fixed)} bytes are too short for a .ra header")
        magic, flags, element_type, element_bytes, n_bytes, n_dims = _HEADER.unpack(fixed)
        if magic != _MAGIC:
            raise CflError(f"{path}: not a .ra file")
        if flags & _BIG_ENDIAN:
            raise CflError(f"{path}: big-endian .ra files are not supported, by BART neither")
        if element_type != _COMPLEX or element_bytes != 8:
            raise CflError(
                f"{path}: holds elements of type {element_type} and {element_bytes} bytes; "
                f"expected complex64 (type {_COMPLEX}, 8 bytes)"
            )
        if n_dims > _MAX_DIMS:
            raise CflError(f"{path}: {n_dims} dimensions, at most {_MAX_DIMS} are allowed")
        sizes = file.read(8 * n_dims)
        offset = file.tell()
    if len(sizes) < 8 * n_dims:
        raise CflError(f"{path}: the header is cut short")
    dims = struct.unpack(f"<{n_dims}Q", sizes)
    if any(size != 1 for size in dims[N_DIMS:]) or any(size < 1 for size in dims):
        raise CflError(f"{path}: dimensions {dims}; BART arrays have {N_DIMS}, each at least 1")
    dims = (*dims[:N_DIMS], *[1] * (N_DIMS - n_dims))
    needed, available = 8 * math.prod(dims), path.stat().st_size - offset
    if n_bytes != needed or available < needed:
        raise CflError(
            f"{path}: dimensions {dims} need {needed} bytes, the header announces {n_bytes}, the file has {available}"
        )
    return np.memmap(path, dtype="<c8", mode="r", offset=offset, shape=dims, order="F")
