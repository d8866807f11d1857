"""Two processes that want one folder: a training, a search."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from pathlib import Path

import pytest
from held_folders import held_by_another

from csmri_ext.bridge.folder_lock import LOCK_FILE, working_alone


def test_one_process_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    with held_by_another(folder) as other:
        told = f"in use by process {other.pid} on {platform.node()}: wait until that has ended, or choose another"
        with pytest.raises(OSError, match=told), working_alone(folder):
            raise AssertionError
        other.kill()
        other.wait()
        with working_alone(folder):  # though a process that it has forked lives on
            assert (folder / LOCK_FILE).read_text() == f"process {os.getpid()} on {platform.node()}\n"


def test_a_disk_without_locks_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    worked = []
    with working_alone(tmp_path):
        worked.append(True)
    assert worked
