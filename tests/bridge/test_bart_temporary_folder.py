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
