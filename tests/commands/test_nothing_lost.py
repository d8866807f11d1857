"""No command replaces or removes an input, or a file of somebody else's; what it cannot do is said before it begins."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from small_comparisons import FAST, images, run, save

from csmri_ext.bridge import write_cfl
from csmri_ext.commands.cli import main

ZERO_FILLED = ["--methods", "zero-filled", "--mask", "random", "--acceleration", "4"]


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def everything() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file() and path.name != ".lock"}


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    before = everything()
    capsys.readouterr()
    assert main(list(words)) == 2
    assert everything() == before
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


# csmri compare


@pytest.mark.parametrize("more", [[], ["--overwrite"], ["--resume"]], ids=" ".join)
@pytest.mark.parametrize(
    "name",
    [
        *("results.csv", "slices.csv", "table.csv", "table.tex", "report.html", "results.jsonl"),
        *("images/boxplots.png", "recons/mine.cfl", "panels/mine.png"),
    ],
)
def test_a_comparison_replaces_no_file_of_somebody_else(
    name: str, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    source = save("a.npy", n_slices=1)
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("mine")
    assert f"holds {name}, which would be replaced" in refused(capsys, "compare", source, "--out", ".", *FAST, *more)
    assert not Path(".lock").exists()


def test_other_files_do_not_stop_a_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("images/photo.png", "notes.csv", "recons/read.me"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("mine")
    words = [save("a.npy", n_slices=1), *ZERO_FILLED, "--out", "."]
    run(*words)
    Path("recons/left.cfl").write_bytes(b"of a run that was killed before its row was kept")
    run(*words, "--overwrite")
    assert "resuming" not in capsys.readouterr().err
    run(*words)
    assert "resuming: 1 finished rows" in capsys.readouterr().err
    for name in ("images/photo.png", "notes.csv", "recons/read.me"):
        assert Path(name).read_text() == "mine"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison that is there, and masks and maps beside its results."""
    folder = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(save("a.npy", n_slices=1), *ZERO_FILLED, "--out", "o")
        write_cfl("o/recons/mask", (np.arange(32) % 2 == 0).reshape(1, 32))
        write_cfl("o/recons/maps", np.ones((32, 32, 1, 1)))
    return folder


@pytest.mark.parametrize("more", [[], ["--overwrite"]], ids=" ".join)
@pytest.mark.parametrize(
    ("words", "role"),
    [
        (["o/recons"], "an input"),
        (["linked.cfl"], "an input"),
        (["a.npy", "--tune-on", "o/recons"], "what --tune-on reads"),
        (["a.npy", "--mask", "o/recons/mask"], "what --mask reads"),
        (["a.npy", "--sens-maps", "o/recons/maps"], "what --sens-maps reads"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_comparison_does_not_remove_what_it_reads(
    words: list[str], role: str, more: list[str], compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(compared, ".", dirs_exist_ok=True)
    recon = next(Path("o/recons").glob("a.npy*.cfl"))
    Path("linked.cfl").symlink_to(recon)
    Path("linked.hdr").symlink_to(recon.with_suffix(".hdr"))
    said = refused(capsys, "compare", *words, "--out", "o", "--methods", "zero-filled", *more)
    assert f"is {role}: choose another --out than o" in said


# csmri recon of a folder


@pytest.mark.parametrize("kind", ["link", "hard link", "mask"])
@pytest.mark.parametrize("more", [[], ["--overwrite"]], ids=" ".join)
def test_a_folder_of_results_that_are_read(kind: str, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    Path("out").mkdir()
    words = ["recon", "in", "out", "--method", "zero-filled", "--format", ".npy", *more]
    if kind == "mask":
        np.save("in/m.npy", images(1))
        np.save("out/m.npy", np.arange(32) % 2 == 0)
        said = refused(capsys, *words, "--mask", "out/m.npy")
        assert "out/m.npy is what --mask reads: choose another place for the results" in said
        return
    np.save("out/m.npy", images(1))
    if kind == "link":
        Path("in/m.npy").symlink_to(Path("out/m.npy").resolve())
    else:
        os.link("out/m.npy", "in/m.npy")
    assert "out/m.npy is an input" in refused(capsys, *words, "--mask", "random")


# a disk that is full


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Files longer than `size` bytes cannot be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("ending", [".npy", ".cfl", ".h5", ".png", ".nii", ".nii.gz"])
def test_a_result_is_whole_or_the_earlier_one(ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    if ending.startswith(".nii"):
        pytest.importorskip("nibabel")
    save("a.npy", n_slices=3, size=64)
    words = ["recon", "a.npy", f"image{ending}", "--mask", "random", "--method", "zero-filled"]
    assert main([*words, "--seed", "1"]) == 0
    with full_disk(1000):
        said = refused(capsys, *words, "--seed", "2", "--overwrite")
    assert said.startswith("error: ") and f"image{ending}" in said


# what learns from images


LEARN = {
    "train": [
        "train",
        "--model",
        "nasn",
        "--steps",
        "1",
        "--steps-per-epoch",
        "1",
        "--batch-size",
        "1",
        "--size",
        "32",
    ],
    "search": ["search", "--epochs", "1", "--steps-per-epoch", "1", "--size", "32"],
}


def knee(folder: str, seed: int) -> str:
    path = Path(folder) / "knee"
    path.mkdir(parents=True)
    for i in range(3):
        np.save(path / f"{i}.npy", images(2, seed=seed + i))
    return str(path)


@pytest.mark.parametrize("command", LEARN)
def test_runs_do_not_lie_where_their_images_are_nor_replace_one(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("lightning")
    data = knee("a", 0)
    said = refused(capsys, *LEARN[command], "--data", data, "--out", data)
    assert "a/knee holds a/knee/0.npy and is searched for images" in said
    own = {"train": "curves.png", "search": "cell.png"}[command]
    Path("run").mkdir()
    Path("run", own).write_bytes(b"mine")
    said = refused(capsys, *LEARN[command], "--data", data, f"run/{own}", "--out", "run")
    assert f"run/{own} is an input: choose another --out" in said
    inside = {"train": "csv", "search": "cells"}[command]
    Path("run", inside).mkdir()
    Path("run", inside, "part_0.png" if command == "train" else "epoch_001.png").write_bytes(b"mine")
    assert "is an input: choose another --out" in refused(
        capsys, *LEARN[command], "--data", data, f"run/{inside}", "--out", "run"
    )


@pytest.mark.slow
@pytest.mark.parametrize("command", LEARN)
def test_other_images_of_the_same_names(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lightning")
    words = [*LEARN[command], "--device", "cpu", "--axes", "slice y x", "--slices", "50%", "--out", "run"]
    assert main([*words, "--data", knee("a", 0)]) == 0
    assert main([*words, "--data", knee("copied", 0)]) == 0
    inside = [*words[:-1], "copied/run"]
    assert main([*inside, "--data", "copied"]) == 0
    assert main([*inside, "--data", "copied"]) == 0  # not of its own figures
    capsys.readouterr()
    assert main([*words, "--data", knee("b", 7)]) == 2
    assert "on other data of this name (0.npy is another file now): choose another folder" in capsys.readouterr().err
