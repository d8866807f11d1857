"""Progress with time left on a terminal; elsewhere plain lines every few seconds, so that a log file stays readable.

Within `silence` (``--quiet``) neither.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Lock, Thread

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column

INTERVAL = 10.0  # seconds of silence after which a log gets a line
_silent = False
_told: set[str] = set()


@contextmanager
def silence() -> Iterator[None]:
    """Let every `log` that is made in the body say nothing."""
    global _silent
    before, _silent = _silent, True
    try:
        yield
    finally:
        _silent = before


def is_silent() -> bool:
    """Whether nothing is to be told, within `silence`."""
    return _silent


def log() -> Console:
    """Make the console of stderr for progress and notes."""
    return Console(stderr=True, quiet=_silent)


def note_once(text: str, about: str | None = None) -> None:
    """Say something in one line of stderr, once in this process.

    Parameters
    ----------
    text
        The line.
    about
        What counts as the same; None: the text.
    """
    if (about or text) not in _told:
        _told.add(about or text)
        log().print(f"note: {text}", markup=False, highlight=False, soft_wrap=True)


class Stage:
    """One stage of work, counted in slices or whatever its caller counts.

    Parameters
    ----------
    title, total
        What is being done, and how much of it.
    console
        Where lines go.
    progress, task
        The bar that shows it on a terminal; None elsewhere.
    """

    def __init__(
        self, title: str, total: int, console: Console, progress: Progress | None = None, task: TaskID | None = None
    ) -> None:
        self._title, self._total, self._console, self._progress, self._task = title, total, console, progress, task
        self._started = self._told = time.monotonic()
        self._done, self._now, self._lock = 0, "", Lock()

    def describe(self, text: str) -> None:
        """Name what is being done now."""
        self._now = text
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=text)

    def advance(self, count: int) -> None:
        """Count what is finished."""
        with self._lock:
            self._done += count
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, count)

    def line(self, text: str) -> None:
        """Print a finished item as a line of its own; only where there is no bar that shows it."""
        if self._progress is None:
            self._told = time.monotonic()
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def state(self) -> str:
        """Say how far it is: ``tuning: 3 of 12, 0:00:42 left``."""
        passed, done = time.monotonic() - self._started, self._done
        left = f", {remaining(passed, done, self._total)} left" if done else f", {spent(passed)} so far"
        what = f" ({self._now})" if self._now else ""
        return f"{self._title}: {done} of {self._total}{left}{what}"

    def tell_when_silent(self, interval: float) -> None:
        """Print the state, if nothing has been printed for `interval` seconds."""
        if time.monotonic() - self._told >= interval:
            self.line(self.state())


def remaining(passed: float, done: int, total: int) -> str:
    """Time left after `passed` seconds for `done` of `total`, as ``0:01:40``."""
    return spent(passed / done * (total - done))


def spent(seconds: float) -> str:
    """Write seconds as ``0:01:40``."""
    return str(timedelta(seconds=round(seconds)))


@contextmanager
def stage(title: str, total: int, console: Console, interval: float = INTERVAL) -> Iterator[Stage]:
    """Show a bar with time left while the body runs; without a terminal a line after every few seconds of silence.

    Parameters
    ----------
    title
        What is being done.
    total
        Slices in all; a stage without work shows nothing.
    console
        Of stderr. A console that is no terminal gets plain lines and no bar.
    interval
        Seconds of silence before a line.
    """
    if not console.is_terminal or total == 0:
        quiet = Stage(title, total, console)
        with _beating(quiet, interval if total else 0):
            yield quiet
        return
    columns = (
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=20),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
        TextColumn("left", table_column=Column(no_wrap=True)),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as progress:
        yield Stage(title, total, console, progress, progress.add_task(title, total=total))


@contextmanager
def _beating(work: Stage, interval: float) -> Iterator[None]:
    """Let a stage tell its state from another thread, whatever the body waits for; 0: never."""
    if not interval:
        yield
        return
    over = Event()

    def beat() -> None:
        while not over.wait(min(interval, 1.0)):
            work.tell_when_silent(interval)

    thread = Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
