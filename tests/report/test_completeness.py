"""A comparison that is not whole says so, everywhere it is read."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from made_comparison import made_comparison
from rich.console import Console

from csmri_ext.report import sheet
from csmri_ext.report.completeness import completeness
from csmri_ext.report.page import write_report
from csmri_ext.report.rows import Comparison
from csmri_ext.report.sheet import png
from csmri_ext.report.table import print_tables


def planned(comparison: Comparison) -> list[dict]:
    volumes: dict = {}
    for row in comparison.rows:
        volumes.setdefault((row.method, row.mask, row.acceleration), []).append(row.volume)
    return [
        {"method": method, "mask": mask, "acceleration": acceleration, "volumes": names}
        for (method, mask, acceleration), names in volumes.items()
    ]


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """Two volumes at two settings; stopped in the second volume of the first setting."""
    monkeypatch.setattr(sheet, "png", lambda figure, dpi: png(figure, 40))
    monkeypatch.setattr(sheet, "vector", lambda figure, kind: b"")
    comparison = made_comparison(slices=1)
    comparison.provenance["planned"] = planned(comparison)
    comparison.provenance["stopped"] = {"at": "2026-01-31T12:00:05+00:00", "by": "SIGINT"}
    lost = [r for r in comparison.rows if r.acceleration == 8 or (r.method, r.volume) == ("tv-bart", "volume_b.h5")]
    comparison.rows[:] = [row for row in comparison.rows if row not in lost]
    comparison.panels[:] = [p for p in comparison.panels if p.acceleration == 4 and p.volume == "volume_a.h5"]
    return comparison


HEADLINE = (
    "Interrupted at 2026-01-31 12:00 UTC: 5 of 12 reconstructions finished; missing: everything at "
    "equispaced_fraction, R = 8, tv-bart at equispaced_fraction, R = 4 (1 volume)."
)


def test_headline(interrupted: Comparison) -> None:
    found = completeness(interrupted.rows, interrupted.provenance)
    assert found.headline() == HEADLINE
    assert found.as_dict() == {"complete": False, "planned": 12, "finished": 5, "headline": HEADLINE}
    del interrupted.provenance["stopped"]
    assert completeness(interrupted.rows, interrupted.provenance).headline().startswith("Partial: 5 of 12")


def test_a_whole_comparison_has_none() -> None:
    comparison = made_comparison(slices=1)
    assert completeness(comparison.rows, comparison.provenance).headline() == ""
    comparison.provenance["planned"] = planned(comparison)
    assert completeness(comparison.rows, comparison.provenance).headline() == ""
    comparison.provenance["failed"] = [{"what": "x.h5", "why": "x.h5: damaged"}]
    assert "1 failure listed below" in completeness(comparison.rows, comparison.provenance).headline()


def test_page_says_it_first_and_marks_rows_and_groups(interrupted: Comparison, tmp_path: Path) -> None:
    interrupted.provenance["failed"] = [{"what": "broken.h5", "why": "broken.h5: not a readable file"}]
    text = write_report(tmp_path, interrupted).read_text()
    assert text.index("Interrupted at 2026-01-31 12:00 UTC") < text.index('id="verdict"')
    assert "partial; means over the 1 of 2 volumes that all have" in text
    assert "<small>1 of 2 volumes</small>" in text
    assert "on the 1 of 2 volumes that all of them have" in text
    assert "broken.h5: not a readable file" in text
    assert "% Interrupted at" in (tmp_path / "table.tex").read_text()
    whole = write_report(tmp_path / "whole", made_comparison(slices=1)).read_text()
    assert 'id="partial"' not in whole


def test_terminal_says_it_first(interrupted: Comparison) -> None:
    text = io.StringIO()
    console = Console(file=text, width=160)
    print_tables(interrupted.rows, "variant X", console, interrupted.provenance)
    printed = text.getvalue()
    assert printed.startswith(HEADLINE)
    assert "partial; means over the 1 of 2 volumes that all have" in printed
    assert "tv-bart (1 of 2 volumes)" in printed


def test_the_winner_is_the_one_of_the_whole_run(interrupted: Comparison, tmp_path: Path) -> None:
    """tv-bart lacks the easier volume, and would look worse over different volumes."""
    for row in interrupted.rows:
        if row.volume == "volume_b.h5" and row.psnr is not None:
            row.psnr += 20
    text = write_report(tmp_path, interrupted).read_text()
    assert "tv-bart leads in PSNR" in text
