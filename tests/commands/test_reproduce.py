from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning")

from baselines.experiments.tables import EXPERIMENTS
from csmri_ext.bridge.fourier import fft2c
from csmri_ext.commands import cli
from csmri_ext.complexity import count_parameters
from csmri_ext.errors import InputError
from csmri_ext.experiments.experiment import SIZES
from csmri_ext.experiments.images import prepare, volumes_of
from csmri_ext.experiments.tables import print_experiment
from csmri_ext.models import build
from csmri_ext.phantom import phantom_volume, write_phantom
from csmri_ext.training import RECIPES


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def knees(count: int = 7, size: int = 32) -> None:
    Path("knees").mkdir()
    for i in range(count):
        write_phantom(f"knees/{i}.h5", 2, size=size, seed=i, anatomy="body", noise=0.003)


def brains(count: int = 4, size: int = 32) -> None:
    """Like IXI's: one file per subject, slices along the third axis; not square."""
    nibabel = pytest.importorskip("nibabel")
    Path("brains").mkdir()
    for i in range(count):
        volume = np.abs(phantom_volume(2, size, 40 + i, anatomy="brain"))[:, : size - 8]
        nibabel.save(nibabel.Nifti1Image(volume.transpose(2, 1, 0), np.eye(4)), f"brains/IXI{i:03d}-T2.nii.gz")


# the whole way


def test_knees_from_files_to_tables(capsys: pytest.CaptureFixture[str]) -> None:
    knees()
    words = ["reproduce", "nasn-nodes", "--data", "knees", "--networks", "nasn_2nodes", "--steps", "2", "--size", "32"]
    words += ["--steps-per-epoch", "1", "--out", "out", "--threads", "1"]
    assert cli.main(words) == 0
    told = capsys.readouterr()
    assert "NasN: cells of two, three and four nodes" in told.out
    assert "random 4x and 8x (2 volumes, mean ± standard deviation over volumes)" in told.out
    line = next(line for line in told.out.splitlines() if line.strip().startswith("nasn_2nodes"))
    assert "108 k" in line and "107.7K" in line and "11.37G" in line
    assert "published PSNR (dB), SSIM, NMSE, MSE: not in our notes" in told.out
    assert "note: FLOPs per slice, ours of 32 x 32, published of 320 x 320" in told.out
    assert "note: 4 nodes: the printed 18.76G" in told.out
    found = json.loads(Path("out/results.json").read_text())
    scored = {(row["method"], row["acceleration"]) for row in found["rows"]}
    assert scored == {(name, r) for name in ("zero-filled", "nasn_2nodes") for r in (4.0, 8.0)}
    split = found["provenance"]["settings"]["split"]
    assert sorted(name for names in split.values() for name in names) == [f"{i}.h5" for i in range(7)]
    assert {row["volume"] for row in found["rows"]} == set(split["test"])
    for name in ("results.csv", "box_plots.png", "convergence.png"):
        assert Path("out", name).stat().st_size > 500
    # Again: everything is there, nothing is trained or tested.
    before = {path: path.stat().st_mtime_ns for path in Path("out/networks").rglob("*")}
    assert cli.main(words) == 0
    assert "4 results from before" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in Path("out/networks").rglob("*")}
    assert cli.main([*words, "--seed", "1"]) == 2
    assert "made with other settings" in capsys.readouterr().err


def test_brains_from_nifti_killed_and_continued(capsys: pytest.CaptureFixture[str]) -> None:
    brains()
    words = ["reproduce", "ga-hqs-ablation", "--data", "brains", "--networks", "ga_hqs_baseline3", "--size", "32"]
    words += ["--steps", "3", "--steps-per-epoch", "1", "--out", "out", "--threads", "1"]
    code = "import sys; from csmri_ext.commands.cli import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        checkpoint = Path("out/networks/equispaced_fraction_R4/ga_hqs_baseline3/last.ckpt")
        while not checkpoint.is_file() and child.poll() is None:
            time.sleep(0.02)
        child.kill()
        child.communicate()
    assert checkpoint.is_file() and not checkpoint.with_name("ga_hqs_baseline3.safetensors").exists()
    assert cli.main(words) == 0
    told = capsys.readouterr()
    assert "1 results from before" in told.err  # zero-filled
    rows = json.loads(Path("out/results.json").read_text())["rows"]
    assert [(row["method"], row["slices"]) for row in rows] == [("zero-filled", 2), ("ga_hqs_baseline3", 2)]
    assert len(list(checkpoint.parent.glob("csv/part_*"))) == 2
    assert json.loads(checkpoint.with_name("summary.json").read_text())["steps"] == 3
    line = next(line for line in told.out.splitlines() if line.strip().startswith("ga_hqs_baseline3"))
    assert f"{rows[1]['psnr']:.2f}      35.042" in line
    assert "0.975" in line
    assert "published NMSE, MSE, parameters, FLOPs: not in our notes" in told.out
    assert "the two tables do not agree with each other" in told.out


def test_notes_say_which_rows_are_no_target(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    print_experiment(EXPERIMENTS["ga-hqs-table1"], [], "NIfTI", (256, 256), Console(width=200))
    assert "rows were mixed up and are no target" in capsys.readouterr().out


# images


def test_no_patient_is_in_two_parts() -> None:
    """Each patient has two files, as fastMRI's knees with and without fat suppression."""
    from csmri_ext.bridge import load, write_fastmri

    Path("knees").mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        kspace = fft2c((1 + rng.random((1, 16, 16))).astype(np.complex64))
        write_fastmri(f"knees/{i:02d}.h5", kspace, attrs={"patient_id": f"p{i % 6}"})
    images = prepare(Path("knees"), EXPERIMENTS["nasn-table1"], size=16)
    parts = [{part.name for part in one.parts} for one in (images.train, images.validation, images.test)]
    assert [len(part) for part in parts] == [8, 2, 2]
    patients = [{load(f"knees/{name}").attrs["patient_id"] for name in part} for part in parts]
    assert len(set.union(*patients)) == sum(map(len, patients)) == 6
    fewer = prepare(Path("knees"), EXPERIMENTS["nasn-table1"], size=16, n_patients=3)
    assert [len(one.parts) for one in (fewer.train, fewer.validation, fewer.test)] == [2, 2, 2]


def test_phases_stay_where_the_paper_keeps_them() -> None:
    knees(3)
    kept = prepare(Path("knees"), EXPERIMENTS["nasn-table1"], size=24)
    assert not kept.real and np.abs(kept.train[0].imag).max() > 0.01 * np.abs(kept.train[0]).max()
    dropped = prepare(Path("knees"), EXPERIMENTS["nasn-brain"], size=24)
    assert dropped.real
    np.testing.assert_allclose(dropped.train[0], np.abs(kept.train[0]), rtol=1e-6)


def test_volumes_to_test_are_the_images() -> None:
    knees(3)
    images = prepare(Path("knees"), EXPERIMENTS["nasn-table1"], size=32)
    (volume,) = volumes_of(images.test)
    np.testing.assert_allclose(volume.kspace([0, 1])[:, 0], [fft2c(images.test[i]) for i in (0, 1)], atol=1e-6)
    np.testing.assert_allclose(volume.target([1])[0], np.abs(images.test[1]))


# the data of the experiments


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_published_counts_are_ours(name: str) -> None:
    """To the printed digits, but for the one that we call a misprint."""
    experiment = EXPERIMENTS[name]
    assert experiment.recipe in RECIPES
    for network, published in experiment.networks.items():
        if published.parameters and (network, published.parameters) != ("modl11", "204.3K"):
            ours = count_parameters(build(network, experiment.overrides(network, real=True)))
            scale = {"M": 1e6, "K": 1e3}[published.parameters[-1]]
            digits = len(published.parameters.split(".")[-1]) - 1 if "." in published.parameters else 0
            assert abs(ours / scale - float(published.parameters[:-1])) <= 0.75 * 10**-digits, network
        titles = {setting.title for setting in experiment.settings}
        assert set(published.psnr) | set(published.ssim) <= titles


def test_papers_sizes() -> None:
    assert SIZES == {"fastMRI HDF5": 320, "NIfTI": 256}


# refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nasn-table2", "--data", "in"], "unknown experiment 'nasn-table2'; did you mean nasn-table1"),
        (["nasn-table1"], "--data"),
        (["nasn-table1", "--data", "in"], "no .h5, .nii, .nii.gz files below it"),
        (["nasn-nodes", "--data", "in", "--networks", "unet"], "unknown network of this experiment 'unet'"),
        (["nasn-nodes", "--data", "in", "--networks", ","], "--networks names none"),
    ],
)
def test_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    assert cli.main(["reproduce", *words]) == 2
    assert message in capsys.readouterr().err
    assert not Path("reproduced").exists()


def test_too_few_patients_and_mixed_formats() -> None:
    knees(2)
    with pytest.raises(InputError, match="2 patients: training, validation and test need at least one each"):
        prepare(Path("knees"), EXPERIMENTS["nasn-table1"])
    brains(1)
    Path("brains").rename("knees/brains")
    with pytest.raises(InputError, match="holds NIfTI and fastMRI HDF5"):
        prepare(Path("knees"), EXPERIMENTS["nasn-table1"])
