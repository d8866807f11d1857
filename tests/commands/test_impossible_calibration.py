"""Settings that leave too little to calibrate coils on are left out with a note; the others run."""

from __future__ import annotations

import numpy as np
import pytest
from small_comparisons import results, run, save

from csmri_ext.bridge import write_fastmri
from csmri_ext.commands import compare
from csmri_ext.phantom import phantom_acquisition

pytestmark = pytest.mark.usefixtures("in_empty_folder", "without_report")
QUICK = ["--methods", "zero-filled,tv", "--tv-iterations", "3", "--mask", "random", "--seed", "0"]


def save_coils(name: str, seed: int) -> str:
    write_fastmri(name, phantom_acquisition(1, 32, seed=seed, n_coils=3))
    return name


def test_a_table_of_both(capsys: pytest.CaptureFixture[str]) -> None:
    """16x leaves one column of 32 in the centre: enough for an image of one coil, and for maps from a file."""
    files = [save_coils("coils.h5", 1), save_coils("other.h5", 2), save("plain.npy", n_slices=1)]
    run(*files, "--acceleration", "2", "16", *QUICK)
    document = results()
    rows = {(row["volume"], row["acceleration"], row["method"]) for row in document["rows"]}
    assert rows == {
        (volume, acceleration, method)
        for volume, acceleration in (("coils.h5", 2), ("other.h5", 2), ("plain.npy", 2), ("plain.npy", 16))
        for method in ("zero-filled", "tv")
    }
    (note,) = [note for note in document["provenance"]["notes"] if note.startswith("left out: ")]
    assert note.startswith("left out: coils.h5, random 16x; other.h5, random 16x: the fully sampled centre of k-space")
    assert note.endswith("coil sensitivities need at least 4 x 4; --sens-maps FILE gives them")
    assert note in capsys.readouterr().err
    assert not document["provenance"]["failed"]
    assert all("partial" not in str(line) for line in document["provenance"]["completeness"].values())


def test_nothing_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([save_coils("coils.h5", 1), "--acceleration", "16", *QUICK]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: coils.h5, random 16x: the fully sampled centre")


def test_maps_of_a_file_need_no_centre() -> None:
    scan = phantom_acquisition(1, 32, seed=1, n_coils=3)
    np.save("maps.npy", np.full((3, 32, 32), 3**-0.5, np.complex64))
    write_fastmri("coils.h5", scan)
    run("coils.h5", "--acceleration", "16", "--sens-maps", "maps.npy", "--methods", "zero-filled", "--mask", "random")
    assert len(results()["rows"]) == 1
