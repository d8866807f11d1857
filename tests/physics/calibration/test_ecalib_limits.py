from __future__ import annotations

import numpy as np
import pytest
import torch

from csmri_ext.bridge import BartError, ecalib
from csmri_ext.phantom import phantom_acquisition
from csmri_ext.physics import ecalib_shortfall


def block(ny: int, nx: int, my: int, mx: int) -> torch.Tensor:
    mask = torch.zeros(ny, nx, dtype=torch.bool)
    mask[ny // 2 - my // 2 :, nx // 2 - mx // 2 :][:my, :mx] = True
    return mask


@pytest.mark.parametrize("lines", [1, 5, 8, 9, 10, 11, 24, 100])
def test_columns(lines: int) -> None:
    mask = block(1, 100, 1, lines)
    for form in (mask[0], mask, mask[None], mask.expand(80, 100), mask[0].numpy()):
        shortfall = ecalib_shortfall(form, 80)
        assert (shortfall is None) == (lines >= 10)
    if lines < 10:
        assert f"the calibration region of 80 x {lines} samples is too small for bart ecalib" in str(shortfall)


@pytest.mark.parametrize(("my", "mx", "enough"), [(10, 10, False), (12, 12, True), (10, 24, True), (24, 9, False)])
def test_blocks(my: int, mx: int, enough: bool) -> None:
    assert (ecalib_shortfall(block(64, 70, my, mx), 64) is None) == enough


@pytest.mark.parametrize(("my", "mx"), [(96, 12), (96, 10), (96, 8), (96, 6), (96, 5), (10, 10), (12, 12)])
def test_it_is_what_bart_does(my: int, mx: int, bart_binary: str) -> None:
    mask = block(96, 96, my, mx).numpy()
    scan = phantom_acquisition(1, 96, 1, n_coils=4, noise=0.005)
    target = np.asarray(scan.target[0])
    try:
        maps = ecalib(np.where(mask, scan.kspace[0], np.complex64(0)), binary=bart_binary)
        lost = (np.abs(maps).sum(0) == 0)[target > 0.1 * target.max()].mean()
    except BartError:
        lost = 1
    assert (lost < 0.005) == (ecalib_shortfall(mask, 96) is None)
