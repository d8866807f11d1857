"""SIGINT, SIGTERM and SIGHUP end a command in order: programs it started stop, what has finished is kept."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from csmri_ext.stopping import forget_stop, request_stop

_BART = "csmri_ext.bridge.bart_program.process"  # looked up when needed: commands without BART do not load it
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN = 0.05  # seconds


class Stopped(KeyboardInterrupt):
    """A signal that ends the command; ``except KeyboardInterrupt`` and ``finally`` see Ctrl-C and the others alike."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Received:
    """The last signal that came, None so far; libraries may swallow the exception, the exit code must not."""

    number: int | None = None

    @property
    def exit_code(self) -> int | None:
        """As shells report it: 130 after SIGINT, 143 after SIGTERM, 129 after SIGHUP."""
        return None if self.number is None else 128 + self.number


@contextmanager
def signals_stop() -> Iterator[Received]:
    """While the body runs, a signal ends the work of all threads and every BART that runs, and raises `Stopped`.

    A signal that the parent has switched off stays off, as ``nohup`` and shells in the background ask for. One that
    comes while a finalizer runs, where Python drops exceptions, comes again. Outside of the main thread, where Python
    allows no handlers, nothing changes.
    """
    received = Received()
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        received.number = number
        request_stop()
        if _BART in sys.modules:
            sys.modules[_BART].RUNNING.kill()
        raise Stopped(number)

    main_thread, lock, over = threading.get_ident(), threading.Lock(), False

    def again(number: int) -> None:
        with lock:
            if not over:
                signal.pthread_kill(main_thread, number)

    def dropped(what: sys.UnraisableHookArgs) -> None:
        if isinstance(what.exc_value, Stopped):
            threading.Timer(_AGAIN, again, (what.exc_value.number,)).start()
        else:
            hook(what)

    hook, sys.unraisablehook = sys.unraisablehook, dropped
    earlier: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, handler in earlier.items() if handler not in (signal.SIG_IGN, None)]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield received
    finally:
        with lock:
            over = True
        sys.unraisablehook = hook
        for number in ours:
            signal.signal(number, earlier[number])
        forget_stop()
        if _BART in sys.modules:
            sys.modules[_BART].RUNNING.allow()
