from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from csmri_ext.bridge import read_cfl, write_cfl
from csmri_ext.bridge.fourier import fft2c
from csmri_ext.commands import cli
from csmri_ext.errors import InputError
from csmri_ext.recon.folder import reconstruct_folder, results_of, shard_of_process

NUMBERING = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")


@pytest.fixture(autouse=True)
def alone_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NUMBERING:
        monkeypatch.delenv(name, raising=False)


def image(seed: int) -> np.ndarray:
    return (1 + np.random.default_rng(seed).random((2, 16, 16))).astype(np.complex64)


def scans() -> None:
    """Three subjects in two folders and two formats, and a file that is none of ours."""
    Path("in/b/c").mkdir(parents=True)
    np.save("in/a.npy", fft2c(image(0)))
    np.save("in/b/a.npy", fft2c(image(1)))
    write_cfl("in/b/c/k", fft2c(image(2))[0].T)
    Path("in/notes.txt").write_text("no image")


def run(*words: str, code: int = 0) -> None:
    assert cli.main(["recon", *words, "--method", "zero-filled"]) == code


def files(folder: str) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def test_every_file_gets_its_own_result(capsys: pytest.CaptureFixture[str]) -> None:
    scans()
    run("in", "out")
    assert files("out") == ["a.h5", "b/a.h5", "b/c/k.h5"]
    for name, seed in (("a", 0), ("b/a", 1)):
        with h5py.File(f"out/{name}.h5") as file:
            np.testing.assert_allclose(file["reconstruction"][()], np.abs(image(seed)), atol=1e-5)
    assert capsys.readouterr().out == "out: 3 files reconstructed, 0 done before, 0 failed\n"


@pytest.mark.parametrize("ending", [".npy", ".png", ".cfl"])
def test_formats(ending: str) -> None:
    scans()
    run("in", "out", "--format", ending)
    pairs = [".cfl", ".hdr"] if ending == ".cfl" else [ending]
    assert files("out") == sorted(name + one for name in ("a", "b/a", "b/c/k") for one in pairs)
    if ending == ".cfl":
        np.testing.assert_allclose(read_cfl("out/b/c/k").squeeze(), image(2)[0].T, atol=1e-5)


def test_results_that_exist_stay(capsys: pytest.CaptureFixture[str]) -> None:
    scans()
    run("in", "out", "--format", ".cfl")
    before = Path("out/a.cfl").stat().st_mtime_ns
    Path("out/b/a.hdr").unlink()  # as if killed between the two files of a result
    run("in", "out", "--format", ".cfl")
    assert Path("out/a.cfl").stat().st_mtime_ns == before
    assert Path("out/b/a.hdr").exists()
    assert "out: 1 file reconstructed, 2 done before, 0 failed" in capsys.readouterr().out


def test_killed_in_the_middle_of_a_result_it_goes_on(tmp_path: Path) -> None:
    scans()
    code = """if True:
    import os, signal, sys
    from pathlib import Path
    from csmri_ext.recon.folder import reconstruct_folder
    from csmri_ext.bridge.atomic import replacing

    def reconstruct(source, output):
        with replacing(output) as temporary:
            temporary.write_text("whole" * 100)
            if "b" in output.parts and sys.argv[1] == "die":
                os.kill(os.getpid(), signal.SIGKILL)
        return source
    sys.exit(reconstruct_folder(Path("in"), Path("out"), ".npy", reconstruct))
    """
    first = subprocess.run([sys.executable, "-c", code, "die"], capture_output=True)
    assert first.returncode == -signal.SIGKILL
    assert [name for name in files("out") if not Path(name).name.startswith(".")] == ["a.npy"]
    second = subprocess.run([sys.executable, "-c", code, "live"], capture_output=True, text=True)
    assert second.stdout == "out: 2 files reconstructed, 1 done before, 0 failed\n", second.stderr
    assert {Path("out", name).read_text() for name in ("a.npy", "b/a.npy", "b/c/k.npy")} == {"whole" * 100}


def test_a_bad_file_is_told_and_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    scans()
    np.save("in/b/0.npy", np.full((1, 8, 8), np.nan, np.complex64))
    run("in", "out", "--format", ".npy", code=2)
    assert files("out") == ["a.npy", "b/a.npy", "b/c/k.npy"]
    told = capsys.readouterr()
    assert "3 files reconstructed, 0 done before, 1 failed" in told.out
    assert told.err.splitlines()[-1].startswith("failed: in/b/0.npy: ")
    assert "NaN" in told.err.splitlines()[-1]


def test_a_defect_shows_its_traceback_and_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    scans()

    def reconstruct(source: str, output: Path) -> str:
        if source == "in/a.npy":
            raise RuntimeError("a defect")
        output.write_text("")
        return source

    assert reconstruct_folder(Path("in"), Path("out"), ".npy", reconstruct) == 2
    assert files("out") == ["b/a.npy", "b/c/k.npy"]
    told = capsys.readouterr().err
    assert "Traceback" in told and told.endswith("failed: in/a.npy: RuntimeError: a defect\n")


# shards


def test_shards_share_the_files() -> None:
    scans()
    run("in", "out", "--format", ".npy", "--shard", "2/2")
    assert files("out") == ["b/a.npy"]
    run("in", "out", "--format", ".npy", "--shard", "1/2")
    assert files("out") == ["a.npy", "b/a.npy", "b/c/k.npy"]


def test_more_processes_than_files(capsys: pytest.CaptureFixture[str]) -> None:
    scans()
    run("in", "out", "--shard", "4/4")
    assert "part 4 of 4: 0 files reconstructed" in capsys.readouterr().out


def test_part_of_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    scans()
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_NTASKS", "3")
    run("in", "out", "--format", ".npy")
    assert files("out") == ["b/a.npy"]
    assert "part 2 of 3: " in capsys.readouterr().out
    run("in", "out", "--format", ".npy", "--shard", "1/1")  # what is said counts more
    assert len(files("out")) == 3


def test_torchrun_counts_more_than_the_slurm_that_started_it() -> None:
    slurm, torchrun = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, {"RANK": "5", "WORLD_SIZE": "8"}
    assert shard_of_process({}) == (0, 1)
    assert shard_of_process(slurm) == (0, 2)
    assert shard_of_process(slurm | torchrun) == (5, 8)
    assert shard_of_process({"RANK": "5"}) == (0, 1)
    with pytest.raises(InputError, match="RANK=8, WORLD_SIZE=8"):
        shard_of_process({"RANK": "8", "WORLD_SIZE": "8"})


def test_each_process_of_a_node_takes_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    scans()
    for local in ("0", "3"):
        monkeypatch.setenv("LOCAL_RANK", local)
        reconstruct_folder(Path("in"), Path("out"), ".npy", lambda source, output: source, device="cuda")
    assert taken == [0, 1]


# refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["in", "in"], "in lies in the input folder"),
        (["in", "in/out"], "lies in the input folder"),
        (["in", "in/a.npy"], "lies in the input folder"),
        (["in", "file"], "file is a file"),
        (["in/empty", "out"], "holds no file"),
        (["in", "out", "--format", ".jpeg"], "unknown type of output"),
        (["in", "out", "--shard", "0/2"], "'0/2' is not I/N"),
        (["in", "out", "--sens-maps", "maps"], "--sens-maps goes with one file"),
        (["in/a.npy", "out.npy", "--shard", "1/2"], "--shard goes with a folder"),
        (["in/a.npy", "out.npy", "--format", ".png"], "--format goes with a folder"),
        (["in", "out", "--mask", "randon"], "did you mean random"),
    ],
)
def test_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    scans()
    Path("in/empty").mkdir()
    Path("file").write_text("")
    run(*words, code=2)
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


def test_two_files_of_one_name_are_refused() -> None:
    scans()
    Path("in/b/a.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"in/b/a\.nii\.gz and in/b/a\.npy would both become out/b/a\.h5"):
        results_of(Path("in"), Path("out"), ".h5")


def test_a_result_replaces_no_input_of_another_folder() -> None:
    """OUT above IN: the result of in/in/a.npy has the name of in/a.npy."""
    Path("in/in").mkdir(parents=True)
    for name in ("in/a.npy", "in/in/a.npy"):
        np.save(name, np.ones((2, 8, 8), np.complex64))
    with pytest.raises(InputError, match=r"in/a\.npy is an input, and a result would be there too"):
        results_of(Path("in"), Path(), ".npy")
    assert len(results_of(Path("in"), Path(), ".h5")) == 2
