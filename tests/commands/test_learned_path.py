"""From files of several coils to a better image by the commands alone: search, train, recon, compare."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_comparisons import results

from csmri_ext.bridge import read_cfl, write_cfl
from csmri_ext.bridge.fourier import fft2c
from csmri_ext.commands.cli import main
from csmri_ext.models import read_description
from csmri_ext.phantom import coil_maps, phantom_volume, write_phantom
from csmri_ext.physics import make_mask

SHORT = [
    "--steps-per-epoch",
    "2",
    "--validate-every",
    "1",
    "--validation-slices",
    "1",
    "--device",
    "cpu",
    "--threads",
    "1",
]
MASK = ["--mask", "random", "--acceleration", "2", "--seed", "0"]


def csmri(line: str, *more: str) -> None:
    assert main([*line.split(), *more]) == 0, line


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scans").mkdir()


def test_search_train_recon_compare(capsys: pytest.CaptureFixture[str]) -> None:
    for seed, coils in enumerate((4, 4, 3)):
        write_phantom(f"scans/subject_{seed}.h5", 1, size=40, seed=seed, n_coils=coils, noise=0.005)
    search = "search --data scans --coils 4 --nodes 1 --cells 1 --channels 4 --size 0 --epochs 1 --steps 2"
    csmri(f"{search} --accelerations 2 --noise 0.001 0.01 --out found")
    assert "csmri train --genotype found/genotype.json --data scans\n" in capsys.readouterr().out
    train = "train --genotype found/genotype.json --set cascades=1 cells=1 channels=8 --data scans"
    csmri(f"{train} --recipe measured --steps 6 --batch-size 2 --strip 16 --sizes 32 --accelerations 2", *SHORT)
    weights = "runs/nasn/nasn.safetensors"
    told = capsys.readouterr().out
    assert "csmri recon scans/subject_" in told
    assert f"runs/nasn/image.h5 --weights {weights}" in told
    csmri(f"recon scans/subject_0.h5 image.h5 --weights {weights}", *MASK)
    csmri(f"compare scans/subject_0.h5 --methods zero-filled,{weights}", *MASK)
    rows = {row["method"]: row for row in results()["rows"]}
    assert list(rows) == ["zero-filled", "nasn"]
    assert np.isfinite(rows["nasn"]["psnr"])
    assert rows["nasn"]["details"]["sens_maps"]
    (facts,) = results()["provenance"]["networks"]
    assert facts["architecture"] == "nasn"
    assert facts["recipe"]["coils"] == [1, 1, 1, 4, 8, 12]
    csmri(f"info {weights}")
    assert "nasn, trained on scans" in capsys.readouterr().out


def undersampled(name: str, seed: int, coils: int = 4, size: int = 48) -> None:
    """A .cfl as BART has it, (nx, ny, 1, coils), without any reference."""
    image = phantom_volume(1, size, seed, processed=False, noise=0.002)[0]
    mask = make_mask("random", (size, size), 2, 0.2, seed=seed).numpy()
    kspace = fft2c(coil_maps(size, coils, seed) * image) * mask
    write_cfl(f"scans/{name}.cfl", np.ascontiguousarray(kspace.T)[:, :, None].astype(np.complex64))


def test_without_a_reference(capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(3):
        undersampled(f"scan_{seed}", seed)
    small = "--model nasn_2nodes --set cascades=1 cells=1 channels=8"
    csmri(f"train --self-supervised {small} --data scans --steps 8 --batch-size 2 --splits 2", *SHORT)
    weights = "runs/nasn_2nodes/nasn_2nodes.safetensors"
    described = read_description(weights)
    assert described.recipe["loss"] == "kspace"
    assert 0 < described.run["val_residual"] < 2
    assert Path("runs/nasn_2nodes/curves.png").is_file()
    capsys.readouterr()
    adapt = "--adapt --adapt-steps 10 --error-map error.cfl"
    csmri(f"recon scans/scan_0.cfl image.cfl --weights {weights} {adapt}")
    told = capsys.readouterr().out
    assert "held-back residual" in told
    start, end = (float(word) for word in told.split("held-back residual ")[1].split(",")[0].split(" -> "))
    assert end <= start
    image, error = (np.abs(read_cfl(name)) for name in ("image.cfl", "error.cfl"))
    assert image.shape == error.shape
    assert 0 < error.mean() < image.mean()
    csmri(f"recon scans/scan_0.cfl plain.cfl --weights {weights}")
    assert not np.allclose(np.abs(read_cfl("plain.cfl")), image) or end == start
    assert main(["recon", "scans/scan_0.cfl", "a.cfl", "--method", "tv", "--adapt"]) == 2
    assert "--adapt is for networks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--self-supervised", "give --data FILES"),
        ("--self-supervised --recipe phantom", "leave out --recipe phantom"),
        ("--self-supervised --loss l1 --data scans", "kspace is the loss of --self-supervised"),
        ("--loss kspace --data scans", "kspace is the loss of --self-supervised"),
        ("--data scans", "--self-supervised needs none"),
    ],
)
def test_bad_words(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(2):
        undersampled(f"scan_{seed}", seed, coils=1)
    assert main(["train", "--model", "nasn_2nodes", *words.split(), "--steps", "1"]) == 2
    assert message in capsys.readouterr().err
