from __future__ import annotations

import numpy as np
import pytest

from csmri_ext.errors import InputError
from csmri_ext.phantom import statistics
from csmri_ext.phantom.statistics import image_statistics, mean_statistics


def disc(n: int = 128, radius: float = 40) -> np.ndarray:
    y, x = np.indices((n, n)) - n // 2
    return (np.hypot(y, x) < radius).astype(float)


def test_disc() -> None:
    found = image_statistics(7 * disc())
    area = np.pi * 40**2 / 128**2
    assert found.numbers["tissue"] == pytest.approx(area, rel=0.01)
    assert found.numbers["zeros"] == pytest.approx(1 - area, rel=0.01)
    assert found.numbers["median"] == 1
    assert found.numbers["grain"] == 0
    assert found.numbers["slope"] == pytest.approx(-3, abs=0.25)  # of every shape with a sharp, smooth outline
    assert found.sparsity[-8] == pytest.approx(2 * np.pi * 40 / 128**2, rel=0.3)  # only the outline has a gradient
    width = np.diff(statistics.INTENSITIES)
    assert np.sum(found.histogram * width) == pytest.approx(area, rel=0.01)
    assert np.flatnonzero(found.histogram).tolist() == [int(np.searchsorted(statistics.INTENSITIES, 1, "right")) - 1]


@pytest.mark.parametrize("sigma", [0.002, 0.02])
def test_noise_is_found_in_air_and_in_tissue(sigma: float) -> None:
    rng = np.random.default_rng(0)
    image = disc() + sigma * (rng.standard_normal((128, 128)) + 1j * rng.standard_normal((128, 128)))
    numbers = image_statistics(image).numbers
    assert numbers["air"] == pytest.approx(sigma, rel=0.25)  # of the darkest blocks: somewhat too low
    assert numbers["grain"] == pytest.approx(sigma, rel=0.1)
    assert numbers["zeros"] == 0


def test_air_is_the_darkest_twentieth_of_the_blocks_without_a_zero() -> None:
    """Its power has two parts, real and imaginary."""
    levels = np.arange(64.0).reshape(8, 8)  # one block is 0, 63 are not: the darkest three count
    found = statistics.air_noise(np.kron(levels, np.ones((8, 8))))
    assert found == pytest.approx(np.sqrt((1 + 4 + 9) / 3 / 2))
    assert statistics.air_noise(np.zeros((64, 64))) == 0


def test_spectrum_of_noise_is_flat_and_of_a_power_law_has_its_slope() -> None:
    rng = np.random.default_rng(1)
    white = rng.standard_normal((256, 256))
    np.testing.assert_allclose(statistics.power_spectrum(white)[4:], 1, atol=0.35)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    frequency[0, 0] = 1
    image = np.fft.ifft2(np.fft.fft2(white) * frequency**-1.25).real
    spectrum = statistics.power_spectrum(image)
    assert statistics.spectral_slope(spectrum, 0.05, 0.5) == pytest.approx(-2.5, abs=0.1)
    assert statistics.spectral_slope(spectrum, 0.5, 0.95) == pytest.approx(-2.5, abs=0.2)


def test_scale_does_not_matter_and_means_are_means() -> None:
    a, b = disc(radius=30), disc(radius=50)
    first, scaled = image_statistics(a), image_statistics((1e-3 * a).astype(np.complex64))
    for name, value in first.numbers.items():
        assert scaled.numbers[name] == pytest.approx(value, rel=1e-3, abs=1e-6)
    both = mean_statistics([first, image_statistics(b)])
    assert both.numbers["tissue"] == pytest.approx((a.mean() + b.mean()) / 2)
    np.testing.assert_allclose(both.sparsity, (first.sparsity + image_statistics(b).sparsity) / 2)


def test_fraction_above_thresholds() -> None:
    values = np.array([[0.0, 1.0], [2.0, 3.0]])
    np.testing.assert_array_equal(statistics.exceeding(values, np.array([-1.0, 0.0, 1.5, 3.0])), [1, 0.75, 0.5, 0])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.ones((16, 64)), r"shape \(16, 64\)"),
        (np.ones((2, 64, 64)), r"shape \(2, 64, 64\)"),
        (np.full((64, 64), np.nan), "not finite"),
        (np.zeros((64, 64)), "zero in 99.9 %"),
    ],
)
def test_bad_images(image: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        image_statistics(image)
    with pytest.raises(InputError, match="0 images"):
        mean_statistics([])
