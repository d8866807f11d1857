"""Whether the command has to end: asked by work that runs in threads, where no signal arrives."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

_REQUESTED = threading.Event()


def request_stop() -> None:
    """Have `check_stop` raise from now on, in every thread."""
    _REQUESTED.set()


def forget_stop() -> None:
    """Let work begin again, in a process that goes on after a command."""
    _REQUESTED.clear()


def check_stop() -> None:
    """Leave a long computation between two of its steps.

    Raises
    ------
    CancelledError
        If `request_stop` was called.
    """
    if _REQUESTED.is_set():
        raise CancelledError("stopped")
