"""MATLAB's files of version 5, 6 and 7: where the numeric variables are, and their values, memory-mapped.

Format: MathWorks, "MAT-File Format", chapter 1. A file is a list of elements, each a tag (type, bytes) and data; a
variable is an element of type 14, or the same compressed, of type 15. Every size is checked against the file, so a
damaged file is an error here, where a general reader may crash.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.arrays.unpacked import unpack

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_STRUCTURE = 2  # class of a matrix
_DEEPEST = 8  # structures in structures
_COMPLEX_FLAG = 0x0800
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_LONGEST_NAME = 4096  # MATLAB allows 63 characters


@dataclass(frozen=True)
class Variable:
    """A numeric variable of a file: its shape as MATLAB shows it, its type, and where it lies.

    Attributes
    ----------
    path, name, shape, dtype
        `dtype` is that of the class in MATLAB; the file may store small numbers in fewer bytes.
    start, n_bytes, compressed
        The data of its element in the file.
    inside
        Where its description begins in these data; more than 0 for a field of a structure.
    order
        ``<`` or ``>``, the byte order.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    n_bytes: int
    compressed: bool
    order: str
    inside: int = 0

    def read(self, index: Any) -> NDArray[Any]:
        """Return ``array[index]`` as an ndarray; only these values are read."""
        real, imaginary = _parts(self, self.path.stat().st_mtime_ns)
        values = np.asarray(real[index]).astype(self.dtype)
        return values if imaginary is None else values + self.dtype.type(1j) * imaginary[index]


def list_variables(path: str | os.PathLike[str], *, structures: bool = False) -> dict[str, Variable]:
    """List the numeric variables of a file by name; text, cells, arrays of structures and sparse matrices are left out.

    Parameters
    ----------
    path
        The file.
    structures
        List the fields of structures, too, as ``structure.field``.

    Raises
    ------
    ValueError
        The file is not of this format, or ends before an element does.
    zlib.error
        Compressed data are damaged.
    """
    path = Path(path)
    variables = {}
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
        if order is None:
            raise ValueError("no MATLAB header of version 5 to 7")
        size = path.stat().st_size
        position = _HEADER_BYTES
        while position < size:
            file.seek(position)
            kind, n_bytes = struct.unpack(f"{order}II", _exactly(file, 8))
            start = position + 8
            if start + n_bytes > size:
                raise ValueError(f"an element at byte {position} has {n_bytes} bytes, the file ends before it does")
            if kind in (_MATRIX, _COMPRESSED):
                stream = _Inflated(file, n_bytes) if kind == _COMPRESSED else file
                promised = n_bytes
                if kind == _COMPRESSED:
                    _, promised, _ = _parse_tag(_exactly(stream, 8), order)  # of the matrix inside
                matrix_class, name, shape, dtype = _describe(stream, order)
                if matrix_class in _CLASSES and promised > 16 * math.prod(shape) + 2**16:
                    raise ValueError(f"variable {name!r} of shape {shape} announces {promised} bytes")
                whole = Variable(path, name, shape, dtype, start, n_bytes, kind == _COMPRESSED, order)
                if matrix_class in _CLASSES:
                    variables[name] = whole
                elif structures and matrix_class == _STRUCTURE and math.prod(shape) == 1:
                    data = _contents(whole, path.stat().st_mtime_ns)
                    variables |= {field.name: field for field in _fields(whole, data, 0, data.size, 0)}
            position = start + n_bytes
    return variables


class _Inflated(io.RawIOBase):
    """The next `n_bytes` of a file, decompressed."""

    def __init__(self, file: BinaryIO, n_bytes: int) -> None:
        self._file, self._left = file, n_bytes
        self._inflate = zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._inflate.eof:
            data = self._inflate.unconsumed_tail or self._file.read(min(self._left, 2**16))
            if not self._inflate.unconsumed_tail:
                self._left -= len(data)
            if not data:
                raise ValueError("compressed data end early")
            values = self._inflate.decompress(data, len(buffer))
            if values:
                buffer[: len(values)] = values
                return len(values)
        return 0


def _describe(stream: Any, order: str) -> tuple[int, str, tuple[int, ...], np.dtype[Any]]:
    """Read the start of a matrix: class, name, shape, and dtype where it is an array of numbers."""
    flags = np.frombuffer(_small_element(stream, order, 8), f"{order}u4")
    matrix_class = int(flags[0]) & 0xFF
    dtype = np.dtype(_CLASSES.get(matrix_class, "V1"))
    if matrix_class not in _CLASSES and matrix_class != _STRUCTURE:
        return matrix_class, "", (), dtype
    if int(flags[0]) & _COMPLEX_FLAG:
        dtype = np.result_type(dtype, np.complex64)
    shape = tuple(int(n) for n in np.frombuffer(_small_element(stream, order, 4 * 64), f"{order}i4"))
    name = _small_element(stream, order, _LONGEST_NAME).decode("latin-1")
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"variable {name!r} has shape {shape}")
    return matrix_class, name, shape, dtype


def _fields(structure: Variable, data: NDArray[np.uint8], first: int, end: int, depth: int) -> Iterator[Variable]:
    """Find the numeric fields of a structure that lies in ``data[first:end]``, also of structures in it."""
    position = first
    for _ in range(3):  # flags, shape, name
        _, position = _element(data, position, structure.order)
    (_, place, n_bytes), position = _element(data, position, structure.order)
    length = int(data[place : place + n_bytes].view(f"{structure.order}i4")[0]) if n_bytes == 4 else 0
    (_, place, n_bytes), position = _element(data, position, structure.order)
    if not 0 < length <= _LONGEST_NAME or n_bytes % length:
        raise ValueError(f"structure {structure.name!r} has field names of {length} characters")
    names = [
        data[place + i : place + i + length].tobytes().split(b"\0")[0].decode("latin-1")
        for i in range(0, n_bytes, length)
    ]
    for name in names:
        (kind, place, n_bytes), position = _element(data, position, structure.order)
        if position > end or kind != _MATRIX:
            raise ValueError(f"structure {structure.name!r} ends early")
        if n_bytes == 0:  # an empty field
            continue
        matrix_class, _, shape, dtype = _describe(
            io.BytesIO(data[place : place + min(n_bytes, 2**14)].tobytes()), structure.order
        )
        field = replace(structure, name=f"{structure.name}.{name}", shape=shape, dtype=dtype, inside=place)
        if matrix_class in _CLASSES:
            yield field
        elif matrix_class == _STRUCTURE and math.prod(shape) == 1 and depth < _DEEPEST:
            yield from _fields(field, data, place, place + n_bytes, depth + 1)


def _small_element(stream: Any, order: str, most: int) -> bytes:
    """Read one element with its padding: 8 bytes of tag, or tag and up to 4 bytes of data packed into 8 bytes."""
    tag = _exactly(stream, 8)
    _, n_bytes, packed = _parse_tag(tag, order)
    if n_bytes > most:
        raise ValueError(f"{n_bytes} bytes in the description of a variable")
    return tag[4 : 4 + n_bytes] if packed else _exactly(stream, -(-n_bytes // 8) * 8)[:n_bytes]


def _parse_tag(tag: bytes, order: str) -> tuple[int, int, bool]:
    kind, n_bytes = struct.unpack(f"{order}II", tag)
    if kind >> 16 == 0:
        return kind, n_bytes, False
    if kind >> 16 > 4:
        raise ValueError(f"{kind >> 16} bytes packed into 4")
    return kind & 0xFFFF, kind >> 16, True


def _exactly(stream: Any, n: int) -> bytes:
    data = b""
    while len(data) < n:
        more = stream.read(n - len(data))
        if not more:
            raise ValueError("the file ends early")
        data += more
    return data


def _contents(variable: Variable, modified: int) -> NDArray[np.uint8]:
    """Bytes of the matrix that holds a variable, memory-mapped."""
    return _mapped(variable.path, variable.start, variable.n_bytes, variable.compressed, variable.order, modified)


@lru_cache(maxsize=4)
def _mapped(path: Path, start: int, n_bytes: int, compressed: bool, order: str, _modified: int) -> NDArray[np.uint8]:
    if not compressed:
        return np.memmap(path, np.uint8, "r", start, (n_bytes,))
    with path.open("rb") as file:
        file.seek(start)
        stream = _Inflated(file, n_bytes)
        _, promised, _ = _parse_tag(_exactly(stream, 8), order)
        return unpack(stream, ".mat", lambda name: np.memmap(name, np.uint8, "r"), promised, n_bytes)


@lru_cache(maxsize=4)
def _parts(variable: Variable, _modified: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Real and imaginary part as they are stored, memory-mapped; compressed ones from a temporary file."""
    data = _contents(variable, _modified)
    position = variable.inside
    for _ in range(3):  # flags, shape, name
        _, position = _element(data, position, variable.order)
    real, position = _numbers(data, position, variable)
    if variable.dtype.kind != "c":
        return real, None
    imaginary, _ = _numbers(data, position, variable)
    return real, imaginary


def _element(data: NDArray[np.uint8], position: int, order: str) -> tuple[tuple[int, int, int], int]:
    """Find an element: (type, first byte, bytes), and where the next one starts."""
    tag = data[position : position + 8].tobytes()
    if len(tag) < 8:
        raise ValueError("a variable ends early")
    kind, n_bytes, packed = _parse_tag(tag, order)
    first = position + (4 if packed else 8)
    if first + n_bytes > data.size:
        raise ValueError("a variable ends early")
    return (kind, first, n_bytes), (position + 8 if packed else first + -(-n_bytes // 8) * 8)


def _numbers(data: NDArray[np.uint8], position: int, variable: Variable) -> tuple[NDArray[Any], int]:
    (kind, first, n_bytes), following = _element(data, position, variable.order)
    if kind not in _STORED:
        raise ValueError(f"variable {variable.name!r} holds values of unknown type {kind}")
    dtype = np.dtype(variable.order + _STORED[kind])
    if n_bytes != math.prod(variable.shape) * dtype.itemsize:
        raise ValueError(f"variable {variable.name!r} of shape {variable.shape} has {n_bytes} bytes")
    return data[first : first + n_bytes].view(dtype).reshape(variable.shape, order="F"), following
