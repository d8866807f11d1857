"""Kills at random moments: the same command goes on, and its result is that of an unbroken run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["recon", "compare", "train", "search", "reproduce"])
def test_killed_twice_and_finished(command: str) -> None:
    if command in ("train", "reproduce"):
        pytest.importorskip("lightning")
    words = [sys.executable, "-m", "benchmarks.kills", "--kills", "2", "--rounds", "2", "--commands", command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.splitlines()[-1].endswith("kills, 0 faults")
    assert int(done.stdout.splitlines()[-1].split()[0]) >= 2
