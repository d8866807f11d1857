"""Progress with time left on a terminal; plain lines elsewhere, so that a log file stays readable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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


class Stage:
    """One stage of work, counted in slices."""

    def __init__(self, console: Console, progress: Progress | None, task: TaskID | None) -> None:
        self._console, self._progress, self._task = console, progress, task

    def describe(self, text: str) -> None:
        """Name what is being done now; shown on a terminal only."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=text)

    def advance(self, slices: int) -> None:
        """Count finished slices."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, slices)

    def line(self, text: str) -> None:
        """Print a finished item as a line of its own; only where there is no bar that shows it."""
        if self._progress is None:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def stage(title: str, total: int, console: Console) -> Iterator[Stage]:
    """Show a bar with time left while the body runs.

    Parameters
    ----------
    title
        What is being done.
    total
        Slices in all; a stage without work shows nothing.
    console
        Of stderr. A console that is no terminal gets plain lines and no bar.
    """
    if not console.is_terminal or total == 0:
        yield Stage(console, None, None)
        return
    columns = (
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=20),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
        TextColumn("left", table_column=Column(no_wrap=True)),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as progress:
        yield Stage(console, progress, progress.add_task(title, total=total))
