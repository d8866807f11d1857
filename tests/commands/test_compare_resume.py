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
from small_comparisons import FAST, comparable, results, run, save

from csmri_ext.commands import compare
from csmri_ext.recon import evaluate
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

    kept = results()["rows"]
    run(*words, "--resume")
    assert "resuming: 2 finished rows" in capsys.readouterr().err
    assert results()["rows"][:2] == kept, "finished rows are not computed again"
    run(*words, "--out", "whole")
    assert comparable(results()["rows"]) == comparable(results("whole")["rows"])


def test_ctrl_c_in_a_process_of_its_own() -> None:
    """A real SIGINT in the middle: exit code 130, finished rows and their report are there."""
    path = save("a.npy", n_slices=16, size=128)
    command = [
        sys.executable,
        "-m",
        "csmri_ext.commands.compare",
        path,
        "--methods",
        "zero-filled,tv",
        "--tv-weight",
        "0.01",
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [*command, "--tv-iterations", "20000"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 300
    while not Path("comparison/results.json").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 130, error
    assert error.decode().endswith("interrupted\n")
    assert [row["method"] for row in results()["rows"]] == ["zero-filled"]
    assert Path("comparison/report.html").exists()
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


def test_new_run_replaces_the_old_one(without_report: list) -> None:
    path = save("a.npy")
    run(path, *FAST)
    run(path, "--methods", "zero-filled", "--acceleration", "4")
    assert len(results()["rows"]) == 1
    assert len(list(Path("comparison/recons").glob("*.cfl"))) == 1


def test_bad_input_leaves_the_old_results_alone(without_report: list) -> None:
    run(save("a.npy"), *FAST)
    before = {path: path.read_bytes() for path in Path("comparison").rglob("*") if path.is_file()}
    assert compare.main(["a.npy", "--methods", "zero-fil"]) == 2
    assert compare.main(["missing.npy"]) == 2
    assert {path: path.read_bytes() for path in Path("comparison").rglob("*") if path.is_file()} == before
