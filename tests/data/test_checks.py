from __future__ import annotations

import numpy as np
import pytest

from csmri_ext.bridge.fourier import fft2c
from csmri_ext.data.checks import check_image_center, check_padding


def disc(n: int = 64) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : n * 1j, -1 : 1 : n * 1j]
    return (x**2 + y**2 < 0.6).astype(np.float32)


def test_a_coil_at_one_side_rolls_no_object() -> None:
    x = np.linspace(-1, 1, 64)
    one_sided = disc() * np.exp(-4 * (x + 1))  # four fifths of its energy in the first quarter
    kspace = fft2c(one_sided.astype(np.complex64))[np.newaxis, np.newaxis]
    assert [finding.level for finding in check_image_center(kspace, undersampled=False)] == ["OK"]
    rolled = fft2c(np.roll(disc(), 32, 1).astype(np.complex64))[np.newaxis, np.newaxis]
    (finding,) = check_image_center(rolled, undersampled=False)
    assert finding.level == "problem"
    assert "along x" in finding.text


@pytest.mark.parametrize(
    ("first", "last", "level", "said"),
    [
        (8, 8, "note", "8 empty columns before and 8 after the samples: zero padding"),
        (20, 0, "warning", "partial Fourier, and the reference images lack these columns, too"),
        (26, 26, "warning", "images have the resolution of 12 columns"),
    ],
)
def test_columns_without_samples(first: int, last: int, level: str, said: str) -> None:
    kspace = fft2c(disc().astype(np.complex64))[np.newaxis, np.newaxis] + np.complex64(1e-3)
    kspace[..., :first] = 0
    kspace[..., 64 - last :] = 0
    (finding,) = check_padding(kspace, None)
    assert finding.level == level
    assert said in finding.text
