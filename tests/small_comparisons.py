"""Small comparisons for tests: inputs, the command, and what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from csmri_ext.commands import compare

FAST = ["--methods", "zero-filled,tv", "--tv-weight", "0.01", "--tv-iterations", "5"]


def images(n_slices: int = 2, size: int = 32, seed: int = 0) -> np.ndarray:
    blocks = np.random.default_rng(seed).random((n_slices, size // 4, size // 4)).astype(np.float32)
    return np.kron(blocks, np.ones((1, 4, 4), np.float32))


def save(name: str, **options: int) -> str:
    np.save(name, images(**options))
    return name


def results(folder: str = "comparison") -> dict:
    return json.loads((Path(folder) / "results.json").read_text())


def comparable(rows: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def run(*words: str) -> None:
    assert compare.main([*words]) == 0
