"""A few hundred damaged files of every format: read, or refused in one line. `benchmarks.fuzz_readers` has a budget."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # benchmarks are not installed

from benchmarks import fuzz_readers
from benchmarks.fuzz_files import damage, make_files
from benchmarks.fuzz_readers import Reader, Results, fuzz


def test_damaged_files(tmp_path: Path) -> None:
    found = fuzz(tmp_path, seed=20, cases=420, seconds=None)
    assert not found.faults, found.table()
    assert sum(counts["read"] for counts in found.counts.values()) > 40, "damage beside the point is survived"


def test_damage_is_the_same_for_a_seed(tmp_path: Path) -> None:
    content = make_files(tmp_path)[".npy"].read_bytes()
    made = [damage(content, content[::-1], np.random.default_rng([1, case])) for case in (0, 0, 1)]
    assert made[0] == made[1] != made[2]
    assert made[0] != content


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("raise KeyError(path.name)", "KeyError: "),
        ("import os; os.abort()", "the process ended with -6"),
        ("while True: pass", "no end in 1 s"),
        ("import numpy; numpy.ones(2**31)", "MemoryError"),
    ],
)
def test_faults_are_seen(code: str, outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of a reader with this fault."""
    lines = ("from benchmarks import fuzz_readers as f", "def read(path):", f"    {code}", "f.read_everything = read")
    monkeypatch.setattr(fuzz_readers, "SERVER", ["-c", "\n".join((*lines, "f.serve()"))])
    monkeypatch.setattr(fuzz_readers, "LIMIT", 1.0)
    reader, found = Reader(), Results()
    try:
        found.count(".npy", 7, reader.outcome(tmp_path / "file.npy"))
    finally:
        reader.close()
    assert found.faults and found.faults[0][2].startswith(outcome)
    assert "fault: case 7 .npy" in found.table()
