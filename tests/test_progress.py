from __future__ import annotations

import io
import time
from collections.abc import Callable

from rich.console import Console

from csmri_ext.progress import stage


def shown(*, terminal: bool, total: int = 4) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=80, color_system=None)
    with stage("reading", total, console) as progress:
        progress.advance(1)
        progress.describe("tv, random 4x, a.npy")
        progress.line("a.npy: 3.2 s")
        progress.advance(1)
    return text.getvalue()


def test_a_terminal_shows_one_bar_with_its_count_and_the_time_left() -> None:
    text = shown(terminal=True)
    assert "tv, random 4x, a.npy" in text
    assert "2/4" in text
    assert ":" in text.split("2/4")[1]
    assert "left" in text
    assert "3.2 s" not in text, "the bar says it"


def test_elsewhere_there_are_plain_lines_and_nothing_else() -> None:
    assert shown(terminal=False) == "a.npy: 3.2 s\n"


def test_nothing_to_do_shows_no_bar() -> None:
    assert "left" not in shown(terminal=True, total=0)


def test_silence_is_broken_with_the_state_and_the_time_left() -> None:
    """Whatever the body waits for: one slow slice, or a count that nobody advances."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=False, width=80)
    with stage("tuning", 8, console, interval=0.05) as progress:
        wait_for(lambda: "tuning: 0 of 8" in text.getvalue())
        assert "so far" in text.getvalue()
        progress.advance(2)
        progress.describe("random 4x")
        wait_for(lambda: "tuning: 2 of 8, 0:00:0" in text.getvalue())
    assert "left (random 4x)" in text.getvalue()
    lines = text.getvalue().splitlines()
    with stage("nothing", 0, console, interval=0.01):
        time.sleep(0.05)
    assert text.getvalue().splitlines() == lines


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
