"""Finished rows as they come, one line each, behind a lock: several processes may fill one folder of results."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

JOURNAL_FILE = "results.jsonl"
LOCK_FILE = ".lock"
_BEGINNINGS = (b'{"claim": ', b'{"row": ')
_FIRST = max(map(len, _BEGINNINGS))


class Journal:
    """Lines of JSON in ``results.jsonl``; whoever writes ``results.json`` takes them over and removes the file.

    Parameters
    ----------
    folder
        Of the results; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL_FILE
        self._lock = folder / LOCK_FILE

    def is_used(self) -> bool:
        """Whether a run of ours was in this folder."""
        return self._lock.exists()

    def marks(self) -> list[str]:
        """Name the journal where it is one of ours; it may have been cut off in its first line."""
        try:
            with self.path.open("rb") as file:
                begins = file.read(_FIRST)
        except OSError:
            return []
        ours = any(begins == begin[: len(begins)] for begin in _BEGINNINGS)
        return [JOURNAL_FILE] if ours else []

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock, which another process waits for: take it for as long as files are written.

        On a disk that knows no locks the body runs without one.
        """
        with self._lock.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError:
                yield
                return
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)

    def append(self, entry: dict[str, Any]) -> None:
        """Add one entry, on disk when this returns; call it with the lock held.

        A line that a killed process left unfinished is ended first, and stays unreadable on its own.
        """
        line = json.dumps(entry, allow_nan=False).encode() + b"\n"
        with self.path.open("ab+") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def entries(self) -> list[dict[str, Any]]:
        """Read all entries that are whole."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return []
        found = []
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # cut off when its process was killed
                continue
            if isinstance(entry, dict):
                found.append(entry)
        return found

    def clear(self) -> None:
        """Remove the file, once its rows are in ``results.json``; call it with the lock held."""
        self.path.unlink(missing_ok=True)

    def state(self) -> tuple[int, int]:
        """Say whether something was added since: a number of the file, and its size."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return 0, 0
        return status.st_ino, status.st_size
