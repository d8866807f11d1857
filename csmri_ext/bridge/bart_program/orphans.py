"""Nothing of BART outlives the process that asked for it: programs end with it, forgotten folders go later."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from csmri_ext.bridge.atomic import is_running

PREFIX = "csmri_ext-bart-"
_OWNED = re.compile(re.escape(PREFIX) + r"(\d+)-.*", re.DOTALL)
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux' prctl


@contextmanager
def workspace(root: Path) -> Iterator[str]:
    """Make a folder ``csmri_ext-bart-<pid>-*`` in `root` for the body, and remove it at the end.

    The first one of a process also removes those of processes that are dead: a killed one leaves its folder behind,
    and in memory (``/dev/shm``) it would stay until the machine restarts.
    """
    if root not in _CLEARED:
        _CLEARED.add(root)
        clear_orphans(root)
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", dir=root) as folder:
        yield folder


_CLEARED: set[Path] = set()


def clear_orphans(root: Path) -> list[Path]:
    """Remove the folders of `workspace` whose process is dead and which are ours, and return their paths."""
    removed = []
    for folder in root.glob(f"{PREFIX}*"):
        match = _OWNED.fullmatch(folder.name)
        if match is None or is_running(int(match[1])):
            continue
        try:
            if folder.stat().st_uid != os.getuid():
                continue
        except OSError:  # another process was faster
            continue
        shutil.rmtree(folder, ignore_errors=True)
        removed.append(folder)
    return removed


def ending_with_us() -> Callable[[], None] | None:
    """Make the function that a child runs before its program, so that it is killed when this process dies.

    Also when this process is killed with -9 and can stop nothing itself: Linux then sends SIGKILL. The thread that
    starts the program has to wait for it, since to Linux that thread is the parent. None on other systems.
    """
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return None
    parent = os.getpid()

    def in_child() -> None:
        prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died in the meantime
            os._exit(1)

    return in_child
