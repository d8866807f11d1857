"""Sensitivities of a file that are 0 somewhere, as `bart ecalib` writes them: said, and in the result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_slices import make_slice
from small_comparisons import results, run

from csmri_ext.bridge.result_records import read_record
from csmri_ext.commands import cli

pytestmark = pytest.mark.usefixtures("in_empty_folder", "without_report")
MADE = make_slice((32, 40), n_coils=4)
ALL = MADE.sens_maps + np.complex64(1e-3)
CROPPED = np.where(np.arange(40) < 30, ALL, np.complex64(0))  # a quarter of the pixels
WORDS = ["--axes", "coil y x", "--mask", "equispaced", "--acceleration", "2", "--seed", "0"]
LOST = "sensitivities of the file are 0 in 25 % of the pixels: networks have nothing to go by there"


@pytest.mark.parametrize("method", ["dccnn3", "tv"])
@pytest.mark.parametrize("place", ["beside", "own"])
def test_the_line_and_the_record_say_it(method: str, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    if place == "beside":
        np.savez("k.npz", kspace=MADE.kspace, sens_maps=CROPPED)
    else:
        np.savez("k.npz", kspace=MADE.kspace)
        np.save("maps.npy", CROPPED)
    maps = ["--sens-maps", "maps.npy"] if place == "own" else []
    assert cli.main(["recon", "k.npz", "o.npy", "--method", method, "--tv-iterations", "3", *maps, *WORDS]) == 0
    said = capsys.readouterr()
    assert "; sensitivities: file, 0 in 25 % of the pixels; read as" in said.out
    assert (f"warning: k.npz: {LOST}" in said.err) == (method == "dccnn3")
    assert read_record(Path("o.npy"))["sens_maps_zero"] == 0.25  # type: ignore[index]
    image = np.load("o.npy")
    assert image[..., :30].any() and (method == "tv" or not image[..., 30:].any())


def test_nothing_is_said_of_whole_maps_and_of_one_coil(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("k.npz", kspace=MADE.kspace, sens_maps=ALL)
    np.savez("one.npz", kspace=MADE.kspace[:1], sens_maps=CROPPED[:1])
    for name in ("k", "one"):
        assert cli.main(["recon", f"{name}.npz", f"{name}.npy", "--method", "dccnn3", *WORDS]) == 0
        assert "% of the pixels" not in "".join(capsys.readouterr())
        assert "sens_maps_zero" not in read_record(Path(f"{name}.npy"))  # type: ignore[operator]


def test_a_comparison_says_it_of_networks_and_in_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("k.npz", kspace=MADE.kspace)
    np.save("maps.npy", CROPPED)
    run("k.npz", "--sens-maps", "maps.npy", "--methods", "zero-filled,dccnn3", *WORDS)
    document = results()
    assert [row["details"]["sens_maps_zero"] for row in document["rows"]] == [0.25, 0.25]
    (note,) = [note for note in document["provenance"]["notes"] if "networks have nothing" in note]
    said = capsys.readouterr()
    assert note.startswith(f"k.npz: {LOST}") and f"note: {note}" in said.err
    assert "from file, partly 0" in said.out
    np.savez("same.npz", kspace=MADE.kspace, sens_maps=CROPPED)
    run("k.npz", "same.npz", "--methods", "dccnn3", *WORDS, "--sens-maps", "maps.npy", "--out", "two")
    assert f"k.npz; same.npz: {LOST}" in "".join(results("two")["provenance"]["notes"])
    run("k.npz", "--sens-maps", "maps.npy", "--methods", "zero-filled", *WORDS, "--out", "classic")
    assert not [note for note in results("classic")["provenance"]["notes"] if "networks have nothing" in note]
