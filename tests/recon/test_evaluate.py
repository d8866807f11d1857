from __future__ import annotations

import numpy as np
import pytest
import torch

from csmri_ext.bridge import Acquisition
from csmri_ext.bridge.fourier import ifft2c
from csmri_ext.phantom import phantom_acquisition
from csmri_ext.physics import estimate_sens_maps
from csmri_ext.physics.calibration import estimate
from csmri_ext.recon import methods
from csmri_ext.recon.evaluate import Problems, evaluate
from csmri_ext.recon.methods import Method
from csmri_ext.recon.problem import Problem, Reconstruction
from csmri_ext.recon.sampling import OWN_MASK, Sampling
from csmri_ext.recon.shared_setup import Setup
from csmri_ext.recon.volumes import Volume


def test_row_has_the_residual_of_all_samples() -> None:
    """``|M F x - y| / |y|`` over all slices together: each is wrong by a factor of its own, and of its own energy."""
    rng = np.random.default_rng(0)
    mask = np.arange(12) % 3 > 0
    kspace = (mask * (rng.normal(size=(3, 1, 10, 12)) + 1j * rng.normal(size=(3, 1, 10, 12)))).astype(np.complex64)
    kspace *= np.array([1, 2, 5], np.float32)[:, None, None, None]
    wrong = np.array([0.1, 0.3, 0.2])

    def reconstruct(problem: Problem) -> Reconstruction:
        return Reconstruction(ifft2c(problem.kspace[:, 0]) * (1 + wrong)[:, None, None].astype(np.float32))

    volume = Volume("a", Acquisition(kspace, "a", mask=mask), range(3), "a")
    row, _ = evaluate(Method("wrong", reconstruct, ""), volume, Sampling(OWN_MASK), Problems(Setup()), lambda n: None)
    energies = (np.abs(kspace).astype(np.float64) ** 2).sum(axis=(1, 2, 3))
    assert row.kspace_residual == pytest.approx(np.sqrt((wrong**2 * energies).sum() / energies.sum()), rel=1e-5)


@pytest.mark.parametrize("first", ["zero-filled", "dccnn3"])
def test_networks_and_other_methods_share_one_calibration(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps that are 0 in air and maps that are not come of one eigenvalue problem a slice, and are what they were."""
    volume = Volume("a", phantom_acquisition(2, 48, seed=3, n_coils=3), range(2), "a")
    sampling, problems = Sampling("random", 2.0, 0.25), Problems(Setup(seed=0))
    solved = []
    solve = estimate.maps_and_object
    monkeypatch.setattr(
        estimate, "maps_and_object", lambda *args, **words: solved.append(args) or solve(*args, **words)
    )
    order = sorted(["zero-filled", "dccnn3"], key=lambda name: name != first)
    maps = {name: problems.get(volume, sampling, [0, 1], methods.get(name)).sens_maps for name in order}
    assert len(solved) == 2
    kspace, mask = torch.from_numpy(volume.kspace([0, 1])), torch.from_numpy(sampling.mask(volume, 0))
    for name, cropped in (("zero-filled", True), ("dccnn3", False)):
        np.testing.assert_array_equal(maps[name], estimate_sens_maps(kspace * mask, mask, cropped=cropped).numpy())
    problems.get(volume, sampling, [1], methods.get(first))
    assert (
        len(solved) == 7
    )  # two above, two for each comparison, one of this slice: nothing of the slices before is used again
