"""A folder that one process at a time may work in, where two would write over each other's files."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_FILE = ".in-use"


@contextmanager
def working_alone(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a folder while the body runs; another process that wants it is told who has it.

    The lock is the system's, on the file ``.in-use``: it goes with the process, however that ends, and holds between
    machines where the disk does that. On a disk that knows no locks the body runs without one.

    Parameters
    ----------
    folder
        Made where it does not exist.

    Raises
    ------
    OSError
        Another process holds the folder; or it cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock: processes forked for data would hold it too
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                file.seek(0)
                owner = file.read().strip() or "another process"
                reason = f"in use by {owner}: wait until that has ended, or choose another folder"
                raise BlockingIOError(errno.EAGAIN, reason, str(folder)) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield
