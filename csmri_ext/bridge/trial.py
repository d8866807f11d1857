"""Files of HDF5 that never come back from the library: another process opens each first, within a time limit."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import weakref
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import h5py

from csmri_ext.bridge.bart_program.orphans import ending_with_us
from csmri_ext.bridge.file_errors import FileFormatError

LIMIT = 60.0  # seconds; a file that is whole takes milliseconds, from a slow disk a few seconds
_START = 120.0  # seconds until the other process must be there
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_PLACES = (0, 512)  # MATLAB 7.3 has a text of 512 bytes in front
_PART = 2**26  # bytes of a first element that are read


class Trial:
    """Opens files in a process of its own, which is started once and again after a file that it does not survive.

    A damaged file can send the HDF5 library into a loop without end or end the process by a signal, and no exception
    comes of either. In a folder that would cost all the other files.

    Parameters
    ----------
    seconds
        Limit for one file.
    """

    def __init__(self, seconds: float = LIMIT) -> None:
        self.seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._end: Any = None

    def check(self, path: str | os.PathLike[str]) -> None:
        """Return where the file comes back from the library, with an error or without; other formats are not tried.

        Raises
        ------
        FileFormatError
            It does not within the limit, or it ends the process.
        """
        path = Path(path)
        if not _is_hdf5(path):
            return
        process = self._running()
        if process is None:
            return
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(os.fsencode(path.absolute()).hex().encode() + b"\n")
            process.stdin.flush()
        if _answers(process, self.seconds):
            return
        self.close()
        if process.returncode == -9:
            raise FileFormatError(
                f"{path}: the HDF5 library has not come back from this file in {self.seconds:g} seconds: it is "
                "damaged, or its disk does not answer"
            )
        raise FileFormatError(f"{path}: the HDF5 library crashes on this file: it is damaged")

    def close(self) -> None:
        """End the process; the next file starts another one."""
        if self._end is not None:
            self._end()
        self._process = self._end = None

    def _running(self) -> subprocess.Popen[bytes] | None:
        """Give the process; None where none can be had: then files are opened without a trial."""
        if self._process is None:
            here = str(Path(__file__).parents[2])
            code = f"import sys; sys.path.insert(0, {here!r}); from csmri_ext.bridge.trial import serve; serve()"
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                preexec_fn=ending_with_us(),
            )
            self._end = weakref.finalize(self, _end, self._process)
            if not _answers(self._process, _START):
                self.close()
        return self._process


@cache
def shared_trial() -> Trial:
    """Give the one of this process."""
    return Trial()


def serve() -> None:
    """Answer with a line for every path, in hexadecimal, that stands on a line of stdin; the first line is for nothing.

    What is wrong with a file is not told: whoever asked opens it again and finds out.
    """
    answers = sys.stdout
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        with suppress(Exception):
            _look(os.fsdecode(bytes.fromhex(line.strip())))
        answers.write("done\n")
        answers.flush()


def _look(path: str) -> None:
    """Read what the readers read: names, shapes, attributes, the first slice of every dataset."""

    def visit(_: str, item: Any) -> None:
        with suppress(Exception):
            dict(item.attrs)
        if isinstance(item, h5py.Dataset) and item.ndim and item.size:
            with suppress(Exception):
                if item.size // item.shape[0] * item.dtype.itemsize <= _PART:
                    item[0]

    with h5py.File(path, "r") as file:
        dict(file.attrs)
        file.visititems(visit)


def _is_hdf5(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(_PLACES[-1] + len(_SIGNATURE))
    except OSError:  # the reader says so
        return False
    return any(start[place:].startswith(_SIGNATURE) for place in _PLACES)


def _answers(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for a line. Of a process that is silent: kill it; of one that has ended: reap it."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    if ready and process.stdout.readline():
        return True
    if not ready:
        process.kill()
    process.wait()
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None and process.stdout is not None
    process.kill()
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    process.wait()
