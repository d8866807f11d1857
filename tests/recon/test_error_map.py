from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from csmri_ext.bridge.fourier import fft2c
from csmri_ext.phantom import phantom_volume
from csmri_ext.physics import make_mask
from csmri_ext.recon import methods
from csmri_ext.recon.error_map import error_map
from csmri_ext.recon.problem import Problem


def network(problem: Problem) -> np.ndarray:
    return methods.get("nasn_knee").reconstruct(problem).image


@pytest.mark.slow
def test_where_it_says_twice_the_error_is_about_twice() -> None:
    """On heads and trunks of noise 0.01: pixels sorted by the map, in eight groups of equally many."""
    said, true = [], []
    for kind, acceleration in (("random", 4), ("equispaced_fraction", 4), ("radial_golden", 8)):
        for seed, anatomy in enumerate(("brain", "body", "abstract")):
            volume = phantom_volume(1, (128, 128), 300 + seed, noise=0.01, processed=False, anatomy=anatomy)
            image = volume / np.abs(volume).max()
            mask = make_mask(kind, (128, 128), acceleration, seed=seed).numpy()
            problem = Problem((fft2c(image) * mask)[:, None].astype(np.complex64), mask)
            recon = network(problem)
            said.append(error_map(network, problem, recon).ravel())
            true.append(np.abs(np.abs(recon) - np.abs(image)).ravel())
    expected, error = np.concatenate(said), np.concatenate(true)
    groups = np.array_split(np.argsort(expected), 8)
    pairs = [(np.sqrt(np.mean(expected[g] ** 2)), np.sqrt(np.mean(error[g] ** 2))) for g in groups]
    for expectation, found in pairs[4:]:  # below lies the noise of the reference
        assert 0.5 < found / expectation < 2
    (low, error_low), (high, error_high) = pairs[4], pairs[7]
    assert high > 2 * low
    assert 0.5 < (error_high / error_low) / (high / low) < 2


def test_complete_information_leaves_no_doubt_and_the_seed_decides() -> None:
    rng = np.random.default_rng(0)
    kspace = rng.normal(size=(2, 1, 16, 12, 2)).astype(np.float32).view(np.complex64)[..., 0]
    problem = Problem(kspace, np.ones(12, bool))
    image = np.ones((2, 16, 12), np.complex64)
    assert not error_map(lambda _: image, problem, image).any()
    masks: list[np.ndarray] = []

    def seen(part: Problem) -> np.ndarray:
        masks.append(part.mask)
        assert not part.kspace[..., ~part.mask].any()
        return image * len(masks)

    spread = error_map(seen, problem, image, count=3)
    assert spread.shape == image.shape
    np.testing.assert_allclose(spread, 2 * np.sqrt((0 + 1 + 4) / 3), rtol=1e-5)
    assert all(mask[2:10].all() for mask in masks), "the centre stays"
    again = list(masks)
    error_map(seen, problem, image, count=3)
    for a, b in zip(again, masks[3:], strict=True):
        np.testing.assert_array_equal(a, b)
    two = replace(problem, mask=np.ones((16, 12), bool))
    assert error_map(lambda part: image * part.mask.mean(), two, image).any()


def test_all_parts_keep_what_is_around_the_echo_of_every_slice() -> None:
    kspace = np.full((2, 1, 32, 40), 0.01, np.complex64)
    kspace[0, 0, 9, 30] = kspace[1, 0, 20, 12] = 1
    image = np.ones((2, 32, 40), np.complex64)
    for mask in (np.ones((32, 40), bool), np.ones(40, bool)):
        masks: list[np.ndarray] = []
        problem = Problem(kspace, mask)
        error_map(lambda part, masks=masks: masks.append(np.atleast_2d(part.mask)) or image, problem, image)
        for rows, columns in ((slice(5, 13), slice(26, 34)), (slice(16, 24), slice(8, 16))):
            assert all(kept[rows, columns].all() for kept in masks if len(kept) > 1)
            assert all(kept[:, columns].all() for kept in masks if len(kept) == 1)
        assert not all(kept[..., 18:22].all() for kept in masks), "nothing else, and not the middle"
