"""`csmri reproduce --mask`: some of a table's masks."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("lightning")

from csmri_ext.commands import cli
from csmri_ext.phantom import write_phantom


def test_some_masks_of_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("knees").mkdir()
    for i in range(3):
        write_phantom(f"knees/{i}.h5", 1, size=32, seed=i, anatomy="body")
    words = ["reproduce", "ga-hqs-table1", "--data", "knees", "--acquisition", "all", "--methods", "hqs_net"]
    words += ["--size", "32", "--steps", "1", "--threads", "1", "--out", "out"]
    assert cli.main([*words, "--mask", "radial_golden 8x, random 4x"]) == 0
    told = capsys.readouterr().out
    assert told.index("radial_golden 8x") < told.index("random 4x") and "equispaced_fraction" not in told
    assert {path.name for path in Path("out/networks").iterdir()} == {"radial_golden_R8", "random_R4"}
    assert cli.main([*words, "--mask", "random 5x"]) == 2
    told = capsys.readouterr().err
    assert "unknown mask of this experiment 'random 5x'; did you mean random 8x or random 4x?" in told
