"""`pip install .` in an empty environment: isolated, without torch, and the wheel holds both packages and the core."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import csmri_ext
from csmri_ext import _core

ROOT = Path(__file__).parents[1]


def test_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert csmri_ext.__version__ == version == _core.build_info()["version"]
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [
        d for extra in ("test", "lint", "nifti") for d in project["optional-dependencies"][extra]
    ]
    pinned = {
        line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    }
    names = {re.split(r"[<>=\[ ]", d)[0].lower() for d in wanted}
    assert names <= pinned, f"constraints.txt lacks {sorted(names - pinned)}"
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text()


@pytest.mark.slow
def test_wheel_builds_in_isolation_without_torch(tmp_path: Path) -> None:
    """The build environment holds scikit-build-core and pybind11, nothing of ours and no torch."""
    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty" / "bin" / "python"
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    command = [
        python,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--wheel-dir",
        tmp_path,
        ROOT,
        "-v",
        "-Ccmake.define.CSMRI_CUDA=OFF",
        f"-Cbuild-dir={tmp_path / 'build'}",
    ]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-4000:]
    assert not re.search(r"(Collecting|Downloading) torch", done.stdout)
    (wheel,) = tmp_path.glob("csmri_ext-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(n.startswith("csmri_ext/_core") and n.endswith(".so") for n in names)
    assert {"csmri_ext/py.typed", "baselines/compare.py", "baselines/templates/report.html.j2"} <= set(names)
    assert not [n for n in names if n.startswith(("tests/", "benchmarks/", "csrc/"))]
    # The wheel loads where torch is absent, as far as the bridge and the core go.
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], env=environment, check=True)
    code = "import csmri_ext._core as c; print(c.build_info()['cuda'])"
    run = subprocess.run([python, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.stdout.strip() == "None", run.stderr


def test_console_script_is_installed() -> None:
    run = subprocess.run([Path(sys.executable).parent / "csmri", "--help"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert {"recon", "compare", "doctor"} <= set(re.findall(r"\w+", run.stdout))
