from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning")

from baselines.experiments.tables import EXPERIMENTS
from csmri_ext.bridge.fourier import fft2c
from csmri_ext.commands import cli
from csmri_ext.errors import InputError
from csmri_ext.experiments.experiment import SIZES
from csmri_ext.experiments.images import prepare, volumes_of
from csmri_ext.experiments.tables import cost, print_experiment
from csmri_ext.phantom import phantom_volume, write_phantom


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


def lines_of(text: str, network: str) -> tuple[str, str]:
    """Ours, and the paper's below it."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{network} "))
    return lines[first], lines[first + 1]


# the whole way


@pytest.mark.slow
def test_knees_from_files_to_tables(capsys: pytest.CaptureFixture[str]) -> None:
    knees()
    words = ["reproduce", "nasn-nodes", "--data", "knees", "--networks", "nasn_2nodes", "--steps", "2", "--size", "32"]
    words += ["--steps-per-epoch", "1", "--out", "out", "--threads", "1"]
    assert cli.main([*words, "--estimate"]) == 0
    told = capsys.readouterr()
    assert "estimate: 0:0" in told.err and "nasn_2nodes 0:0" in told.err and not told.out
    assert not Path("out").exists(), "an estimate claims no folder"
    assert cli.main(words) == 0
    told = capsys.readouterr()
    assert "NasN, table 2: cells of two, three and four nodes" in told.out
    assert "random 4x and 8x (2 volumes, mean ± standard deviation over volumes)" in told.out
    ours, paper = lines_of(told.out, "nasn_2nodes")
    assert "107.7K" in ours and "11.37G" in ours
    printed = ["29.78 ± 6.696", "0.6201 ± 0.2684", "(5.148 ± 6.407)e-2", "(1.462 ± 3.046)e-10", "107.7K", "11.37G"]
    assert paper.split(maxsplit=1)[0] == "paper" and all(cell in paper for cell in printed)
    assert "note: ? 4 nodes: the printed 18.76G" in told.out
    with Path("out/table.csv").open(newline="") as file:
        table = {(row["network"], row["from"]): row for row in csv.DictReader(file)}
    assert (
        table["nasn_2nodes", "paper"]["mse"] == "1.462e-10"
        and table["nasn_2nodes", "ours"]["flops"] == str((107_712 + 3 * 1120) * 320 * 320)  # with the ReLUs
    )
    found = json.loads(Path("out/results.json").read_text())
    scored = {(row["method"], row["acceleration"]) for row in found["rows"]}
    assert scored == {(name, r) for name in ("zero-filled", "nasn_2nodes") for r in (4.0, 8.0)}
    assert "and 4 more: read as 2 slices x 32 x 32, axes slice y x, from fastMRI's format" in told.err
    notes = found["provenance"]["notes"]
    assert any("read as 2 slices x 32 x 32" in note for note in notes)
    for said in (
        "nasn_2nodes, random 4x and 8x: weights: nasn_2nodes.safetensors, sha256 ",
        "mask random 4x: 21.9 % of the samples",
    ):
        assert any(note.startswith(said) for note in notes) and f"\n{said}" in told.out
    split = found["provenance"]["settings"]["split"]
    assert sorted(name for names in split.values() for name in names) == [f"{i}.h5" for i in range(7)]
    assert {row["volume"] for row in found["rows"]} == set(split["test"])
    assert Path("out/results.csv").stat().st_size > 500
    starts = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}
    for stem in ("box_plots", "convergence", "panels_random_R4", "panels_random_R8"):
        assert all(Path(f"out/{stem}.{kind}").read_bytes().startswith(start) for kind, start in starts.items())
        assert f"out/{stem}.png, .pdf, .svg\n" in told.out
    # Again: everything is there, nothing is trained or tested.
    before = {path: path.stat().st_mtime_ns for path in Path("out/networks").rglob("*")}
    assert cli.main(words) == 0
    assert "4 results from before" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in Path("out/networks").rglob("*")}
    assert cli.main([*words, "--seed", "1"]) == 2
    said = capsys.readouterr().err
    assert "made with other settings" in said and "choose another --out, or replace it with --overwrite" in said
    kept = Path("knees/0.h5").rename("0.h5")
    write_phantom("knees/0.h5", 2, size=32, seed=70, anatomy="body", noise=0.003)
    assert cli.main(words) == 2
    assert "of the data 0.h5 is another file now" in capsys.readouterr().err
    kept.rename("knees/0.h5")
    for kind in starts:
        Path(f"out/panels_poisson_R3.{kind}").write_bytes(b"of an earlier table")
    Path("out/mine.txt").touch()
    assert cli.main([*words, "--seed", "1", "--overwrite"]) == 0
    assert "0 results from before" in capsys.readouterr().err
    assert json.loads(Path("out/results.json").read_text())["provenance"]["settings"]["seed"] == 1
    assert all(path.stat().st_mtime_ns != time for path, time in before.items() if path.is_file())
    assert not list(Path("out").glob("panels_poisson*")) and Path("out/mine.txt").exists()


@pytest.mark.slow
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
    found = json.loads(Path("out/results.json").read_text())["provenance"]["completeness"]
    assert found["headline"].startswith("Partial: 1 of 2 reconstructions finished; missing: ga_hqs_baseline3 at")
    assert cli.main(words) == 0
    told = capsys.readouterr()
    assert "1 results from before" in told.err  # zero-filled
    rows = json.loads(Path("out/results.json").read_text())["rows"]
    assert [(row["method"], row["slices"]) for row in rows] == [("zero-filled", 2), ("ga_hqs_baseline3", 2)]
    assert len(list(checkpoint.parent.glob("csv/part_*"))) == 2
    assert json.loads(checkpoint.with_name("summary.json").read_text())["steps"] == 3
    ours, paper = lines_of(told.out, "ga_hqs_baseline3")
    assert f"{rows[1]['psnr']:.2f}" in ours
    assert "35.042" in paper and "0.975" in paper
    (validated,) = checkpoint.parent.glob("csv/part_001/metrics.csv")
    assert "val_ssim" in validated.read_text()
    assert "the two tables do not agree with each other" in told.out


def test_an_interrupted_table_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    knees(3)
    words = ["reproduce", "nasn-nodes", "--data", "knees", "--methods", "nasn_2nodes", "--steps", "1", "--size", "32"]
    monkeypatch.setattr("csmri_ext.experiments.training.train", interrupted)
    assert cli.main([*words, "--slices", "1", "--out", "out", "--threads", "1"]) == 130
    told = capsys.readouterr().out
    assert told.startswith("Interrupted at ") and "1 of 2 reconstructions finished; missing: nasn_2nodes" in told
    found = json.loads(Path("out/results.json").read_text())["provenance"]
    assert found["stopped"]["by"] == "SIGINT" and not found["completeness"]["complete"]


def test_costs_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table asks for them at every setting, for the file and for the figures; GA-HQS takes a second each time."""
    from csmri_ext import complexity

    counted, count = [], complexity.count_flops
    monkeypatch.setattr("csmri_ext.experiments.tables._COSTS", {})
    monkeypatch.setattr(complexity, "count_flops", lambda *args, **words: counted.append(1) or count(*args, **words))
    sweep, table = EXPERIMENTS["nasn-cascades"], EXPERIMENTS["nasn-nodes"]
    costs = [cost(sweep, f"nasn_knee_{n}_cascades", real=False) for n in (1, 2, 1)]
    assert costs[0] == costs[2] != costs[1] and len(counted) == 2
    assert cost(table, "nasn_knee", real=False) == cost(table, "nasn_knee", real=True) and len(counted) == 3


def test_notes_say_which_rows_are_no_target(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    print_experiment(EXPERIMENTS["ga-hqs-table1"], [], "NIfTI", Console(width=200))
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
    dropped = prepare(Path("knees"), EXPERIMENTS["nasn-brain"], size=24, acquisitions=[])
    assert dropped.real
    np.testing.assert_allclose(dropped.train[0], np.abs(kept.train[0]), rtol=1e-6)


def test_volumes_to_test_are_the_images() -> None:
    knees(3)
    images = prepare(Path("knees"), EXPERIMENTS["nasn-table1"], size=32)
    (volume,) = volumes_of(images.test)
    np.testing.assert_allclose(volume.kspace([0, 1])[:, 0], [fft2c(images.test[i]) for i in (0, 1)], atol=1e-6)
    np.testing.assert_allclose(volume.target([1])[0], np.abs(images.test[1]))


# the data of the experiments


def test_scans_of_the_acquisition_and_as_many_as_the_paper_has() -> None:
    from csmri_ext.bridge import write_fastmri

    Path("knees").mkdir()
    kspace = fft2c(np.ones((3, 16, 16), np.complex64))
    for i in range(12):
        kind = "CORPDFS_FBK" if i % 2 else "CORPD_FBK"
        write_fastmri(f"knees/{i:02d}.h5", kspace, attrs={"patient_id": f"p{i // 2}", "acquisition": kind})
    images = prepare(Path("knees"), EXPERIMENTS["ga-hqs-table1"], size=16, slices=2)
    parts = images.describe()
    assert {int(Path(name).stem) % 2 for names in parts.values() for name in names} == {1}
    assert sum(map(len, parts.values())) == 6 and len(images.test) == 2 * len(parts["test"])
    with pytest.raises(InputError, match=r"none of 12 files is AXT2, they are CORPDFS_FBK, CORPD_FBK; --acq.* all"):
        prepare(Path("knees"), EXPERIMENTS["nasn-brain"], size=16)
    few = replace(EXPERIMENTS["nasn-table1"], split=(3.0, 1.0, 2.0), n_volumes=6)
    parts = prepare(Path("knees"), few, size=16).describe()
    assert [len(names) for names in parts.values()] == [3, 1, 2]  # of six patients with two scans each
    assert len({int(Path(name).stem) // 2 for names in parts.values() for name in names}) == 6


def test_coils_stay_apart_like_ours() -> None:
    Path("knees").mkdir()
    for i in range(3):
        write_phantom(f"knees/{i}.h5", 1, size=32, seed=i, anatomy="body", n_coils=4)
    apart = prepare(Path("knees"), EXPERIMENTS["nasn-table1"], size=32, coils=True)
    assert apart.test[0].shape == (4, 32, 32) and not apart.real
    (volume,) = volumes_of(apart.test)
    np.testing.assert_allclose(volume.target([0])[0], np.linalg.norm(apart.test[0], axis=0), rtol=1e-5)
    assert volume.acquisition.n_coils == 4
    assert prepare(Path("knees"), EXPERIMENTS["nasn-table1"], size=32).real


def test_papers_sizes() -> None:
    assert SIZES == {"fastMRI HDF5": 320, "NIfTI": 256}


# refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nasn-table2", "--data", "in"], "unknown experiment 'nasn-table2'; did you mean nasn-table1"),
        (["nasn-table1"], "--data"),
        (["nasn-table1", "--data", "in"], "no .h5, .nii, .nii.gz files below it"),
        (["nasn-nodes", "--data", "in", "--methods", "unet"], "unknown network of this experiment 'unet'"),
        (["nasn-nodes", "--data", "in", "--methods", ","], "--methods names none"),
        (["nasn-nodes", "--data", "in", "--size", "6"], "'6' is not a whole number of at least 16"),
        (["nasn-nodes", "--data", "in", "--workers", "-1"], "'-1' is not a whole number of at least 0"),
        (["nasn-nodes", "--data", "in", "--slices", "nan%"], "nan is not above 0"),
        (["nasn-nodes", "--data", "in", "--steps", "2", "--epochs", "1"], "not allowed with"),
        (["nasn-nodes", "--data", "in", "--acquisition", ","], "--acquisition names none"),
        (["nasn-nodes", "--data", "in", "--like", "theirs"], "invalid choice: 'theirs'"),
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


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_table_at_toy_size(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All networks and settings, one step each: every published column stands below ours, figures are there."""
    experiment = EXPERIMENTS[name]
    if "NIfTI" in experiment.scores:
        brains()
        data = "brains"
    else:
        knees(3)
        data = "knees"
    words = ["reproduce", name, "--data", data, "--acquisition", "all", "--size", "32", "--steps", "1", "--limit", "1"]
    assert cli.main([*words, "--out", "out", "--threads", "2"]) == 0
    told = capsys.readouterr().out
    images = "NIfTI" if data == "brains" else "fastMRI HDF5"
    shown = 0
    for scores in experiment.scores[images].values():
        for network, metrics in scores.items():
            assert all(str(score) in told for score in metrics.values()), network
            shown += 1
    assert shown and told.count(" paper ") >= shown
    for network, published in experiment.networks.items():
        assert f" {network} " in told
        assert published.parameters.rstrip("?") in told and published.flops.rstrip("?") in told
    kinds = {f"panels_{setting.mask}" for setting in experiment.settings}
    for ending in ("png", "pdf", "svg"):
        figures = {path.stem.partition("_R")[0] for path in Path("out").glob(f"*.{ending}")}
        assert figures == {"box_plots", "convergence", *kinds, *(("quality", "flops") if experiment.sweep else ())}


def test_like_ours_trains_with_phase_and_coils(capsys: pytest.CaptureFixture[str]) -> None:
    Path("knees").mkdir()
    for i in range(3):
        write_phantom(f"knees/{i}.h5", 1, size=64, seed=i, anatomy="body", n_coils=2)
    words = ["reproduce", "nasn-nodes", "--data", "knees", "--networks", "nasn_2nodes", "--epochs", "1", "--size", "64"]
    assert cli.main([*words, "--like", "ours", "--out", "out", "--threads", "1"]) == 0
    assert "nasn_2nodes" in capsys.readouterr().out
    run = json.loads(Path("out/networks/random_R4_R8/nasn_2nodes/run.json").read_text())
    assert run["recipe"]["phase"] > 0 and 8 in run["recipe"]["coils"] and run["recipe"]["masks"] == ["random"]
    assert run["recipe"]["steps"] == 1  # one slice, in batches of one
    assert run["overrides"] == {}
