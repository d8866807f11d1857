"""Every script of examples/ runs from top to bottom in an empty folder, prints a result and saves a picture."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script(script: Path, tmp_path: Path) -> None:
    environment = os.environ | {"MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    with Image.open(tmp_path / "example_output" / f"{script.stem}.png") as picture:
        low, high = picture.convert("L").getextrema()
        assert min(picture.size) > 100
        assert high - low > 100, "the picture shows something"


def test_each_is_a_page_and_listed() -> None:
    listed = (ROOT / "examples" / "README.md").read_text()
    assert len(SCRIPTS) >= 6
    for script in SCRIPTS:
        assert script.name in listed
        assert len(script.read_text().splitlines()) <= 110


def test_scripts_are_notebooks(tmp_path: Path) -> None:
    jupytext = pytest.importorskip("jupytext")
    for script in SCRIPTS:
        notebook = jupytext.read(script)
        kinds = [cell.cell_type for cell in notebook.cells]
        assert kinds[0] == "markdown"
        assert "code" in kinds
