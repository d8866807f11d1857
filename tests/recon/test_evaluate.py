from __future__ import annotations

import numpy as np
import pytest

from csmri_ext.bridge import Acquisition
from csmri_ext.bridge.fourier import ifft2c
from csmri_ext.recon.evaluate import Problems, Setup, evaluate
from csmri_ext.recon.methods import Method
from csmri_ext.recon.problem import Problem, Reconstruction
from csmri_ext.recon.sampling import OWN_MASK, Sampling
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
