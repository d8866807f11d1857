"""The commands that train and search print work as they stand."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from csmri_ext.bridge import to_bart, write_cfl
from csmri_ext.commands.cli import main
from csmri_ext.commands.next_steps import after_search, after_training, held_out
from csmri_ext.phantom import phantom_acquisition
from csmri_ext.physics import make_mask

QUICK = shlex.split(
    "--model nasn_2nodes --set cascades=1 cells=1 channels=8 --steps 1 --batch-size 1 --steps-per-epoch 1 "
    "--validate-every 1 --validation-slices 1 --device cpu --threads 1"
)
READ = {
    **dict.fromkeys(("axes", "key", "domain", "plane", "volume", "frames", "phase_encoding", "force")),
    "plugin": [],
    "slices": None,
}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def scan(seed: int, coils: int = 4) -> np.ndarray:
    return np.asarray(phantom_acquisition(1, 32, seed=seed, n_coils=coils, noise=0.002).kspace)


def printed(told: str) -> dict[str, list[str]]:
    """Words of the commands by the name of the command, without ``csmri``."""
    commands = [shlex.split(line.partition(":")[2])[1:] for line in told.splitlines() if ": " in line]
    return {words[0]: words for words in commands if words}


def test_of_files_that_need_to_be_told_how_they_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    """The axes of a bare array are part of the command; compared is what the network has not learnt from."""
    for i in range(3):
        np.save(f"my scan {i}.npy", np.moveaxis(scan(i)[0], 0, -1))  # y x coil
    read = ["--axes", "y x coil"]
    files = [f"my scan {i}.npy" for i in range(3)]
    masks = shlex.split("--mask equispaced --acceleration 2")
    assert main(["train", *QUICK, "--data", *files, *read, "--coils", "4", *masks]) == 0
    commands = printed(capsys.readouterr().out)
    assert commands["recon"][1] in files
    assert commands["compare"][1] == commands["recon"][1]
    assert sum(file in commands["compare"] for file in files) == 1
    for words in commands.values():
        assert main(words) == 0, words
        assert main(words) == 0, "a second time"
    assert Path("runs/nasn_2nodes/image.h5").is_file()
    assert Path("runs/nasn_2nodes/comparison/report.html").is_file()


def test_of_undersampled_scans(capsys: pytest.CaptureFixture[str]) -> None:
    Path("scans").mkdir()
    for i in range(2):
        kspace = scan(i)
        mask = make_mask("poisson", kspace.shape, 2, seed=i).numpy()
        write_cfl(f"scans/s{i}", to_bart((kspace * mask).astype(np.complex64)))
    assert main(["train", *QUICK, "--self-supervised", "--data", "scans"]) == 0
    commands = printed(capsys.readouterr().out)
    for words in commands.values():
        assert "--mask" not in words
        assert words[1] in ("scans/s0.cfl", "scans/s1.cfl")
    assert main(commands["recon"]) == 0


def test_words() -> None:
    weights = Path("runs/a/nasn.safetensors")
    told = after_training(weights, [], ["random", "poisson", "random"], [4, 8.5], Namespace(**READ))
    assert printed(told) == {
        "recon": shlex.split("recon SCAN.h5 IMAGE.h5 --weights runs/a/nasn.safetensors"),
        "compare": shlex.split(
            "compare --methods zero-filled,tv,runs/a/nasn.safetensors --out runs/a/comparison "
            "--mask random poisson --acceleration 4 8.5"
        ),
    }
    np.save("mask.npy", np.ones(4, bool))
    Path("more").mkdir()
    read = {"axes": "y x", "frames": (0, 2), "force": True, "slices": 0.25, "plugin": ["a:b"]}
    told = after_training(weights, ["more"], ["mask.npy"], [4], Namespace(**READ | read))
    rest = ["--slices", "25%", "--axes", "y x", "--frames", "0,2", "--force"]
    start = shlex.split("recon more runs/a/images --weights runs/a/nasn.safetensors --plugin a:b --mask mask.npy")
    assert printed(told)["recon"] == [*start, *rest]
    assert printed(told)["compare"][-len(rest) :] == rest


def test_files_of_volumes_with_frames() -> None:
    Path("in").mkdir()
    for name in ("a.npy", "b.npy", "ab.npy"):
        np.save(f"in/{name}", np.zeros((2, 2)))
    assert held_out(["in"], ["b.npy frame 1", "b.npy frame 3", "ab.npy"]) == ["in/ab.npy", "in/b.npy"]


def test_after_a_search() -> None:
    words = printed(after_search(Path("found/genotype.json"), Namespace(**READ, data=["phantom"])))
    assert words == {"train": shlex.split("train --genotype found/genotype.json")}
    searched = Namespace(**READ | {"key": "k", "slices": 4}, data=["x.h5", "y z.h5"])
    words = printed(after_search(Path("g.json"), searched))
    told = shlex.split("train --genotype g.json --data x.h5 'y z.h5' --slices 4 --key k")
    assert words == {"train": told}
