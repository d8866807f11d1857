"""What a comparison was to make, what has finished, and what a reader must know when that is not the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from csmri_ext.bridge.first_few import first_few
from csmri_ext.report.rows import Row
from csmri_ext.report.summary import Setting, count


@dataclass(frozen=True)
class Completeness:
    """Planned and finished rows of all runs into one folder.

    Attributes
    ----------
    planned, finished
        How many reconstructions; a row is one method on one volume at one setting.
    missing
        Missing rows by method and setting.
    stopped
        ``{"at": ..., "by": "SIGINT"}`` where the last run was interrupted.
    failed
        ``{"what": ..., "why": ...}`` of every file and row that could not be done.
    """

    planned: int
    finished: int
    missing: dict[tuple[str, Setting], int] = field(default_factory=dict)
    settings: Sequence[Setting] = ()  # of the missing rows
    begun: Collection[Setting] = ()  # with a row at least
    stopped: Mapping[str, str] | None = None
    failed: Sequence[Mapping[str, str]] = ()

    @property
    def partial(self) -> bool:
        """Whether anything is missing."""
        return bool(self.missing) or bool(self.failed)

    def headline(self) -> str:
        """Say in a sentence that this is not the whole comparison, and why; empty where it is."""
        if not self.partial:
            return ""
        if self.stopped is not None:
            start = f"Interrupted at {_time(self.stopped['at'])}"
        else:
            start = "Partial" if self.missing else "Some inputs are missing"
        parts = [f"{start}: {self.finished} of {count(self.planned, 'reconstruction')} finished"]
        if self.missing:
            parts.append(f"missing: {', '.join(self._lacking())}")
        if self.failed:
            parts.append(f"{count(len(self.failed), 'failure')} listed below")
        return "; ".join(parts) + "."

    def _lacking(self) -> list[str]:
        """Missing rows in words: settings that have not begun as a whole, then method by method, the first few."""
        untouched = [setting for setting in self.settings if setting not in self.begun]
        words = [f"everything at {setting.title}" for setting in untouched]
        words += [
            f"{method} at {setting.title} ({count(number, 'volume')})"
            for (method, setting), number in self.missing.items()
            if setting not in untouched
        ]
        return first_few(words, 4)

    def as_dict(self) -> dict[str, Any]:
        """Entry of the provenance: ``{"complete", "planned", "finished", "headline"}``."""
        return {
            "complete": not self.partial,
            "planned": self.planned,
            "finished": self.finished,
            "headline": self.headline(),
        }


def completeness(rows: Sequence[Row], provenance: Mapping[str, Any]) -> Completeness:
    """Compare the rows with ``provenance["planned"]``; without it, everything was planned that is there."""
    keys = {row.key for row in rows}
    wanted = {
        (entry["method"], entry["mask"], entry["acceleration"], volume)
        for entry in provenance.get("planned", ())
        for volume in entry["volumes"]
    }
    missing: dict[tuple[str, Setting], int] = {}
    for entry in provenance.get("planned", ()):
        setting = Setting(entry["mask"], entry["acceleration"])
        lacking = {(entry["method"], entry["mask"], entry["acceleration"], name) for name in entry["volumes"]} - keys
        if lacking:
            missing[entry["method"], setting] = len(lacking)
    return Completeness(
        planned=len(wanted | keys),
        finished=len(keys),
        missing=missing,
        settings=list(dict.fromkeys(setting for _, setting in missing)),
        begun={Setting(row.mask, row.acceleration) for row in rows},
        stopped=provenance.get("stopped"),
        failed=tuple(provenance.get("failed", ())),
    )


def _time(stamp: str) -> str:
    """``2026-01-31T12:00:05+00:00`` for people: ``2026-01-31 12:00 UTC``."""
    return f"{stamp[:10]} {stamp[11:16]} UTC"
