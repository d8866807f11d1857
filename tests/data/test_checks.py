from __future__ import annotations

import numpy as np
import pytest

from csmri_ext.bridge.fourier import fft2c
from csmri_ext.data.checks import check_image_center, check_padding, check_sampling


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


@pytest.mark.parametrize(
    ("band", "echo", "level", "said"),
    [
        (0, 0, "OK", "fully sampled centre of 12 columns"),
        (0, 1, "OK", "fully sampled centre of 12 columns"),
        (9, 9, "OK", "fully sampled centre of 12 columns around the echo at column 41"),
        (0, 4, "OK", "fully sampled centre of 12 columns around the echo at column 36"),
        (0, 15, "note", "fully sampled centre of 12 columns, and the echo, at column 47, is not in it: coil"),
        (
            20,
            0,
            "note",
            "fully sampled centre of only 1 column: too small to estimate coil sensitivities from it; --sens-",
        ),
    ],
)
def test_the_calibration_region_lies_around_the_echo(band: int, echo: int, level: str, said: str) -> None:
    kspace = np.roll(fft2c(disc().astype(np.complex64)), echo, -1)[np.newaxis, np.newaxis]
    mask = np.zeros(64, bool)
    mask[26 + band : 38 + band] = True
    mask[32 + echo] = True
    _, finding = check_sampling(mask, kspace=kspace)
    assert (finding.level, finding.topic) == (level, "calibration")
    assert finding.text.startswith(said)
    plane = np.tile(mask, (64, 1)) & (np.abs(np.arange(64) - 32) < 20)[:, np.newaxis]
    *_, finding = check_sampling(plane, kspace=kspace)
    assert finding.level == level


def test_the_calibration_region_is_that_of_the_worst_slice() -> None:
    centred = fft2c(disc().astype(np.complex64))
    mask = np.zeros(64, bool)
    mask[26:38] = mask[45:50] = True
    *_, finding = check_sampling(mask, kspace=np.stack([centred, np.roll(centred, 15, -1)])[:, np.newaxis])
    assert (finding.level, finding.text) == ("OK", "fully sampled centre of 5 columns around the echo at column 47")
