"""Files that are written as a whole, and what a killed process leaves of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from csmri_ext.bridge import atomic
from csmri_ext.bridge.atomic import clear_leftovers, replacing, temporary_name

ROOT = Path(__file__).parents[2]


def test_new_content_appears_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert [file.read_text() for file in tmp_path.iterdir()] == ["new"]


def test_content_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("content"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *paths: (order.append("name"), replace(*paths)))
    with replacing(tmp_path / "x") as temporary:
        temporary.write_text("x")
    assert order == ["content", "name", "content"], "the file, its name, then the folder that holds the name"


@pytest.mark.parametrize("name", ["a" * 250, "é" * 125])
def test_long_names_have_room_for_their_temporary_name(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("x")
    assert (tmp_path / name).read_text() == "x"


def killed_while_writing(path: Path) -> None:
    code = f"""if True:
    import os, signal
    from csmri_ext.bridge.atomic import replacing
    with replacing({str(path)!r}) as temporary:
        temporary.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == -signal.SIGKILL


def test_files_of_dead_processes_are_cleared_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    killed_while_writing(tmp_path / "a.h5")
    killed_while_writing(tmp_path / "below" / "b.h5")
    mine = temporary_name(tmp_path / "a.h5")
    others = [mine, tmp_path / ".notes.tmp", tmp_path / "c.1.tmp", tmp_path / ".d.h5.1.tmp"]  # process 1 runs
    for path in others:
        path.write_text("keep")
    assert len(clear_leftovers(tmp_path)) == 1
    assert len(clear_leftovers(tmp_path, recursive=True)) == 1
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(others)
    assert clear_leftovers(tmp_path / "missing") == []


def test_on_a_shared_disk_only_what_is_old_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process may run on another machine."""
    monkeypatch.setattr(atomic, "_is_shared", lambda folder: True)
    killed_while_writing(tmp_path / "a.h5")
    (leftover,) = tmp_path.iterdir()
    assert clear_leftovers(tmp_path) == []
    old = time.time() - 2 * 3600
    os.utime(leftover, (old, old))
    assert clear_leftovers(tmp_path) == [leftover]


def test_type_of_the_file_system_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path.stat().st_dev
    line = f"9 1 {os.major(device)}:{os.minor(device)} / / rw - {{}} server:/export rw"
    for system, shared in (("nfs4", True), ("ext4", False), ("fuse.sshfs", True), ("tmpfs", False), ("lustre", True)):
        monkeypatch.setattr(Path, "read_text", lambda *_, system=system, **__: line.format(system))
        assert atomic._is_shared(tmp_path) is shared
