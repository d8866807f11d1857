from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from csmri_ext.report import provenance
from csmri_ext.report.rows import Row


def test_paths_do_not_name_the_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home" / "jane"
    (home / "work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "work")
    assert provenance.shareable("../data/a.png") == "../data/a.png"
    assert provenance.shareable(home / "work" / "a.png") == "a.png"
    assert provenance.shareable(home / "data" / "a.png") == "~/data/a.png"
    assert provenance.shareable("/mnt/jane/a.png") == ".../a.png"


def test_command_line_can_be_repeated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["a b.png", str(tmp_path / "c.png"), f"--out={tmp_path / 'out'}", "--acceleration", "4"]
    line = provenance.command_line("csmri compare", words)
    assert line == "csmri compare 'a b.png' c.png --out=out --acceleration 4"


def test_file_hash_is_that_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000  # more than one block
    (tmp_path / "f").write_bytes(data)
    assert provenance.file_sha256(tmp_path / "f") == hashlib.sha256(data).hexdigest()


def test_environment_names_versions_and_machine_but_no_person() -> None:
    facts = provenance.environment(None)
    for key in ("csmri_ext", "python", "torch", "numpy", "simd", "date", "machine"):
        assert facts[key], key
    assert facts["bart"] is None
    assert str(Path.home()) not in str(facts)


def test_bart_version_is_recorded(bart_binary: str) -> None:
    assert provenance.environment(bart_binary)["bart"].startswith("v")


def test_bart_arguments_come_from_the_rows() -> None:
    common = {"mask": "m", "acceleration": 4.0, "volume": "v", "slices": 1, "seconds": 0.0, "parameters": 0}
    empty = dict.fromkeys(("mse", "nmse", "psnr", "ssim", "flops"))
    rows = [Row("tv", **common, **empty), Row("tv-bart", **common, **empty, details={"bart_argv": ["bart", "pics"]})]
    assert provenance.bart_arguments(rows) == {"tv-bart": ["bart", "pics"]}
