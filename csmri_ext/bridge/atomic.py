"""Write a file completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it replaces `path`, on any error or Ctrl-C it is removed.

    Equivalent to writing to ``.name.<pid>.tmp``, then ``os.replace``: readers see the old file or the whole new one.

    Parameters
    ----------
    path
        The file to write. Its folder must exist.

    Raises
    ------
    OSError
        The folder does not exist or is not writable; the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)  # noqa: PTH105
    finally:
        temporary.unlink(missing_ok=True)
