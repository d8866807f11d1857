from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from csmri_ext.bridge import bart


def test_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/shm is used when it has room, otherwise the folder that Python chooses."""
    fake = tmp_path / "bart"
    fake.write_text('#!/bin/sh\ndirname "$2"\n')
    fake.chmod(0o755)
    shm, other = tmp_path / "shm", tmp_path / "other"
    shm.mkdir()
    other.mkdir()
    monkeypatch.setattr("csmri_ext.bridge.bart_program.process._RAM_DISK", shm)
    monkeypatch.setattr(tempfile, "tempdir", str(other))
    usage = type("Usage", (), {"free": 10**9})
    monkeypatch.setattr("csmri_ext.bridge.bart_program.process.shutil.disk_usage", lambda _: usage)
    where = Path(bart(["x"], np.ones(3), n_outputs=0, binary=fake).strip())
    assert where.parent == shm
    assert where.name.startswith("csmri_ext-bart-")
    usage.free = 10**6
    assert Path(bart(["x"], np.ones(3), n_outputs=0, binary=fake).strip()).parent == other
    monkeypatch.setattr("csmri_ext.bridge.bart_program.process._RAM_DISK", tmp_path / "missing")
    usage.free = 10**9
    assert Path(bart(["x"], np.ones(3), n_outputs=0, binary=fake).strip()).parent == other
    assert list(shm.iterdir()) + list(other.iterdir()) == []


@pytest.mark.parametrize("where", ["input", "argument"])
def test_room_for_inputs_and_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """What BART reads and what it may write has room, four times the inputs: 16 MB here, beside 64 MiB."""
    fake = tmp_path / "bart"
    fake.write_text('#!/bin/sh\ndirname "$2"\n')
    fake.chmod(0o755)
    for name in ("shm", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("csmri_ext.bridge.bart_program.process._RAM_DISK", tmp_path / "shm")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "other"))
    array = np.ones((500, 1000), np.complex64)
    for free, expected in ((64 * 2**20 + 15 * 10**6, "other"), (64 * 2**20 + 17 * 10**6, "shm")):
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr("csmri_ext.bridge.bart_program.process.shutil.disk_usage", lambda _, usage=usage: usage)
        words = (["x"], array) if where == "input" else (["x", array],)
        assert Path(bart(*words, n_outputs=0, binary=fake).strip()).parent.name == expected
