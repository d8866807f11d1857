"""`tv` against the real ``bart pics``: same images, same iteration counts."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest
from made_slices import fft2c, make_mask, make_slice, relative_difference
from PIL import Image

from csmri_ext.bridge import ecalib, from_bart, pics, read_cfl
from csmri_ext.iterative.tv import solve_tv

TOLERANCE = 1e-5


@pytest.fixture
def bart_tv(bart_binary, caplog):
    """Image and CG iterations of each ADMM iteration, as BART prints them."""

    def run(kspace, mask, sens_maps=None, weight=0.01, iterations=200):
        caplog.clear()
        caplog.set_level(logging.DEBUG, "csmri_ext.bridge.bart_program.run")
        image = pics(
            kspace,
            sens_maps,
            regularization=f"T:3:0:{weight}",
            iterations=iterations,
            pattern=mask,
            debug_level=4,
            binary=bart_binary,
        ).image
        totals = [int(line[1]) for line in re.finditer(r"^\s*\d+\s+(\d+)\t", caplog.text, re.MULTILINE)]
        assert totals, "BART printed no iterations"
        return image, tuple(np.diff([0, *totals]).tolist())

    return run


def assert_same(result, reference, tolerance=TOLERANCE):
    image, counts = reference
    assert result.cg_iterations == counts
    assert relative_difference(result.image, image) <= tolerance


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(64, 64), (64, 50), (63, 65), (96, 41)])
@pytest.mark.parametrize("mask", ["columns", "rows", "points", "no centre"])
@pytest.mark.parametrize("n_coils", [1, 3])
def test_same_image_and_iterations_for_any_shape_and_mask(bart_tv, shape, mask, n_coils):
    made = make_slice(shape, n_coils, mask)
    result = solve_tv(made.kspace, made.mask, made.sens_maps)
    image, counts = bart_tv(made.kspace, made.mask, made.sens_maps)
    # 200 iterations amplify rounding where little was measured: BART's own image moves as much when its data do
    rounded = made.kspace * np.float32(1 + 2 * np.finfo(np.float32).eps)
    own = relative_difference(bart_tv(rounded, made.mask, made.sens_maps)[0], image)
    assert_same(result, (image, counts), max(TOLERANCE, 2 * own))


@pytest.mark.parametrize("weight", [0.003, 0.03, 0.1])
@pytest.mark.parametrize("acceleration", [2, 8])
@pytest.mark.parametrize("n_coils", [1, 2])
def test_same_for_any_weight_and_acceleration(bart_tv, weight, acceleration, n_coils):
    made = make_slice((80, 72), n_coils, acceleration=acceleration)
    result = solve_tv(made.kspace, made.mask, made.sens_maps, weight=weight)
    assert_same(result, bart_tv(made.kspace, made.mask, made.sens_maps, weight))


@pytest.mark.parametrize("iterations", [1, 10, 30, 500])
def test_same_for_any_iteration_budget(bart_tv, iterations):
    made = make_slice((64, 60))
    result = solve_tv(made.kspace, made.mask, iterations=iterations)
    assert_same(result, bart_tv(made.kspace, made.mask, iterations=iterations))


def test_small_weights_agree_as_well_as_bart_agrees_with_itself(bart_tv):
    """Steepest-descent steps far from convergence amplify rounding: turning the phase of the data shows how much."""
    made = make_slice((96, 96), mask="points")
    turn = np.complex64(np.exp(1j))
    image, counts = bart_tv(made.kspace, made.mask, weight=0.001)
    turned, _ = bart_tv(made.kspace * turn, made.mask, weight=0.001)
    spread = relative_difference(turned / turn, image)
    result = solve_tv(made.kspace, made.mask, weight=0.001)
    assert_same(result, (image, counts), TOLERANCE + 3 * spread)
    assert spread < 1e-3


def test_empty_calibration_block(bart_tv):
    made = make_slice((32, 36))
    kspace = np.where(np.arange(36) == 17, 0, made.undersampled)
    kspace[:, 15] = 0  # where BART looks first
    mask = kspace[0] != 0
    assert_same(solve_tv(kspace, mask), bart_tv(kspace, mask))


@pytest.mark.parametrize("mask", ["columns", "points"])
@pytest.mark.parametrize(("number", "acceleration", "weight"), [("05", 4, 0.003), ("25", 8, 0.03)])
def test_real_slices(bart_tv, shared_data, number, acceleration, weight, mask):
    image = np.asarray(Image.open(shared_data / "brain" / f"brain_test_{number}.png").convert("F"))
    kspace = fft2c(image).astype(np.complex64)
    made = make_mask(mask, kspace.shape, acceleration, np.random.default_rng(0))
    assert_same(solve_tv(kspace, made, weight=weight), bart_tv(kspace, made, weight=weight))


def test_real_coils(bart_tv, shared_data, bart_binary):
    """180 x 230, 8 coils, prospectively undersampled; the centre is not sampled on a rectangle."""
    kspace = np.ascontiguousarray(from_bart(read_cfl(shared_data / "bart" / "brain_8ch_ksp"), ndim=3))
    mask = (kspace != 0).any(axis=0)
    sens_maps = ecalib(kspace, binary=bart_binary)
    result = solve_tv(kspace, mask, sens_maps, iterations=60)
    assert_same(result, bart_tv(kspace, mask, sens_maps, iterations=60))
