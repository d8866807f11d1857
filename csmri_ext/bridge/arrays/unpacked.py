"""Random access to compressed arrays: unpacked once to a temporary file, not to memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from _typeshed import SupportsRead


def unpack(stream: SupportsRead[bytes], suffix: str, map_file: Callable[[str], NDArray[Any]]) -> NDArray[Any]:
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

    Raises
    ------
    OSError
        The folder of temporary files (TMPDIR) is full.
    """
    with tempfile.NamedTemporaryFile(suffix=suffix, delete=False) as file:
        try:
            shutil.copyfileobj(stream, file, length=2**20)
            file.flush()
            return map_file(file.name)
        finally:
            with suppress(PermissionError):  # Windows keeps the name of a mapped file
                Path(file.name).unlink()
