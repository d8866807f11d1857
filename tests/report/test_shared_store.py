"""Several processes that fill one folder of results, and one that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from csmri_ext.report import store as module
from csmri_ext.report.journal import Journal
from csmri_ext.report.rows import Row
from csmri_ext.report.store import Store

SETTINGS = {"mask seed": 1}
INPUTS = [{"volume": f"{i}.png", "sha256": "00", "slices": [0, 2]} for i in range(9)]
MASKS = [{"setting": "random 4x", "volume": "0.png", "hash": "ab"}]


def open_store(folder: Path, command: str = "here") -> Store:
    store = Store(folder, SETTINGS, INPUTS, MASKS)
    store.resume()
    store.provenance |= {"command": command, "date": "2026-01-31T12:00:00+00:00"}
    return store


def row(method: str = "tv", volume: str = "0.png", seconds: float = 1.0) -> Row:
    scores = {"mse": 0.1, "nmse": 0.2, "psnr": 30.0, "ssim": 0.9}
    return Row(
        method,
        "random",
        4.0,
        volume,
        2,
        **scores,
        seconds=seconds,
        parameters=0,
        flops=None,
        slice_psnr=[29.0, 31.0],
        slice_ssim=[0.9, 0.9],
    )


IMAGE = np.ones((2, 5, 7), np.complex64)


def on_disk(folder: Path) -> list[tuple[str, str]]:
    rows = json.loads((folder / "results.json").read_text())["rows"]
    return [(row["method"], row["volume"]) for row in rows]


def test_two_stores_lose_nothing(tmp_path: Path) -> None:
    one, two = open_store(tmp_path, "first"), open_store(tmp_path, "second")
    for i in range(3):
        one.add(row("tv", f"{i}.png"), IMAGE)
        two.add(row("net", f"{i}.png"), IMAGE)
    one.write()
    two.write()
    expected = {(method, f"{i}.png") for method in ("tv", "net") for i in range(3)}
    assert set(on_disk(tmp_path)) == expected
    assert len(on_disk(tmp_path)) == 6
    assert {r.method for r in one.rows} | {r.method for r in two.rows} == {"tv", "net"}
    provenance = json.loads((tmp_path / "results.json").read_text())["provenance"]
    assert provenance["command"] == "second"
    assert [run["command"] for run in provenance["earlier_runs"]] == ["first"]


def test_rows_of_another_process_are_seen_before_they_are_made_again(tmp_path: Path) -> None:
    one, two = open_store(tmp_path), open_store(tmp_path)
    two.add(row("tv"), IMAGE)
    assert one.find("tv", "random", 4.0, "0.png") is None
    one.refresh()
    assert one.find("tv", "random", 4.0, "0.png") is not None


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from report.test_shared_store import IMAGE, open_store, row
store = open_store(Path({folder!r}), sys.argv[1])
for i in range(9):
    store.add(row(sys.argv[1], f"{{i}}.png"), IMAGE)
store.write()
"""


def test_processes_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    code = WRITER.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path))
    root = Path(__file__).parents[2]
    jobs = [subprocess.Popen([sys.executable, "-c", code, name], cwd=root) for name in ("a", "b", "c")]
    assert [job.wait(timeout=120) for job in jobs] == [0, 0, 0]
    assert set(on_disk(tmp_path)) == {(name, f"{i}.png") for name in "abc" for i in range(9)}
    assert not (tmp_path / "results.jsonl").exists()


def test_a_killed_process_loses_no_finished_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = WRITER.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path))
    code = code.replace("store.write()", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    code = code.replace("store = ", "import csmri_ext.report.store as m; m.FEW_ROWS = 0; store = ")
    job = subprocess.run([sys.executable, "-c", code, "a"], cwd=Path(__file__).parents[2])
    assert job.returncode == -signal.SIGKILL
    assert len(on_disk(tmp_path)) < 9, "most rows are in the journal only"
    store = open_store(tmp_path)
    assert len(store.rows) == 9
    store.write()
    assert len(on_disk(tmp_path)) == 9


def test_a_line_cut_off_by_a_kill_costs_that_line_only(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append({"row": 1})
    with journal.path.open("ab") as file:
        file.write(b'{"row": ')
    journal.append({"row": 3})
    assert journal.entries() == [{"row": 1}, {"row": 3}]


def test_many_rows_are_not_written_out_at_each_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rewriting everything per row took hours at thousands of rows: the whole is written when it has doubled."""
    monkeypatch.setattr(module, "FEW_ROWS", 4)
    monkeypatch.setattr(module, "write_cfl", lambda *_, **__: None)
    written = []
    real = module.write_bytes
    monkeypatch.setattr(module, "write_bytes", lambda path, content: (written.append(path.name), real(path, content)))
    store = open_store(tmp_path)
    for i in range(100):
        store.add(row(f"m{i}"), IMAGE)
    assert written.count("results.json") <= 10
    assert len(open_store(tmp_path).rows) == 100
    store.write()
    assert len(on_disk(tmp_path)) == 100


def test_images_that_are_cut_off_are_made_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.add(row("tv"), IMAGE)
    store.add(row("net"), IMAGE)
    store.write()
    data = store.recons / store.rows[0].details["recon"]
    data.write_bytes(data.read_bytes()[:-8])
    again = open_store(tmp_path)
    assert [r.method for r in again.rows] == ["net"]
    assert [r.method for r in again.damaged] == ["tv"]
    again.write()
    assert on_disk(tmp_path) == [("net", "0.png")], "the damaged row does not come back"
    again.add(row("tv", seconds=2.0), IMAGE)
    assert sorted(on_disk(tmp_path)) == [("net", "0.png"), ("tv", "0.png")]
    data.unlink()  # somebody who needs only the numbers
    assert len(open_store(tmp_path).rows) == 2


def test_scores_of_slices_are_a_table_of_their_own(tmp_path: Path) -> None:
    store = Store(tmp_path, SETTINGS, [{**INPUTS[0], "slices": [3, 6], "skipped": [4]}], MASKS)
    store.resume()
    store.add(row("tv"), IMAGE)
    assert (tmp_path / "slices.csv").read_text().splitlines() == [
        "method,mask,acceleration,volume,slice,psnr,ssim",
        "tv,random,4.0,0.png,3,29.0,0.9",
        "tv,random,4.0,0.png,5,31.0,0.9",
    ]


@pytest.mark.parametrize(
    "name", ["v" * 240 + ".h5", "ü" * 120, "a\nb", b"scan-\xff.h5".decode(errors="surrogateescape")]
)
def test_any_name_of_a_volume_can_be_stored(tmp_path: Path, name: str) -> None:
    store = open_store(tmp_path)
    store.add(row("tv", name), IMAGE)
    store.add(row("tv", name[:-1]), IMAGE)
    assert len(list(store.recons.glob("*.cfl"))) == 2
    assert {r.volume for r in open_store(tmp_path).rows} == {name, name[:-1]}


def test_a_row_is_on_the_disk_when_it_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, fsync, kept = Journal(tmp_path), os.fsync, []

    def watched(descriptor: int) -> None:
        kept.append((os.fstat(descriptor).st_ino, journal.path.read_bytes()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    journal.append({"row": 1})
    assert kept == [(journal.path.stat().st_ino, b'{"row": 1}\n')]
