"""Estimated errors in a comparison: files for BART, and a figure of the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_comparisons import FAST, results, run, save

from csmri_ext.bridge import from_bart, read_cfl
from csmri_ext.recon.error_map import SCALE

pytestmark = pytest.mark.usefixtures("in_empty_folder")


@pytest.mark.slow
def test_maps_join_finished_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without them goes on with them: nothing is reconstructed twice for a row, and they change no number."""
    words = [save("a.npy", n_slices=1), *FAST, "--acceleration", "4"]
    run(*words)
    before = results()["rows"]
    assert not Path("comparison/errors").exists()
    assert not list(Path("comparison/images").glob("error-*"))
    run(*words, "--error-maps")
    assert results()["rows"] == before
    for row in before:
        image, error = (read_cfl(Path("comparison") / part / row["details"]["recon"]) for part in ("recons", "errors"))
        assert image.shape == error.shape
        found = from_bart(error)[:, 0]
        assert (found.real >= 0).all()
        assert not found.imag.any()
        assert 0 < found.real.mean() < SCALE * np.abs(from_bart(image)).max()
    assert {path.suffix for path in Path("comparison/images").glob("error-*")} == {".png", ".pdf", ".svg"}
    page = Path("comparison/report.html").read_text()
    assert "The estimated error of every pixel" in page
    assert "and below it the error itself" in page

    def fails(*_: object) -> None:
        raise AssertionError("they are there already")

    monkeypatch.setattr("csmri_ext.recon.comparison.volume_error_map", fails)
    run(*words, "--error-maps")
    run(*words, "--overwrite")
    assert not list(Path("comparison/errors").iterdir())
