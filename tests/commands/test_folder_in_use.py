"""Two commands that would write over each other's files."""

from __future__ import annotations

from pathlib import Path

import pytest
from held_folders import held_by_another

from csmri_ext.commands import cli
from csmri_ext.phantom import write_phantom


@pytest.mark.parametrize("command", ["train --model hqs --steps 1 --size 16 --device cpu", "search --epochs 1"])
def test_a_second_command_is_told_and_leaves_the_folder_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    if command.startswith("train"):
        pytest.importorskip("lightning")
    (tmp_path / "data").mkdir()
    for seed in range(2):
        write_phantom(tmp_path / "data" / f"{seed}.h5", 1, size=32, seed=seed)
    with held_by_another(tmp_path / "run") as other:
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
        words = [*command.split(), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--quiet"]
        assert cli.main(words) == 2
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before
    assert (
        capsys.readouterr().err.splitlines()[-1].startswith(f"error: {tmp_path / 'run'}: in use by process {other.pid}")
    )
