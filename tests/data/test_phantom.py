from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from csmri_ext.bridge import load
from csmri_ext.bridge.fourier import fft2c, ifft2c
from csmri_ext.data import coil_maps, phantom, phantom_acquisition, phantom_volume, write_phantom

ANATOMIES = ["brain", "body"]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(np.abs(a).ravel(), np.abs(b).ravel())[0, 1])


def spectrum_slope(image: np.ndarray, low: float, high: float) -> float:
    """Exponent of the radial power spectrum between two fractions of the highest frequency."""
    n = image.shape[0]
    power = np.abs(fft2c(image)) ** 2
    radius = np.hypot(*(np.indices(image.shape) - n // 2))
    mean = np.bincount(radius.astype(int).ravel(), power.ravel()) / np.bincount(radius.astype(int).ravel())
    k = np.arange(int(low * n / 2), int(high * n / 2))
    return float(np.polyfit(np.log(k), np.log(mean[k]), 1)[0])


def statistics(image: np.ndarray) -> dict[str, float]:
    """Numbers in which MR images resemble each other: spectrum, gradients, histogram of the foreground."""
    image = np.abs(image) / np.percentile(np.abs(image), 99.5)
    gradient = np.hypot(np.diff(image, axis=0)[:, :-1], np.diff(image, axis=1)[:-1])
    energy = np.cumsum(np.sort(gradient.ravel() ** 2)[::-1])
    foreground = image > 0.08
    return {
        "slope at low frequencies": spectrum_slope(image, 0.03, 0.25),
        "slope at middle frequencies": spectrum_slope(image, 0.25, 0.5),
        "mean gradient": float(gradient.mean()),
        "pixels with 90 % of the gradient energy": float(np.searchsorted(energy / energy[-1], 0.9) / gradient.size),
        "foreground": float(foreground.mean()),
        "median of the foreground": float(np.median(image[foreground])),
        "background": float(np.median(image[:16])),
    }


@pytest.mark.parametrize("anatomy", ANATOMIES)
@pytest.mark.parametrize("size", [64, (63, 48), (80, 46), np.int64(33)])
def test_any_size(size: object, anatomy: str) -> None:
    image = phantom(size, 3, anatomy=anatomy)
    assert image.shape == (size if isinstance(size, tuple) else (size, size))
    assert image.dtype == np.complex64
    assert np.isfinite(image).all()
    assert 0.3 < np.abs(image).max() < 3


def test_the_seed_decides_everything() -> None:
    image = phantom(64, 7)
    np.testing.assert_array_equal(image, phantom(64, 7))
    code = "import hashlib, csmri_ext.data as d; print(hashlib.sha256(d.phantom(64, 7).tobytes()).hexdigest())"
    root = Path(__file__).parents[2]
    other_process = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert other_process.stdout.strip() == hashlib.sha256(image.tobytes()).hexdigest()
    assert correlation(image, phantom(64, 8)) < 0.95
    np.testing.assert_array_equal(phantom_volume(1, 64, 7)[0], image)


@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_the_anatomy_does_not_depend_on_the_matrix(anatomy: str) -> None:
    large = fft2c(phantom(160, 1, anatomy=anatomy, noise=0))
    cropped = ifft2c(large[40:120, 40:120]) / 2
    assert correlation(cropped, phantom(80, 1, anatomy=anatomy, noise=0)) > 0.995


def test_slices_change_slowly() -> None:
    volume = phantom_volume(9, 96, 2)
    assert volume.shape == (9, 96, 96)
    near = np.mean([correlation(volume[i], volume[i + 1]) for i in range(8)])
    far = np.mean([correlation(volume[i], volume[i + 4]) for i in range(5)])
    assert near > 0.85
    assert near > far + 0.03
    assert phantom_volume(30, 32, 2).shape == (30, 32, 32)  # more slices than 5 mm apart would fit in a head


def test_kspace_is_cropped_from_a_finer_object() -> None:
    """Edges ring like those of a scanner: the air beside the head is not zero, though no noise was added."""
    air = np.abs(phantom(128, 1, noise=0)[:6]).max()
    assert 1e-5 < air < 0.02
    assert np.ptp(np.angle(phantom(128, 1, noise=0))[50:78, 50:78]) > 0.05  # and the image has a phase


def test_noise() -> None:
    clean, noisy = phantom(96, 1, noise=0), phantom(96, 1, noise=0.05)
    noise = noisy - clean
    assert noise.real.std() == pytest.approx(0.05, rel=0.03)
    assert noise.imag.std() == pytest.approx(0.05, rel=0.03)
    assert abs(np.corrcoef(noise.real.ravel(), noise.imag.ravel())[0, 1]) < 0.05
    assert 0.008 <= phantom_acquisition(1, 32, 5).attrs["noise"] <= 0.025


def test_contrasts() -> None:
    images = {name: np.abs(phantom(128, 12, contrast=name, noise=0)) for name in ("t1", "t2", "pd", "flair")}
    brain = {name: image[40:88, 45:83] for name, image in images.items()}
    assert correlation(brain["t1"], brain["t2"]) < -0.5  # bright where the other is dark
    assert correlation(brain["t1"], brain["pd"]) < 0.6
    assert correlation(brain["t1"], brain["flair"]) < 0.97
    drawn = {phantom_acquisition(1, 16, seed).attrs["acquisition"] for seed in range(30)}
    assert drawn == {f"phantom_brain_{name}" for name in images}


def test_coil_maps_are_normalised_and_smooth() -> None:
    maps = coil_maps((96, 80), 8, seed=3)
    assert maps.shape == (8, 96, 80)
    assert maps.dtype == np.complex64
    np.testing.assert_allclose(np.linalg.norm(maps, axis=0), 1, atol=1e-6)
    assert np.abs(np.diff(maps, axis=-1)).max() < 0.08
    assert np.abs(np.diff(maps, axis=-2)).max() < 0.08
    assert np.argmax(np.abs(maps), axis=0).max() == 7  # each coil sees some place best
    assert not np.array_equal(maps, coil_maps((96, 80), 8, seed=4))
    np.testing.assert_array_equal(coil_maps(32, 1), np.ones((1, 32, 32)))


def test_coil_images_are_the_image_seen_through_the_maps_but_not_on_the_pixel_grid() -> None:
    coils = phantom(128, 5, n_coils=6, noise=0)
    assert coils.shape == (6, 128, 128)
    image, maps = phantom(128, 5, noise=0), coil_maps(128, 6, 5)
    error = np.linalg.norm(coils - maps * image) / np.linalg.norm(image)
    assert 1e-4 < error < 0.05


def test_acquisition() -> None:
    volume = pickle.loads(pickle.dumps(phantom_acquisition(3, (48, 40), 4, n_coils=2)))
    assert volume.kspace.shape == (3, 2, 48, 40)
    assert volume.target.shape == (3, 48, 40)
    assert volume.mask is None
    np.testing.assert_allclose(volume.target[1], np.linalg.norm(ifft2c(volume.kspace[1]), axis=0), rtol=1e-6)
    np.testing.assert_allclose(volume.kspace[2], fft2c(phantom_volume(3, (48, 40), 4, n_coils=2)[2]), atol=1e-5)
    assert volume.name == "phantom_brain_4"
    assert volume.attrs["simulated"] is True
    item = volume.kspace[0]
    item[:] = 0  # what was read belongs to the caller
    assert volume.kspace[0].any()


@pytest.mark.parametrize("n_coils", [1, 3])
def test_written_phantom_is_a_fastmri_file(tmp_path: Path, n_coils: int) -> None:
    write_phantom(tmp_path / "p.h5", 2, size=(40, 36), seed=9, n_coils=n_coils)
    volume, made = load(tmp_path / "p.h5"), phantom_acquisition(2, (40, 36), 9, n_coils=n_coils)
    np.testing.assert_array_equal(np.asarray(volume.kspace), np.asarray(made.kspace))
    np.testing.assert_array_equal(np.asarray(volume.target), np.asarray(made.target))
    assert volume.attrs["acquisition"] == made.attrs["acquisition"]
    assert volume.attrs["simulated"]
    assert volume.attrs["recon_size"] == (40, 36)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 8}, "8 x 8 pixels is too small"),
        ({"seed": -1}, "seed -1"),
        ({"n_coils": 0}, "n_coils 0"),
        ({"anatomy": "cat"}, "unknown anatomy 'cat'; known: brain, body"),
        ({"contrast": "t3"}, "unknown contrast 't3'; known: t1, t2, pd, flair"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"noise": np.nan}, "noise is nan"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        phantom(**options)
    with pytest.raises(ValueError, match="n_slices 0"):
        phantom_volume(0)


# Widest range over the five brain slices and a hundred chest slices that the phantom was compared with.
MR_IMAGES = {
    "slope at low frequencies": (-3.3, -1.4),
    "slope at middle frequencies": (-4.5, -2.0),
    "mean gradient": (0.02, 0.085),
    "pixels with 90 % of the gradient energy": (0.08, 0.35),
    "foreground": (0.25, 0.7),
    "median of the foreground": (0.2, 0.85),
    "background": (0.0, 0.06),
}


@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_statistics_are_those_of_mr_images(anatomy: str) -> None:
    found = [statistics(phantom(256, seed, anatomy=anatomy)) for seed in range(4)]
    for name, (low, high) in MR_IMAGES.items():
        mean = np.mean([numbers[name] for numbers in found])
        assert low <= mean <= high, f"{name}: {mean:.3f} outside [{low}, {high}]"


def test_statistics_match_real_axial_slices(shared_data: Path) -> None:
    real = [statistics(load(shared_data / "brain" / f"brain_test_{n}.png").target[0]) for n in ("05", "15")]
    made = [statistics(phantom(256, seed, contrast="t1")) for seed in range(4)]
    expected = {name: np.mean([numbers[name] for numbers in real]) for name in real[0]}
    found = {name: np.mean([numbers[name] for numbers in made]) for name in real[0]}
    for name in ("slope at low frequencies", "slope at middle frequencies"):
        assert abs(found[name] - expected[name]) < 0.8, (name, found[name], expected[name])
    for name in ("mean gradient", "pixels with 90 % of the gradient energy", "foreground", "median of the foreground"):
        assert 0.75 < found[name] / expected[name] < 1.35, (name, found[name], expected[name])
