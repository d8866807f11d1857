"""Random access to compressed arrays: unpacked once to a temporary file, not to memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from csmri_ext.bridge.size_limits import require_plausible

if TYPE_CHECKING:
    from _typeshed import SupportsRead


def unpack(
    stream: SupportsRead[bytes], suffix: str, map_file: Callable[[str], NDArray[Any]], n_bytes: int, n_packed: int
) -> NDArray[Any]:
    """Copy a stream to a temporary file and map an array of it.

    The file has no name any more when this returns; the disk space is freed with the array, however the program ends.

    Parameters
    ----------
    stream
        Yields the uncompressed bytes.
    suffix
        Extension of the temporary file.
    map_file
        Called with the file's name; returns a memory-mapped array, such as ``numpy.load(name, mmap_mode="r")``.
    n_bytes
        What the header promises; nothing beyond is unpacked, however much there is.
    n_packed
        Bytes that they take in the file.

    Raises
    ------
    FileFormatError
        See `size_limits.require_plausible`.
    ValueError
        There are fewer bytes.
    OSError
        The folder of temporary files (TMPDIR) is full.
    """
    require_plausible(n_bytes, n_packed, "the compressed array")
    with tempfile.NamedTemporaryFile(suffix=suffix, delete=False) as file:
        try:
            left = n_bytes
            while left and (data := stream.read(min(left, 2**20))):
                file.write(data)
                left -= len(data)
            if left:
                raise ValueError(f"{n_bytes - left} bytes are unpacked, the header promises {n_bytes}")
            file.flush()
            return map_file(file.name)
        finally:
            with suppress(PermissionError):  # Windows keeps the name of a mapped file
                Path(file.name).unlink()
