"""Which files a report consists of, so that a new one leaves nothing of an older one behind."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape, unescape
from pathlib import Path

PAGE = "report.html"
FIGURES, PANELS = "images", "panels"
PLACES = ("auto", "inside", "beside")
"""Where the images of the viewer lie: inside the page, or in files beside it; auto takes the page while they fit."""

WRITTEN = (
    *(PAGE, "table.tex", "table.csv"),
    *(f"{FIGURES}/{stem}.{kind}" for stem in ("recon-*", "error-*", "boxplots") for kind in ("png", "pdf", "svg")),
    f"{PANELS}/*",
)
"""Names that a report may have in its folder, as `csmri_ext.outputs.existing` takes them."""

_LISTED = re.compile(r'<meta name="files" content="([^"]*)">')
_NAME = re.compile(r"[^/\\\0]+")
_HEAD = 2**20  # characters at the start of a page that hold the list


def listed(names: Iterable[str]) -> str:
    """Write the names of a report's files for its page, where `report_files` finds them."""
    return "|".join(escape(name) for name in names)


def report_files(out_dir: Path) -> list[Path]:
    """Files of the report that lies in a folder, as its page lists them; the page itself is not among them."""
    try:
        with (out_dir / PAGE).open(encoding="utf-8", errors="replace") as file:
            match = _LISTED.search(file.read(_HEAD))
    except OSError:
        return []
    if match is None:
        return []
    found = []
    for name in unescape(match[1]).split("|"):
        folder, _, last = name.rpartition("/")
        if folder in ("", FIGURES, PANELS) and _NAME.fullmatch(last) and last not in (".", ".."):
            found.append(out_dir / folder / last)
    return found


def remove_stale(out_dir: Path, before: Iterable[Path], now: Iterable[Path]) -> None:
    """Remove files of an older report that a new one does not have, and folders that are left empty."""
    kept = set(now)
    for path in before:
        if path not in kept:
            path.unlink(missing_ok=True)
    panels = out_dir / PANELS
    if panels.is_dir() and not any(panels.iterdir()):
        panels.rmdir()


def remove_report(out_dir: Path) -> None:
    """Remove the page and its files."""
    remove_stale(out_dir, report_files(out_dir), [])
    (out_dir / PAGE).unlink(missing_ok=True)
