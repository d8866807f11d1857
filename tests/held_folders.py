"""A process that works alone in a folder, and files of one that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLDER = """
import os, sys, time
from csmri_ext.bridge.folder_lock import working_alone
with working_alone(sys.argv[1]):
    child = os.fork()  # as for processes that read ahead
    if child:
        print(child, flush=True)
    time.sleep(300)
"""


@contextmanager
def held_by_another(folder: Path) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(words, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            yield process
        finally:
            process.kill()
            os.kill(child, signal.SIGKILL)


def left_behind(path: Path) -> Path:
    """Make the file that a process leaves which is killed while it writes `path`."""
    process = subprocess.Popen(["true"])
    process.wait()
    leftover = path.with_name(f".{path.name}.{process.pid}.tmp")
    leftover.write_text("half")
    return leftover
