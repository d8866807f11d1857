"""What is said, and recorded, of an echo off the middle."""

from __future__ import annotations

import numpy as np
import pytest

from csmri_ext.bridge import Acquisition
from csmri_ext.errors import InputError
from csmri_ext.phantom import phantom_acquisition
from csmri_ext.recon.evaluate import Problems, evaluate
from csmri_ext.recon.methods import get
from csmri_ext.recon.sampling import OWN_MASK, Sampling
from csmri_ext.recon.shared_setup import ECALIB, Setup
from csmri_ext.recon.volumes import Volume

N, LINES = 64, 12
OWN = Sampling(OWN_MASK)


def volume(*echoes: tuple[int, int], band: int = 0, coils: int = 3) -> Volume:
    """Slices whose echo is so many rows and columns off the middle; the fully sampled columns `band` off."""
    mask = np.zeros(N, bool)
    mask[1::4] = True
    mask[N // 2 + band - LINES // 2 : N // 2 + band + LINES // 2] = True
    kspace = np.array(phantom_acquisition(1, N, 1, n_coils=coils).kspace[0])
    slices = np.stack([np.roll(kspace, echo, (-2, -1)) * mask for echo in echoes])
    return Volume("a", Acquisition(slices, "a", mask=mask), range(len(echoes)), "a")


@pytest.mark.parametrize(
    ("echoes", "band", "bart", "said"),
    [
        ([(0, 0)], 0, False, None),
        ([(0, 0)], 0, True, None),
        ([(6, 4)], 0, False, None),
        ([(0, 0), (0, 11)], 0, False, "the echo of 1 of 2 slices lies outside the fully sampled block"),
        ([(0, 0), (0, 11)], 0, True, "the echo of 1 of 2 slices lies outside the fully sampled block"),
        ([(0, 8)], 8, False, None),
        ([(-5, 8), (0, 8)], 8, True, "rolled by up to 5 rows and 8 columns, which changes no sensitivities"),
    ],
)
def test_notes(echoes: list[tuple[int, int]], band: int, bart: bool, said: str | None) -> None:
    scan, setup = volume(*echoes, band=band), Setup(bart="bart" if bart else None)
    notes = setup.notes([(scan, OWN)])
    assert len(notes) == (said is not None)
    assert said is None or (notes[0].startswith("a, acquired: the echo ") and said in notes[0])
    assert setup.maps_impossible(scan, OWN) is None
    if bart:
        assert setup.maps_source(scan, OWN) == ECALIB
        assert setup.maps_note(scan, OWN) is None


def test_one_coil_needs_no_note() -> None:
    assert Setup().notes([(volume((0, 11), coils=1), OWN)]) == []


def test_the_record_counts_the_lines_around_the_echo() -> None:
    scan = volume((0, 8), band=8)
    assert OWN.describe(scan, None, read=True)["center"] == [LINES]
    assert OWN.describe(scan, None)["center"] == [0]


def test_few_lines_around_the_echo_are_refused_with_the_way_out() -> None:
    scan = volume((0, 0), band=24)
    reason = Setup().maps_impossible(scan, OWN)
    assert reason is not None and reason.endswith("need at least 4 x 4; --sens-maps FILE gives them")
    setup = Setup(way_out="another mask helps")
    assert str(setup.maps_impossible(scan, OWN)).endswith("need at least 4 x 4; another mask helps")
    assert str(setup.echo_note(volume((0, 11)), OWN)).endswith("estimated without it; another mask helps")
    with pytest.raises(InputError, match="another mask helps"):
        evaluate(get("zero-filled"), scan, OWN, Problems(setup), lambda _: None)
