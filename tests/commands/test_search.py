from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from held_folders import left_behind
from search_samples import draw_nothing

from csmri_ext.commands import search as command
from csmri_ext.data import open_images
from csmri_ext.models import read_genotype

TINY = "search --space A --nodes 1 --cells 1 --channels 2 --size 16 --epochs 2"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_a_folder_with_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    rng = np.random.default_rng(0)
    for i in range(5):
        np.save(f"images/subject{i}.npy", rng.random((2, 24, 20)).astype(np.float32))


def search(line: str) -> int:
    return command.main(f"{TINY} --data images {line}".split()[1:])


def test_files_give_a_cell(capsys: pytest.CaptureFixture[str]) -> None:
    assert search("--out here --steps 2") == 0
    shown = capsys.readouterr()
    assert "after 2 epochs" in shown.out and "node 0 = " in shown.out
    assert "10 slices of 5 volumes, 2 steps in an epoch" in shown.err
    assert len(read_genotype("here/genotype.json")) == 1
    assert Path("here/cells/epoch_002.svg").is_file()
    leftover = left_behind(Path("here/cells/epoch_001.png"))
    assert search("--out here --steps 2") == 0  # finished: nothing to do
    assert not leftover.exists()
    assert "epoch 3" in capsys.readouterr().err


def test_halves_share_no_volume() -> None:
    args = command.argument_parser("csmri search").parse_args(["--data", "images", "--seed", "3"])
    images = open_images(["images"])
    halves = command._halves(images, args)
    volumes = [{part.name for part in half.images.parts} for half in halves]
    assert not volumes[0] & volumes[1]
    assert volumes[0] | volumes[1] == {part.name for part in images.parts}
    assert len(halves[0]) == len(halves[1]) == 4  # two volumes of two slices in the smaller half
    again = command._halves(images, args)
    assert [{part.name for part in half.images.parts} for half in again] == volumes
    args.seed = 4
    others = command._halves(images, args)
    assert [{part.name for part in half.images.parts} for half in others] != volumes


def test_phantom_without_files(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_nothing(monkeypatch)
    assert command.main(f"{TINY} --volumes 2 --epochs 1 --steps 1".split()[1:]) == 0
    assert len(list(Path("phantom_images").glob("*.npy"))) == 2
    assert read_genotype("search/genotype.json")


@pytest.mark.slow
def test_killed_and_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"{TINY.removesuffix('--epochs 2')} --data images --steps 8 --epochs 3 --alpha-learning-rate 0.05"
    code = "import sys; from csmri_ext.commands.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *line.split(), "--out", "killed"], env=environment, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not Path("killed/cells/epoch_001.png").is_file():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Path("killed/cells/epoch_003.png").is_file(), "too late to kill it"
    draw_nothing(monkeypatch)
    words = line.split()[1:]
    assert command.main([*words, "--out", "killed"]) == 0
    assert command.main([*words, "--out", "whole"]) == 0
    for name in ("alphas.csv", "epochs.csv", "genotype.json"):
        assert Path("killed", name).read_bytes() == Path("whole", name).read_bytes(), name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--space C", "unknown search space 'C'; known: A, B, extended"),
        ("--space extend", "did you mean extended?"),
        ("--nodes 0", "--nodes: '0' is not a positive whole number"),
        ("--mask spiral", "expected kinds among"),
        ("--acceleration 0.5", "acceleration 0.5: it must be at least 1"),
        ("--slices 200%", "--slices: 200 is not above 0 and at most 100"),
        ("--steps-per-epoch 0", "--steps-per-epoch: '0' is not a positive whole number"),
        ("--size -1", "--size: '-1' is not a whole number of at least 0"),
        ("--volumes 0", "--volumes: '0' is not a positive whole number"),
        ("--data phantom images", "cannot be mixed"),
        ("--data nowhere", "nowhere"),
        ("--data images/subject0.npy", "one volume: the search needs at least two"),
        ("--warm-up 2", "warm-up of 2 epochs: expected 0 to 1"),
        ("--optimizer rprop", "invalid choice: 'rprop'"),
        ("--learning-rate -1", "--learning-rate: '-1' is not a positive number"),
    ],
)
def test_bad_input(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(words) == 2
    shown = capsys.readouterr().err
    *told, error = shown.splitlines()
    assert message in error
    assert all("read as" in line or line.startswith("warning: ") for line in told)


def test_another_search_in_the_same_folder(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    draw_nothing(monkeypatch)
    assert search("--steps 1 --epochs 1") == 0
    capsys.readouterr()
    assert search("--steps 1 --epochs 1 --space B") == 2
    assert "search holds a search with space A, not B: choose another folder" in capsys.readouterr().err
    assert search("--steps 1 --epochs 1 --masks equispaced_fraction") == 2
    assert "other data ('masks random' instead of 'masks equispaced_fraction')" in capsys.readouterr().err
    assert search("--steps 1 --epochs 1 --axes s,x,y") == 2
    assert "search holds a search with reading '', not '--axes s,x,y': choose another" in capsys.readouterr().err
