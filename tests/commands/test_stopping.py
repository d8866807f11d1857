"""Commands that are told to stop: the exit code, the programs they started, what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from csmri_ext.commands.parser import run_command
from csmri_ext.commands.stopping import Stopped, signals_stop

ROOT = Path(__file__).parents[2]
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """A zombie has ended: nobody has asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def ends(pid: int) -> bool:
    deadline = time.monotonic() + 30
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_running(pid)


@pytest.mark.parametrize("number", CODES)
def test_exit_code_and_cleaning_up(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    cleaned = []
    earlier = signal.getsignal(number)

    def command() -> int:
        try:
            signal.raise_signal(number)
        finally:
            cleaned.append(True)
        return 0

    assert run_command(command) == CODES[number]
    assert cleaned == [True]
    assert signal.getsignal(number) is earlier
    said = capsys.readouterr().err
    assert said == ("interrupted\n" if number == signal.SIGINT else f"stopped by {number.name}\n")


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("afterwards", ["return", "exit", "error", "defect"])
def test_a_library_that_swallows_the_signal_does_not_change_the_code(number: signal.Signals, afterwards: str) -> None:
    def command() -> int:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            if afterwards == "exit":
                raise SystemExit(1) from None
            if afterwards == "error":
                raise OSError(5, "terminal gone") from None
            if afterwards == "defect":
                raise RuntimeError("a worker died") from None
        return 0

    assert run_command(command) == CODES[number]


@pytest.mark.parametrize("number", CODES)
def test_a_signal_in_a_finalizer_is_not_lost(number: signal.Signals) -> None:
    """Python drops what is raised there: a training went on for days after the end of its processes that read ahead."""

    class Closing:
        def __del__(self) -> None:
            signal.raise_signal(number)

    def command() -> int:
        Closing()
        time.sleep(30)
        raise AssertionError("went on")

    assert run_command(command) == CODES[number]


def test_without_a_signal_nothing_is_hidden() -> None:
    def defect() -> int:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        run_command(defect)
    with pytest.raises(SystemExit):
        run_command(lambda: sys.exit(3))


def test_what_the_parent_switched_off_stays_off() -> None:
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with signals_stop():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, earlier)
    with signals_stop(), pytest.raises(Stopped, match="SIGTERM"):
        signal.raise_signal(signal.SIGTERM)


PROGRAM = """
    import sys, threading
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path
    import numpy as np
    from csmri_ext.bridge import bart
    from csmri_ext.commands.parser import run_command

    def command():
        with ThreadPoolExecutor(2) as pool:  # leaving it waits for the threads, and they wait for BART
            try:
                job = lambda _: bart(["sleep"], np.ones(4), binary={fake!r}, folder={work!r})
                list(pool.map(job, range(2)))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        return 0

    sys.exit(run_command(command))
"""


@pytest.fixture
def bart_in_threads(tmp_path: Path) -> subprocess.Popen:
    work, fake = tmp_path / "work", tmp_path / "fake"
    work.mkdir()
    fake.write_text(f'#!/bin/sh\necho $$ > "{tmp_path}/pid"\nexec sleep 300\n')
    fake.chmod(0o755)
    code = textwrap.dedent(PROGRAM.format(fake=str(fake), work=str(work)))
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE)
    wait_for(tmp_path / "pid")
    return process


@pytest.mark.parametrize("number", CODES)
def test_bart_of_other_threads_is_stopped(number: signal.Signals, bart_in_threads: object, tmp_path: Path) -> None:
    process: subprocess.Popen = bart_in_threads
    process.send_signal(number)
    process.communicate(timeout=30)  # BART itself would take five minutes
    assert process.returncode == CODES[number]
    assert ends(int((tmp_path / "pid").read_text()))
    assert list((tmp_path / "work").iterdir()) == []


def test_bart_dies_with_a_parent_that_is_killed(bart_in_threads: object, tmp_path: Path) -> None:
    """SIGKILL leaves the parent no chance to stop anything; its folder goes when the next process works there."""
    process: subprocess.Popen = bart_in_threads
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()
    assert ends(int((tmp_path / "pid").read_text()))
    work = tmp_path / "work"
    assert list(work.iterdir()) != []
    mine, foreign = work / f"csmri_ext-bart-{os.getpid()}-x", work / "csmri_ext-bart-notes"
    mine.mkdir()
    foreign.mkdir()
    code = f"from csmri_ext.bridge import bart; bart(['x'], binary='/bin/true', folder={str(work)!r}, n_outputs=0)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert set(work.iterdir()) == {mine, foreign}
