"""Write a file completely or not at all, and clear what a killed process left half-written."""

from __future__ import annotations

import errno
import glob
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LONGEST_NAME = 255  # bytes, on every file system in use
_LEFTOVER = re.compile(r"\..*\.(\d+)\.tmp", re.DOTALL)
_SHARED = re.compile(r"(nfs|cifs|smb|lustre|gpfs|beegfs|ceph|glusterfs|afs|9p|fuse)")  # types of file systems
_ABANDONED = 3600  # seconds that a file on a shared disk has not been written to


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it replaces `path`, on any error or Ctrl-C it is removed.

    Equivalent to writing to `temporary_name`, then ``os.replace``: readers see the old file or the whole new one, also
    after a power failure, since the content reaches the disk before the name does.

    Parameters
    ----------
    path
        The file to write. Its folder must exist.

    Raises
    ------
    OSError
        The folder does not exist or is not writable; the disk is full; `path` is a folder, or a device, in whose place
        a file would come.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise IsADirectoryError(errno.EISDIR, f"is a {'folder' if path.is_dir() else 'device'}", str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the folder to write to does not exist", str(path.parent))
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, "the folder is not writable", str(path.parent))
    temporary = temporary_name(path)
    try:
        yield temporary
        to_disk(temporary)
        os.replace(temporary, path)  # noqa: PTH105
    finally:
        temporary.unlink(missing_ok=True)
    folder_to_disk(path.parent)


def temporary_name(path: Path) -> Path:
    """Name the file that `path` is written to before it is complete, beside it: ``.name.<pid>.tmp``.

    The number of the process says whose it is, see `clear_leftovers`. A name that the file system would refuse is cut.
    """
    ending = f".{os.getpid()}.tmp"
    name = os.fsencode(path.name)[: LONGEST_NAME - 1 - len(ending)].decode(errors="ignore")
    return path.with_name(f".{name}{ending}")


def to_disk(path: Path) -> None:
    """Have the system write a file out, so that a rename after it cannot outlive the content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a device
            raise
    finally:
        os.close(descriptor)


def folder_to_disk(path: Path) -> None:
    """Have the system write the names in a folder out, so that a rename outlives a power failure."""
    with suppress(OSError):  # some file systems have no such thing for folders; the files are whole in any case
        to_disk(path)


def clear_leftovers(folder: str | os.PathLike[str], *, name: str | None = None, recursive: bool = False) -> list[Path]:
    """Remove the temporary files of `replacing` whose process is dead: killed with -9, or with its machine.

    On a disk that machines share, a process that cannot be seen here may be alive elsewhere: there a file goes only
    when nothing was written to it for an hour.

    Parameters
    ----------
    folder
        Where to look; nothing happens where it does not exist.
    name
        Only what should have become this file.
    recursive
        Look below it too.

    Returns
    -------
        What was removed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return []
    removed = []
    shared = _is_shared(folder)
    pattern = f".{'*' if name is None else glob.escape(name)}.*.tmp"
    for path in folder.rglob(pattern) if recursive else folder.glob(pattern):
        match = _LEFTOVER.fullmatch(path.name)
        if match is None or is_running(int(match[1])):
            continue
        try:
            if shared and time.time() - path.stat().st_mtime < _ABANDONED:
                continue
            path.unlink()
        except OSError:  # somebody else's, or gone by now
            continue
        removed.append(path)
    return removed


def is_running(pid: int) -> bool:
    """Whether a process of this machine has this number, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _is_shared(folder: Path) -> bool:
    """Whether other machines may write to the disk of a folder, by the type of its file system."""
    device = folder.stat().st_dev
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    for line in lines:
        mount, _, system = line.partition(" - ")
        if mount.split()[2] == f"{os.major(device)}:{os.minor(device)}":
            return _SHARED.match(system) is not None
    return False
