from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from csmri_ext.bridge import Acquisition
from csmri_ext.errors import InputError
from csmri_ext.physics import make_mask, mask_hash
from csmri_ext.recon.sampling import OWN_MASK, Sampling, sampling_grid, samplings_of
from csmri_ext.recon.shared_setup import Setup
from csmri_ext.recon.volumes import Volume


def volume(name: str = "file1000001.h5", mask: np.ndarray | None = None, shape: tuple[int, int] = (40, 64)) -> Volume:
    kspace = np.ones((1, 1, *shape), np.complex64)
    return Volume(name, Acquisition(kspace=kspace, name=name, mask=mask), range(1), name)


def test_grid_crosses_kinds_with_accelerations() -> None:
    grid = sampling_grid(["random", "magic"], [4, 8], None)
    assert grid == [Sampling(kind, r, None) for kind in ("random", "magic") for r in (4, 8)]


def test_center_fractions_pair_with_accelerations_as_in_fastmri() -> None:
    assert sampling_grid(["random"], [4, 8], [0.08, 0.04]) == [Sampling("random", 4, 0.08), Sampling("random", 8, 0.04)]
    assert sampling_grid(["random"], [4, 8], [0.1]) == [Sampling("random", 4, 0.1), Sampling("random", 8, 0.1)]


@pytest.mark.parametrize(
    ("kinds", "accelerations", "fractions", "complaint"),
    [
        (["equispaced_fractoin"], [4], None, "unknown mask 'equispaced_fractoin'; did you mean equispaced_fraction"),
        (["random"], [0.5], None, "acceleration 0.5: it must be at least 1"),
        (["random"], [float("nan")], None, "acceleration nan"),
        (["random"], [4, 8], [0.1, 0.2, 0.3], "3 values and --acceleration 2"),
        (["random"], [4], [1.5], "center fraction 1.5"),
        (["random"], [4], [0.0], "center fraction 0: it must lie in"),
    ],
)
def test_grid_refuses_what_makes_no_sense(kinds: list, accelerations: list, fractions: list, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        sampling_grid(kinds, accelerations, fractions)


def test_mask_is_seeded_by_file_name_unless_told_otherwise() -> None:
    sampling = Sampling("random", 4)
    by_name = make_mask("random", (40, 64), 4, seed="file1000001.h5").numpy()
    by_seed = make_mask("random", (40, 64), 4, seed=5).numpy()
    np.testing.assert_array_equal(sampling.mask(volume(), None), by_name)
    np.testing.assert_array_equal(sampling.mask(volume(), 5), by_seed)
    by_zero = make_mask("random", (40, 64), 4, seed=0).numpy()
    np.testing.assert_array_equal(sampling.mask(volume(), 0), by_zero)
    assert (by_name != by_seed).any()


def test_impossible_center_names_mask_and_volume() -> None:
    with pytest.raises(InputError, match=r"mask equispaced_fraction 8x for file1000001\.h5"):
        Sampling("equispaced_fraction", 8, 0.5).mask(volume(), 0)


def test_scanner_mask_replaces_the_grid() -> None:
    grid = sampling_grid(["random"], [4, 8], None)
    mask = np.arange(64) % 3 == 0
    assert samplings_of(volume(), grid) == grid
    (own,) = samplings_of(volume(mask=mask), grid)
    assert own == Sampling(OWN_MASK)
    np.testing.assert_array_equal(own.mask(volume(mask=mask), 5), mask)


def test_what_was_done_to_a_mask_of_a_file_is_said(tmp_path: Path) -> None:
    columns = np.arange(64) % 3 == 0
    columns[24:40] = True
    stored = {
        "x.npy": (columns, None),
        "shifted.npy": (np.fft.ifftshift(columns), "the mask was shifted, as its centre was at index 0"),
        "y.npy": (
            np.broadcast_to(columns[:40, None], (40, 64)),
            "the mask leaves out whole rows, along y; see --phase-encoding",
        ),
    }
    for name, (mask, said) in stored.items():
        np.save(tmp_path / name, mask)
        (sampling,) = sampling_grid([str(tmp_path / name)], [4], None)
        assert sampling.note(volume()) == said
        expected = [] if said is None else [f"file1000001.h5, {name}: {said}"]
        assert Setup().notes([(volume(), sampling)]) == expected
    assert Sampling("random", 4).note(volume()) is None


def test_description_has_hash_and_sampled_fraction() -> None:
    facts = Sampling("random", 4).describe(volume(), 5)
    mask = make_mask("random", (40, 64), 4, seed=5)
    assert facts["hash"] == mask_hash(mask)[:16]
    assert facts["sampled"] == pytest.approx(float(mask.float().mean()))
    assert (facts["kind"], facts["acceleration"], facts["seed"]) == ("random", 4, 5)
    assert Sampling("random", 4).describe(volume(), None)["seed"] == "file1000001.h5"
