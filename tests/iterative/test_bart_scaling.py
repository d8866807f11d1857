from __future__ import annotations

import logging
import re

import numpy as np
import pytest
from made_slices import make_slice

from csmri_ext.bridge import pics
from csmri_ext.iterative.bart_scaling import bart_scale


@pytest.fixture
def scale_printed_by_bart(bart_binary, caplog):
    def run(kspace, mask):
        caplog.clear()
        caplog.set_level(logging.DEBUG, "csmri_ext.bridge.bart_program.run")
        maps = np.ones_like(kspace)
        options = {"regularization": "T:3:0:0.01", "iterations": 1, "pattern": mask, "debug_level": 4}
        pics(kspace, maps, **options, binary=bart_binary)
        return float(re.search(r"Inverse scaling of the data: (\S+)", caplog.text)[1])

    return run


# Sides: multiples of 4, even, odd, below and around the 32 of the calibration block.
@pytest.mark.parametrize("shape", [(64, 64), (66, 50), (65, 49), (48, 63), (31, 29), (33, 32), (80, 16), (16, 80)])
@pytest.mark.parametrize("mask", ["columns", "rows", "points", "no centre"])
@pytest.mark.parametrize("n_coils", [1, 3])
def test_scale_is_the_one_that_bart_prints(scale_printed_by_bart, shape, mask, n_coils):
    made = make_slice(shape, n_coils, mask)
    kspace = 1000 * made.undersampled  # BART prints six decimals
    assert bart_scale(kspace) == pytest.approx(scale_printed_by_bart(kspace, made.mask), rel=1e-6)


def test_fully_sampled_data_use_a_block_of_32(scale_printed_by_bart):
    kspace = 1000 * make_slice((64, 72)).kspace
    assert bart_scale(kspace) == pytest.approx(scale_printed_by_bart(kspace, np.ones((64, 72))), rel=1e-6)


def test_scale_is_proportional_to_the_data_and_blind_to_phase():
    kspace = make_slice((60, 61), 2).undersampled
    assert bart_scale(1000j * kspace) == pytest.approx(1000 * bart_scale(kspace), rel=1e-6)


def test_scale_of_a_point_is_its_low_resolution_peak():
    image = np.zeros((64, 64))
    image[32, 32] = 1
    kspace = np.full((1, 64, 64), 1 / 64, np.complex64)  # orthonormal FFT of the point
    assert bart_scale(kspace) == pytest.approx(0.25)  # 1 * 32 / 64 on a side, times sqrt(32 * 32) / 64


def test_empty_calibration_block_means_scale_one():
    kspace = np.zeros((2, 40, 40), np.complex64)
    kspace[:, 3, 5] = 7
    assert bart_scale(kspace) == 1
