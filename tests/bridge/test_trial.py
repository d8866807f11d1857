"""Files that the HDF5 library never comes back from, or crashes on: another process opens each first."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pytest

from csmri_ext.bridge import FileFormatError, trial
from csmri_ext.bridge.load import Files
from csmri_ext.commands.cli import main

STUB = """
import os, time
import h5py

class File(h5py.File):
    def __init__(self, name, *args, **kwargs):
        while "hangs" in str(name):
            time.sleep(1)
        if "crashes" in str(name):
            os.abort()
        super().__init__(name, *args, **kwargs)

h5py.File = File
"""


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Three files; the library of the other process hangs on one and crashes on another. The limit is a second."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub/sitecustomize.py").write_text(STUB)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stub"))
    rng = np.random.default_rng(0)
    (tmp_path / "scans").mkdir()
    for name in ("a_hangs", "b_crashes", "c_good"):
        with h5py.File(tmp_path / f"scans/{name}.h5", "w") as file:
            file["kspace"] = (rng.normal(size=(1, 16, 16)) + 1j * rng.normal(size=(1, 16, 16))).astype(np.complex64)
            file.attrs["acquisition"] = "AXT2"
    own = trial.Trial(1.0)
    monkeypatch.setattr(import_module("csmri_ext.bridge.load"), "shared_trial", lambda: own)
    yield tmp_path / "scans"
    own.close()


def test_one_file_does_not_cost_the_others(scans: Path) -> None:
    files = Files().of_many()
    with pytest.raises(FileFormatError, match=r"a_hangs\.h5: the HDF5 library has not come back .* in 1 seconds"):
        files.open(scans / "a_hangs.h5")
    with pytest.raises(FileFormatError, match=r"b_crashes\.h5: the HDF5 library crashes on this file"):
        files.open(scans / "b_crashes.h5")
    assert files.open(scans / "c_good.h5")[0].n_slices == 1
    process = files.trial and files.trial._process
    damaged = scans / "damaged.h5"
    damaged.write_bytes((scans / "c_good.h5").read_bytes()[:300])
    with pytest.raises(FileFormatError, match="not a readable"):
        files.open(damaged)
    assert files.trial is not None and files.trial._process is process, "one process serves all good files"


def test_recon_of_a_folder_goes_on(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recon", "scans", "out", "--method", "zero-filled", "--format", ".npy"]) == 2
    said = capsys.readouterr()
    assert [path.name for path in Path("out").glob("*.npy")] == ["c_good.npy"]
    assert "1 file reconstructed, 0 done before, 2 failed" in said.out
    assert "failed: scans/a_hangs.h5: " in said.err and "failed: scans/b_crashes.h5: " in said.err


def test_other_formats_are_not_tried(tmp_path: Path) -> None:
    np.save(tmp_path / "a_hangs.npy", np.ones(3))
    own = trial.Trial(0.0)
    own.check(tmp_path / "a_hangs.npy")
    own.check(tmp_path / "none.h5")
    assert own._process is None
