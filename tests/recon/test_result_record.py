"""What a reconstruction says about how it was made, and what becomes of it when the command changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from csmri_ext.bridge import load, read_cfl_header, write_cfl, write_fastmri
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.fourier import fft2c
from csmri_ext.bridge.result_records import as_json, h5_attributes, nifti_extension, npy_line, read_record
from csmri_ext.commands import cli
from csmri_ext.phantom.subjects import phantom_acquisition
from csmri_ext.recon import methods

ROOT = Path(__file__).parents[2]
ENDINGS = (".h5", ".cfl", ".png", ".npy")
MASK = ["--mask", "equispaced_fraction", "--acceleration", "2", "--center-fraction", "0.25", "--seed", "3"]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def image(seed: int = 0) -> np.ndarray:
    return (1 + np.random.default_rng(seed).random((2, 16, 16))).astype(np.complex64)


def scans(count: int = 3) -> None:
    Path("in").mkdir()
    for i in range(count):
        np.save(f"in/{i}.npy", fft2c(image(i)))


def recon(*words: str, code: int = 0) -> None:
    assert cli.main(["recon", *words]) == code


def contents(folder: str) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_keeps_the_record(ending: str) -> None:
    np.save("in.npy", fft2c(image()))
    recon("in.npy", f"out{ending}", "--method", "tv", "--tv-weight", "0.02", *MASK)
    record = read_record(f"out{ending}")
    assert record is not None
    assert record["command"].startswith(f"csmri recon in.npy out{ending} --method tv --tv-weight 0.02")
    assert record["method"] == "tv"
    assert record["version"]
    assert record["weights"] is None
    assert record["untrained"] is False
    assert record["sens_maps"] is None
    assert (record["mask"]["kind"], record["mask"]["seed"]) == ("equispaced_fraction", 3)
    assert 0 < record["mask"]["sampled"] < 1
    assert len(record["input"]["sha256"]) == 64
    assert record["settings"]["tv_weight"] == 0.02


def test_other_programs_see_it() -> None:
    np.save("in.npy", fft2c(image()))
    for ending in ENDINGS:
        recon("in.npy", f"out{ending}", "--method", "zero-filled")
    with h5py.File("out.h5") as file:
        assert file.attrs["method"] == "zero-filled"
        assert file.attrs["command"].startswith("csmri recon in.npy out.h5")
    assert read_cfl_header("out.cfl").command.startswith("csmri recon in.npy out.cfl")
    with Image.open("out.png") as file:
        assert '"method": "zero-filled"' in file.text["csmri_ext"]
    with Path("out.npy").open("rb") as stream:
        np.testing.assert_allclose(np.load(stream), image(), atol=1e-5)
    assert np.load("out.npy", mmap_mode="r").shape == (2, 16, 16)
    assert load("out.npy").kspace.shape[0] == 2, "our own reader takes it too"


def test_nifti_keeps_the_record() -> None:
    nibabel = pytest.importorskip("nibabel")
    record = {"method": "tv", "mask": {"kind": "random"}}
    volume = nibabel.Nifti1Image(np.ones((3, 4, 5), np.float32), np.eye(4))
    volume.header.extensions.append(nifti_extension(record))
    for name in ("out.nii", "out.nii.gz"):
        nibabel.save(volume, name)
        assert read_record(name) == record


def test_a_file_without_a_record_and_one_that_is_cut() -> None:
    np.save("plain.npy", image())
    Image.fromarray(np.zeros((4, 4), np.uint8)).save("plain.png")
    write_cfl("plain", image())
    write_fastmri("plain.h5", fft2c(image()))
    assert [read_record(f"plain{ending}") for ending in (".h5", ".png", ".npy")] == [None] * 3
    assert "method" not in (read_record("plain.cfl") or {})
    for ending in ENDINGS:
        path = Path(f"plain{ending}")
        path.write_bytes(path.read_bytes()[:50])
        with pytest.raises(FileFormatError, match=f"plain{ending}: cannot be read"):
            read_record(path)


def test_record_is_json_whatever_is_in_it() -> None:
    record = {"a": None, "path": Path("x"), "b": {"c": [1, 2]}}
    assert npy_line(record).startswith(b"\n# csmri_ext {")
    assert h5_attributes({**record, "method": "tv"})["method"] == "tv"
    assert "\n" not in as_json({"a": "two\nlines"})


def test_untrained_is_said_in_the_line_and_in_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = next(m.name for m in map(methods.get, methods.names()) if not m.trained)
    np.save("in.npy", fft2c(image()))
    recon("in.npy", "out.h5", "--method", name, "--untrained")
    assert f"out.h5: {name} (untrained: random weights), 2 slices" in capsys.readouterr().out
    with h5py.File("out.h5") as file:
        assert bool(file.attrs["untrained"]) is True
        assert "random" in file.attrs["weights"]


def test_weights_are_named_by_their_hash() -> None:
    np.save("in.npy", fft2c(image()))
    recon("in.npy", "out.npy", "--method", "dccnn3", *MASK)
    record = read_record("out.npy")
    assert record is not None
    assert "sha256" in record["weights"]
    assert record["untrained"] is False


@pytest.mark.parametrize(
    ("method", "weights", "source"),
    [
        ("zero-filled", "", "espirit estimate from the calibration region"),
        ("tv", "; tv weight 0.01", "espirit estimate from the calibration region"),
        (
            "dccnn3",
            "; weights: dccnn3.safetensors, sha256 ",
            "espirit estimate from the calibration region, not cropped in air",
        ),
    ],
)
def test_what_was_assumed_is_recorded_and_said(
    method: str, weights: str, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kspace = np.asarray(phantom_acquisition(1, 48, seed=3, n_coils=3).kspace)
    write_fastmri("coils.h5", kspace)
    recon("coils.h5", "out.h5", "--method", method, *MASK)
    record = read_record("out.h5")
    assert record is not None
    assert record["sens_maps"] == source
    said = capsys.readouterr().out
    assert weights in said and f"; sensitivities: {source}; read as 3 coils" in said


# a folder of results


@pytest.mark.parametrize("ending", ENDINGS)
def test_other_settings_are_refused_and_redone_when_told(ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    scans()
    recon("in", "out", "--method", "zero-filled", "--format", ending, *MASK)
    before = contents("out")
    recon("in", "out", "--method", "tv", "--format", ending, *MASK, code=2)
    said = capsys.readouterr().err
    assert (
        f"out: 3 of 3 finished results made by other settings (out/0{ending}: method zero-filled then, tv now)" in said
    )
    assert "Choose another OUT, or redo them with --overwrite" in said
    assert contents("out") == before
    recon("in", "out", "--method", "tv", "--format", ending, *MASK, "--overwrite")
    assert "3 files reconstructed, 0 done before" in capsys.readouterr().out
    assert all(new != before[name] for name, new in contents("out").items() if not name.endswith(".hdr"))
    recon("in", "out", "--method", "tv", "--format", ending, *MASK)
    assert "0 files reconstructed, 3 done before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (["--seed", "4"], "seed 3 then, 4 now"),
        (["--acceleration", "3"], "acceleration 2.0 then, 3.0 now"),
        (["--slices", "1"], "slices none then, 1 now"),
        (["--tv-iterations", "7"], "tv iterations 200 then, 7 now"),
    ],
)
def test_what_differs_is_named(change: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    scans(1)
    recon("in", "out", "--method", "zero-filled", *MASK)
    recon("in", "out", "--method", "zero-filled", *MASK, *change, code=2)
    assert complaint in capsys.readouterr().err


def test_words_that_decide_nothing_may_change(capsys: pytest.CaptureFixture[str]) -> None:
    scans()
    recon("in", "out", "--method", "zero-filled", "--shard", "1/2")
    recon("in", "out", "--method", "zero-filled", "--jobs", "1", "--debug")
    assert "1 file reconstructed, 2 done before" in capsys.readouterr().out


def test_a_changed_input_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    scans(1)
    recon("in", "out", "--method", "zero-filled")
    os.utime("in/0.npy", (1, 1))  # copied, not changed
    recon("in", "out", "--method", "zero-filled")
    assert "1 done before" in capsys.readouterr().out
    np.save("in/0.npy", fft2c(image(9)))
    recon("in", "out", "--method", "zero-filled", code=2)
    assert "0.npy has changed since" in capsys.readouterr().err


def test_a_result_of_nobody_is_not_counted_as_done(capsys: pytest.CaptureFixture[str]) -> None:
    scans(1)
    Path("out").mkdir()
    np.save("out/0.npy", image())
    recon("in", "out", "--method", "zero-filled", "--format", ".npy", code=2)
    assert "out/0.npy: how it was made is not recorded in it" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_result_that_is_cut_off_is_made_again(ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    scans()
    recon("in", "out", "--method", "zero-filled", "--format", ending)
    before = contents("out")
    cut = Path(f"out/1{ending}")
    cut.write_bytes(cut.read_bytes()[: 64 if ending != ".npy" else 200])
    recon("in", "out", "--method", "zero-filled", "--format", ending)
    assert "1 file reconstructed, 2 done before" in capsys.readouterr().out
    assert contents("out") == before, "equal settings give equal bytes"


def test_leftovers_of_a_killed_run_are_cleared() -> None:
    scans()
    Path("out/deep").mkdir(parents=True)
    dead = subprocess.Popen(["true"])
    dead.wait()
    leftovers = [Path(f"out/deep/.x.h5.{dead.pid}.tmp"), Path(f"out/.0.h5.{dead.pid}.tmp")]
    mine = Path(f"out/.other.h5.{os.getpid()}.tmp")
    for path in (*leftovers, mine):
        path.write_text("half")
    recon("in", "out", "--method", "zero-filled")
    assert [path.exists() for path in (*leftovers, mine)] == [False, False, True]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_folder_run_says_so_and_goes_on(number: signal.Signals, code: int) -> None:
    Path("in").mkdir()
    np.save("in/0.npy", fft2c(image()))
    np.save("in/1.npy", fft2c(np.tile(image(1), (8, 32, 32))))  # for minutes
    words = [sys.executable, "-m", "csmri_ext", "recon", "in", "out", "--tv-iterations", "300", *MASK]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "0.h5" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    try:
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code
    assert out.startswith("out: 1 file reconstructed, 0 done before, 0 failed, stopped before 1 file: ")
    assert sorted(path.name for path in Path("out").iterdir()) == ["0.h5"]


def test_a_calibration_too_small_for_ecalib_is_told(bart_binary: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With four columns in the middle BART would cut off part of the object: its maps are not taken, and it is said."""
    data = np.asarray(phantom_acquisition(1, 48, seed=3, n_coils=4, noise=0.0).kspace)
    np.save("coils.npy", data)
    words = ["--mask", "random", "--acceleration", "4", "--center-fraction", "0.09", "--bart"]
    recon("coils.npy", "few.npy", "--axes", "slice coil y x", "--method", "zero-filled", *words, "--quiet")
    said = capsys.readouterr().err
    assert said.startswith("warning: coils.npy, random") and "too small for bart ecalib" in said
    assert "sensitivities are estimated without BART" in said and said.count("\n") == 1
    assert read_record("few.npy")["sens_maps"].startswith("espirit estimate")  # type: ignore[index]
    out = ["--methods", "zero-filled", "--out", "report", "--axes", "slice coil y x"]
    assert cli.main(["compare", "coils.npy", *words, *out]) == 0
    assert "note: coils.npy, random 4x: the calibration region" in capsys.readouterr().err
    many = [*words[:4], "--center-fraction", "0.5", "--acceleration", "1.5", "--bart"]
    recon("coils.npy", "many.npy", "--axes", "slice coil y x", "--method", "zero-filled", *many)
    assert read_record("many.npy")["sens_maps"].startswith("bart ecalib")  # type: ignore[index]
