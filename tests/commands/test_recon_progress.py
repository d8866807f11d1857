"""A reconstruction that takes long says how far it is, also where there is no terminal."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from small_comparisons import save

from csmri_ext.commands import reconstruct_file
from csmri_ext.commands.cli import main
from csmri_ext.progress import stage


def test_lines_without_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reconstruct_file, "stage", partial(stage, interval=1e-3))
    words = [
        "recon",
        save("a.npy", n_slices=1),
        "image.npy",
        "--method",
        "nasn_knee",
        "--mask",
        "equispaced",
        "--seed",
        "0",
    ]
    words += ["--adapt", "--adapt-steps", "3", "--error-map", "error.npy"]
    assert main(words) == 0
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("adapting: ") and " of 3, " in line and line.endswith(" left") for line in lines)
    assert any(line.startswith("reconstructing: ") and " of 7, " in line for line in lines)  # one slice, 1 + 6 times
    assert main([*words, "--quiet"]) == 0
    assert not capsys.readouterr().err
    Path("folder").mkdir()
    save("folder/a.npy", n_slices=1)
    assert main(["recon", "folder", "out", *words[3:9]]) == 0, "one progress at a time"
