"""What weights say about their training, and the note where they are run on something else."""

from __future__ import annotations

import io
import json
import struct

import pytest

from csmri_ext.recon.methods import get
from csmri_ext.recon.trained_for import safetensors_metadata, training_note, training_of, unfamiliar

RUN = {"data": "knees", "recipe": {"masks": ["random", "radial_golden"], "accelerations": [4.0, 8.0]}}


def test_what_matches_is_not_mentioned() -> None:
    assert unfamiliar(RUN, ["random"], [4.0, 6.0, 8.0], 1) == []


@pytest.mark.parametrize(
    ("kinds", "accelerations", "coils", "words"),
    [
        (["poisson", "random"], [4.0], 1, "masks never seen in training: poisson (trained on random, radial_golden)"),
        (["random"], [4.0, 12.0], 1, "acceleration 12 is outside of the trained 4 to 8"),
        (["random"], [4.0], 15, "trained on single-coil data, run on 15 coils"),
    ],
)
def test_what_differs_is_named(kinds: list[str], accelerations: list[float], coils: int, words: str) -> None:
    assert unfamiliar(RUN, kinds, accelerations, coils) == [words]


def test_weights_that_know_coils_are_believed() -> None:
    for coils, said in (([1, 4, 12], 0), ([1], 1)):
        run = {**RUN, "recipe": {**RUN["recipe"], "coils": coils}}
        assert len(unfamiliar(run, ["random"], [4.0], 15)) == said


def test_weights_that_say_nothing_are_not_judged() -> None:
    assert unfamiliar({}, ["poisson"], [99.0], 15) == []
    assert unfamiliar({"recipe": {}}, ["poisson"], [99.0], 1) == []


def test_shipped_weights_tell_their_training() -> None:
    run = training_of(get("nasn_magnitude"))
    assert run is not None
    assert "random" in run["recipe"]["masks"]
    assert training_of(get("tv")) is None
    note = training_note([get("tv"), get("nasn_magnitude")], ["poisson"], [4.0], 8)
    assert note.startswith("run on what they were not trained for: nasn_magnitude (trained on: ")
    assert "single-coil" in note
    assert "masks never seen in training: poisson" in note
    assert training_note([get("nasn_knee")], ["poisson"], [4.0], 8) == ""
    assert training_note([get("tv")], ["poisson"], [4.0], 8) == ""


def test_header_of_a_file_of_weights() -> None:
    header = json.dumps({"__metadata__": {"run": "{}"}}).encode()
    assert safetensors_metadata(io.BytesIO(struct.pack("<Q", len(header)) + header)) == {"run": "{}"}
    for bad in (b"", b"short", struct.pack("<Q", 2**60), struct.pack("<Q", 5) + b"{{{{{"):
        with pytest.raises((ValueError, struct.error)):
            safetensors_metadata(io.BytesIO(bad))
