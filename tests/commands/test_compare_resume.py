"""Interrupted, resumed and repeated comparisons."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_comparisons import FAST, comparable, images, results, run, save

from csmri_ext.commands import compare
from csmri_ext.errors import InputError
from csmri_ext.recon import evaluate, methods
from csmri_ext.recon.problem import Problem

pytestmark = pytest.mark.usefixtures("in_empty_folder")


def stop_at(monkeypatch: pytest.MonkeyPatch, calls: int, error: BaseException) -> None:
    """Make the reconstruction number `calls` fail."""
    done = []
    real = evaluate.kspace_distance

    def counted(problem: Problem, image: np.ndarray) -> tuple[float, float]:
        done.append(1)
        if len(done) == calls:
            raise error
        return real(problem, image)

    monkeypatch.setattr(evaluate, "kspace_distance", counted)


def test_interrupt_keeps_finished_rows_and_resume_adds_the_rest(
    without_report: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [save("a.npy"), *FAST]
    with monkeypatch.context() as patch:
        stop_at(patch, 3, KeyboardInterrupt())
        assert compare.main(words) == 130
    assert len(results()["rows"]) == 2
    assert len(without_report[0].rows) == 2, "the report shows what has finished"
    out, err = capsys.readouterr()
    assert err.endswith("interrupted\n")
    assert "zero-filled" in out
    assert out.startswith("Interrupted at ")
    assert "2 of 4 reconstructions finished" in out
    found = results()["provenance"]
    assert found["stopped"]["by"] == "SIGINT"
    assert (found["completeness"]["complete"], found["completeness"]["finished"]) == (False, 2)
    assert "everything at equispaced_fraction, R = 8" in found["completeness"]["headline"]

    kept = results()["rows"]
    run(*words, "--resume")
    told = capsys.readouterr()
    assert "resuming: 2 finished rows" in told.err
    assert results()["rows"][:2] == kept, "finished rows are not computed again"
    assert results()["provenance"]["completeness"] == {"complete": True, "planned": 4, "finished": 4, "headline": ""}
    assert "stopped" not in results()["provenance"]
    assert "Interrupted" not in told.out
    run(*words, "--out", "whole")
    assert comparable(results()["rows"]) == comparable(results("whole")["rows"])


def test_a_second_interrupt_in_the_drawing_leaves_marked_results(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(*_: object) -> None:
        raise KeyboardInterrupt

    stop_at(monkeypatch, 3, KeyboardInterrupt())
    monkeypatch.setattr("csmri_ext.report.page.write_report", draw)
    assert compare.main([save("a.npy"), *FAST]) == 130
    assert len(results()["rows"]) == 2
    assert results()["provenance"]["completeness"]["headline"].startswith("Interrupted at ")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_to_a_process_of_its_own(number: signal.Signals, code: int) -> None:
    """A real signal in the middle: the exit code tells it, finished rows and their report are there."""
    path = save("a.npy", n_slices=16, size=128)
    command = [sys.executable, "-m", "csmri_ext.commands.compare", path, "--methods", "zero-filled,tv"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [*command, "--tv-weight", "0.01", "--tv-iterations", "20000"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 300
    while not Path("comparison/results.json").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(number)
    _, error = process.communicate(timeout=300)
    assert process.returncode == code, error
    assert error.decode().endswith("interrupted\n" if number == signal.SIGINT else f"stopped by {number.name}\n")
    assert [row["method"] for row in results()["rows"]] == ["zero-filled"]
    assert (
        f"Interrupted at {results()['provenance']['stopped']['at'][:10]}" in Path("comparison/report.html").read_text()
    )
    assert not list(Path("comparison").rglob("*.tmp"))


def test_resume_adds_methods_and_accelerations(without_report: list) -> None:
    path = save("a.npy")
    run(path, "--methods", "zero-filled", "--acceleration", "4")
    run(path, "--methods", "zero-filled,tv", "--acceleration", "6", "--resume")
    assert [(row["acceleration"], row["method"]) for row in results()["rows"]] == [
        (4, "zero-filled"),
        (6, "zero-filled"),
        (6, "tv"),
    ]
    assert len(results()["provenance"]["masks"]) == 2
    (earlier,) = results()["provenance"]["earlier_runs"]
    assert earlier["command"] == "csmri compare a.npy --methods zero-filled --acceleration 4"
    assert {panel.acceleration for panel in without_report[-1].panels} == {4, 6}, "the report shows all rows"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (["--seed", "7"], "mask seed 'file name' then, 7 now"),
        (["--tv-weight", "0.02"], "tv weight 0.01 then, 0.02 now"),
        (["--tv-iterations", "6"], "iterations 5 then, 6 now"),
        (["--slices", "1"], "input a.npy: slices 0-2 then, 0-1 now"),
        (["--center-fraction", "0.2"], "mask equispaced_fraction 4x of a.npy has changed"),
    ],
)
def test_resume_with_other_settings_says_what_differs(
    change: list[str], complaint: str, without_report: list, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [save("a.npy"), *FAST, "--acceleration", "4"]
    run(*words)
    before = results()
    capsys.readouterr()
    assert compare.main([*words, *change, "--resume"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: --resume: ")
    assert complaint in error
    assert results() == before


def test_resume_with_a_changed_file_says_so(without_report: list, capsys: pytest.CaptureFixture[str]) -> None:
    run(save("a.npy"), *FAST)
    save("a.npy", seed=9)
    assert compare.main(["a.npy", *FAST, "--resume"]) == 2
    assert "input a.npy has changed" in capsys.readouterr().err


def test_the_same_command_goes_on_without_being_told(without_report: list, capsys: pytest.CaptureFixture[str]) -> None:
    words = [save("a.npy"), *FAST]
    run(*words)
    before = results()["rows"]
    capsys.readouterr()
    run(*words)
    assert results()["rows"] == before, "nothing is computed again"
    assert "resuming: 4 finished rows" in capsys.readouterr().err


def test_other_settings_in_a_used_folder_are_refused_with_the_ways_out(
    without_report: list, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save("a.npy")
    run(path, *FAST)
    before = {file: file.read_bytes() for file in Path("comparison").rglob("*") if file.is_file()}
    assert compare.main([path, *FAST, "--tv-weight", "0.5"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: comparison/results.json was made with other settings: tv weight 0.01 then, 0.5 now")
    assert "choose another --out, or replace it with --overwrite" in error
    assert {file: file.read_bytes() for file in Path("comparison").rglob("*") if file.is_file()} == before
    run(path, "--methods", "zero-filled", "--acceleration", "4", "--overwrite")
    assert len(results()["rows"]) == 1
    assert len(list(Path("comparison/recons").glob("*.cfl"))) == 1


@pytest.mark.slow
def test_overwriting_leaves_no_figure_of_the_old_run(capsys: pytest.CaptureFixture[str]) -> None:
    path = save("a.npy")
    run(path, "--methods", "zero-filled", "--acceleration", "4", "2", "--seed", "1")
    assert Path("comparison/images/recon-equispaced_fraction-R2.png").exists()
    run(path, "--methods", "zero-filled", "--acceleration", "4", "--seed", "2", "--overwrite")
    assert not list(Path("comparison/images").glob("*R2*"))
    assert Path("comparison/images/recon-equispaced_fraction-R4.png").exists()


def test_bad_input_leaves_the_old_results_alone(without_report: list) -> None:
    run(save("a.npy"), *FAST)
    before = {path: path.read_bytes() for path in Path("comparison").rglob("*") if path.is_file()}
    assert compare.main(["a.npy", "--methods", "zero-fil"]) == 2
    assert compare.main(["missing.npy"]) == 2
    assert {path: path.read_bytes() for path in Path("comparison").rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_two_commands_into_one_folder_merge(without_report: list) -> None:
    """One job per method, as on a cluster."""
    save("a.npy")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    words = [sys.executable, "-m", "csmri_ext", "compare", "a.npy", *FAST[2:], "--acceleration", "2", "4"]
    jobs = [
        subprocess.Popen([*words, "--methods", method], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for method in ("zero-filled", "tv")
    ]
    for job in jobs:
        _, error = job.communicate(timeout=300)
        assert job.returncode == 0, error
    found = {(row["method"], row["acceleration"]) for row in results()["rows"]}
    assert found == {(method, acceleration) for method in ("zero-filled", "tv") for acceleration in (2.0, 4.0)}
    assert len(results()["rows"]) == 4
    assert results()["provenance"]["completeness"]["complete"]
    assert len(results()["provenance"]["earlier_runs"]) == 1


def test_a_reconstruction_that_is_cut_off_is_made_again(
    without_report: list, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [save("a.npy"), *FAST, "--acceleration", "4"]
    run(*words)
    kept = comparable(results()["rows"])
    recon = Path("comparison/recons") / results()["rows"][1]["details"]["recon"]
    recon.write_bytes(recon.read_bytes()[:-100])
    capsys.readouterr()
    run(*words)
    assert comparable(results()["rows"]) == kept
    assert "tv on a.npy: its images were cut off, so it is done again" in capsys.readouterr().err
    run(*words)
    assert "cut off" not in capsys.readouterr().err


def test_other_weights_are_refused(without_report: list, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [save("a.npy"), "--methods", "dccnn3", "--acceleration", "4"]
    run(*words)
    network = methods.get("dccnn3").network
    assert network is not None
    monkeypatch.setattr(network, "weights", "dccnn3.safetensors, sha256 0000")
    assert compare.main(words) == 2
    run(*words, "--overwrite")
    assert results()["rows"][0]["details"]["weights"] == "dccnn3.safetensors, sha256 0000"


def test_unreadable_files_stop_no_other(without_report: list, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    for i in range(3):
        save(f"in/{i}.npy", seed=i)
    whole = Path("in/1.npy").read_bytes()
    Path("in/1.npy").write_bytes(whole[:100])
    bad = images()
    bad[0, 3, 3] = np.nan
    np.save("in/3.npy", bad)
    assert compare.main(["in", *FAST, "--acceleration", "4"]) == 2
    told = capsys.readouterr()
    assert {row["volume"] for row in results()["rows"]} == {"0.npy", "2.npy"}
    assert [failure["what"] for failure in results()["provenance"]["failed"]] == ["in/1.npy", "in/3.npy"]
    errors = [line for line in told.err.splitlines() if line.startswith("failed: ")]
    assert len(errors) == 2
    assert "in/1.npy" in errors[0]
    assert "NaN" in errors[1]
    assert "2 failures listed below" in told.out
    assert "failed: in/1.npy: " in told.out


def test_without_any_readable_file_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.npy").write_bytes(b"\x93NUMPY rubbish")
    assert compare.main(["a.npy"]) == 2
    assert not Path("comparison").exists()
    assert "a.npy" in capsys.readouterr().err


def test_empty_slices_can_be_left_out(without_report: list, capsys: pytest.CaptureFixture[str]) -> None:
    stack = images(5)
    stack[2] = 0
    np.save("a.npy", stack)
    save("b.npy", n_slices=2)
    assert compare.main(["a.npy", "b.npy", "--methods", "zero-filled", "--acceleration", "4"]) == 2
    assert {row["volume"] for row in results()["rows"]} == {"b.npy"}, "the file with an empty slice is left out"
    assert "zero everywhere" in capsys.readouterr().err
    run("a.npy", "b.npy", "--methods", "zero-filled", "--acceleration", "4", "--skip-empty", "--out", "skipped")
    assert {row["volume"]: row["slices"] for row in results("skipped")["rows"]} == {"a.npy": 4, "b.npy": 2}
    assert results("skipped")["provenance"]["inputs"][0]["skipped"] == [2]
    assert "empty slices left out: 1 of a.npy" in capsys.readouterr().err
    slices = [line.split(",")[4] for line in Path("skipped/slices.csv").read_text().splitlines()[1:]]
    assert slices == ["0", "1", "3", "4", "0", "1"]


def test_a_method_that_fails_on_one_volume_goes_on_with_the_others(
    without_report: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [save("a.npy"), save("b.npy", seed=1)]
    stop_at(monkeypatch, 2, InputError("tv on a.npy: out of luck"))
    assert compare.main([*paths, *FAST, "--acceleration", "4"]) == 2
    assert [(row["method"], row["volume"]) for row in results()["rows"]] == [
        ("zero-filled", "a.npy"),
        ("zero-filled", "b.npy"),
        ("tv", "b.npy"),
    ]
    told = capsys.readouterr()
    assert told.err.splitlines()[-1] == "error: tv on a.npy: out of luck"
    assert "tv at equispaced_fraction, R = 4 (1 volume)" in told.out
    run(*paths, *FAST, "--acceleration", "4")
    assert len(results()["rows"]) == 4
    assert results()["provenance"]["failed"] == []
