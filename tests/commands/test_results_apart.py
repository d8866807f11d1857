"""`csmri recon` writes over nothing that it reads, by whatever name, and no result over another; --overwrite or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_comparisons import save

from csmri_ext.bridge import write_cfl
from csmri_ext.commands.cli import main


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    before = {path: path.read_bytes() for path in Path().iterdir()}
    assert main(["recon", *words, "--method", "zero-filled", "--overwrite"]) == 2
    assert {path: path.read_bytes() for path in Path().iterdir()} == before
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize("source", ["scan", "scan.cfl", "scan.hdr", "./scan"])
@pytest.mark.parametrize("words", [["scan"], ["scan.cfl"], ["other", "--error-map", "scan"]], ids=" ".join)
def test_a_pair_of_bart_under_each_of_its_names(
    source: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_cfl("scan", np.load(save("a.npy", n_slices=1))[0].T[:, :, None])
    assert "scan.cfl is the input: choose another name for the result" in refused(capsys, source, *words)


def test_files_beside_the_input(capsys: pytest.CaptureFixture[str]) -> None:
    source = save("a.npy", n_slices=1)
    kspace = np.load(source)
    np.save("mask.npy", np.arange(kspace.shape[-1]) % 2 == 0)
    maps = np.ones(kspace.shape[-3:], np.complex64)
    np.save("maps.npy", maps)
    write_cfl("sens", maps.T[:, :, None])
    for option, file in (("--mask", "mask.npy"), ("--sens-maps", "maps.npy"), ("--sens-maps", "sens")):
        said = refused(capsys, source, file, option, file)
        assert f"is what {option} reads: choose another name for the result" in said
        assert f"is what {option} reads" in refused(capsys, source, "image.npy", "--error-map", file, option, file)


@pytest.mark.parametrize("names", [("image.npy", "image.npy"), ("image", "image.cfl"), ("image.npy", "./image.npy")])
def test_the_error_map_is_a_file_of_its_own(names: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    image, errors = names
    assert "--error-map needs a name of its own" in refused(
        capsys, save("a.npy", n_slices=1), image, "--error-map", errors
    )


def test_the_header_of_a_pair_is_an_input_too(capsys: pytest.CaptureFixture[str]) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Pair(np.ones((8, 8, 1), np.float32), np.eye(4)), "analyze.img")
    for source in ("analyze.img", "analyze.hdr"):
        assert "analyze.hdr is the input" in refused(capsys, source, "analyze", "--mask", "random")
    write_cfl("other", np.load(save("a.npy", n_slices=1))[0].T[:, :, None])
    Path("scan.hdr").write_text(f"{Path('other.hdr').read_text()}# Data\nother.cfl\n")
    assert "scan.hdr is the input" in refused(capsys, "scan", "scan")


def test_a_report_beside_results_of_somebody_else_stays(capsys: pytest.CaptureFixture[str]) -> None:
    source = save("a.npy", n_slices=1)
    for name, text in (("results.json", "[1]"), ("report.html", "mine")):
        Path(name).write_text(text)
    assert main(["compare", source, "--out", ".", "--methods", "zero-filled", "--overwrite"]) == 2
    assert "not a results file of this program" in capsys.readouterr().err
    assert Path("report.html").read_text() == "mine"
