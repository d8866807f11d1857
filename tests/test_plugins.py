"""Networks of other packages join by an entry point; one that does not load costs a line and its own networks only."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from csmri_ext.plugins import GROUP, _load

ROOT = Path(__file__).parents[1]


def test_a_folder_of_ones_own_called_baselines(tmp_path: Path) -> None:
    """`python -m csmri_ext compare` looks into the working folder first: it says where it looked, and goes on."""
    info = tmp_path / "installed-1.0.dist-info"  # as pip leaves it: the tree alone has no entry points
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nbaselines = baselines.networks:register\n")
    own = tmp_path / "baselines" / "__init__.py"
    own.parent.mkdir()
    own.touch()
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((1, 24, 32), np.float32))
    command = [sys.executable, "-m", "csmri_ext", "compare", "a.npy", "--methods", "zero-filled", "--out", "out"]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/report.html").is_file()
    lines = {line for line in done.stderr.splitlines() if "baselines" in line}
    assert lines == {
        "note: no methods from baselines (baselines.networks:register): No module named 'baselines.networks'; "
        f"Python found baselines at {own}"
    }


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "baselines"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "baselines", None)
    _load(EntryPoint("baselines", "baselines.networks:register", GROUP))
    said = capsys.readouterr().err
    assert said.startswith("note: no methods from baselines (baselines.networks:register): ")
    assert said.count("\n") == 1
