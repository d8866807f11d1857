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
from csmri_ext.phantom import coil_maps, phantom, phantom_acquisition, phantom_volume, write_phantom
from csmri_ext.phantom.painting import distance
from csmri_ext.phantom.planes import PLANES
from csmri_ext.phantom.statistics import image_statistics, mean_statistics
from csmri_ext.phantom.subjects import ANATOMIES
from csmri_ext.phantom.subjects import CONTRAST_ODDS as CONTRASTS


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(np.abs(a).ravel(), np.abs(b).ravel())[0, 1])


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
    code = "import hashlib, csmri_ext.phantom as d; print(hashlib.sha256(d.phantom(64, 7).tobytes()).hexdigest())"
    root = Path(__file__).parents[2]
    other_process = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert other_process.stdout.strip() == hashlib.sha256(image.tobytes()).hexdigest()
    assert correlation(image, phantom(64, 8)) < 0.95
    np.testing.assert_array_equal(phantom_volume(1, 64, 7)[0], image)


@pytest.mark.parametrize(
    "anatomy, plane", [*(("brain", plane) for plane in PLANES), ("body", None), ("abstract", None)]
)
def test_the_anatomy_does_not_depend_on_the_matrix(anatomy: str, plane: str | None) -> None:
    for seed in (1, 2):
        large, small = (phantom(n, seed, anatomy=anatomy, plane=plane, noise=0, processed=False) for n in (160, 80))
        assert correlation(ifft2c(fft2c(large)[40:120, 40:120]) / 2, small) > 0.99


def test_planes() -> None:
    """A seed draws one of the planes; below a head the neck leaves the image, of axial slices nothing does."""
    drawn = []
    for seed in range(4):
        images = {plane: phantom(16, seed, plane=plane) for plane in PLANES}
        drawn += [plane for plane, image in images.items() if np.array_equal(image, phantom(16, seed))]
    assert len(drawn) == 4
    assert set(drawn) == set(PLANES)
    heads = {plane: np.abs(phantom(64, 0, plane=plane, noise=0, processed=False)) for plane in PLANES}
    below = {plane: float(np.mean(image[-3:] > 0.1)) for plane, image in heads.items()}
    assert below["axial"] == 0
    assert min(below["sagittal"], below["coronal"]) > 0.2


@pytest.mark.parametrize("plane", PLANES)
def test_slices_change_slowly(plane: str) -> None:
    """Neighbours resemble each other more than distant slices do, and more the closer they lie."""
    options = {"plane": plane, "noise": 0, "processed": False}
    volume = phantom_volume(5, 64, 2, **options)
    assert volume.shape == (5, 64, 64)
    near = np.mean([correlation(volume[i], volume[i + 1]) for i in range(4)])
    assert near > 0.7
    assert near > correlation(volume[0], volume[4]) + 0.03
    thin = phantom_acquisition(34, 64, 2, **options).kspace  # 2.5 mm apart: more would not fit in a head
    assert correlation(ifft2c(thin[16]), ifft2c(thin[17])) > 0.9


def test_kspace_is_cropped_from_a_finer_object() -> None:
    """Edges ring like those of a scanner: the air above the head is not zero, though no noise was added."""
    image = phantom(128, 0, plane="axial", noise=0, processed=False)  # nothing leaves the image
    air = np.abs(image[:6]).max()
    assert 1e-6 < air < 0.03
    assert np.ptp(np.angle(image)[50:78, 50:78]) > 0.05  # and the image has a phase


@pytest.mark.parametrize("size", [(64, 48), (63, 41)])
def test_an_even_object_keeps_its_brightness(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The transforms there and back are of two sizes."""
    monkeypatch.setattr(
        "csmri_ext.phantom.subjects._fine_image", lambda subject, i, y, x: np.ones((y.size, x.size), np.complex64)
    )
    np.testing.assert_allclose(phantom(size, 0, noise=0, processed=False), 1, atol=1e-5)


def test_noise() -> None:
    clean, noisy = (phantom(96, 1, noise=noise, processed=False) for noise in (0, 0.05))
    noise = noisy - clean
    assert noise.real.std() == pytest.approx(0.05, rel=0.03)
    assert noise.imag.std() == pytest.approx(0.05, rel=0.03)
    assert abs(np.corrcoef(noise.real.ravel(), noise.imag.ravel())[0, 1]) < 0.05
    drawn = [phantom_acquisition(1, 32, seed).attrs["noise"] for seed in range(60)]
    assert 0.002 <= min(drawn) < 0.004 < 0.015 < max(drawn) <= 0.03


def test_contrasts() -> None:
    # An axial slice through the brain, without surface coils: its middle holds nothing but brain.
    images = {
        name: np.abs(phantom(128, 5, contrast=name, plane="axial", noise=0, processed=False)) for name in CONTRASTS
    }
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
    image, maps = phantom(128, 5, noise=0, processed=False), coil_maps(128, 6, 5)
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
        ({"anatomy": "cat"}, "unknown anatomy 'cat'; known: brain, body, abstract"),
        ({"contrast": "t3"}, "unknown contrast 't3'; known: t1, t2, pd, flair"),
        ({"plane": "oblique"}, "unknown plane 'oblique'; known: axial, sagittal, coronal"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"noise": np.nan}, "noise is nan"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        phantom(**options)
    with pytest.raises(ValueError, match="n_slices 0"):
        phantom_volume(0)


# Range of the means of axial and of sagittal heads and of a hundred chest slices, a third wider on either side.
MR_IMAGES = {
    "slope": (-4.0, -2.0),
    "fine_slope": (-7.5, -2.2),
    "grain": (0.008, 0.025),
    "tissue": (0.28, 0.7),
    "median": (0.2, 0.7),
    "edges": (0.1, 0.3),
    "zeros": (0.02, 0.4),
}


@pytest.mark.slow
@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_statistics_are_those_of_mr_images(anatomy: str) -> None:
    found = mean_statistics([image_statistics(phantom(192, seed, anatomy=anatomy)) for seed in range(16)]).numbers
    for name, (low, high) in MR_IMAGES.items():
        assert low <= found[name] <= high, f"{name}: {found[name]:.4f} outside [{low}, {high}]"


def test_processing() -> None:
    """Some subjects have exact zeros and some miss high frequencies, but none where `processed` is False."""
    blanked, low = 0, 0
    for seed in range(24):
        raw, made = (phantom(64, seed, anatomy="abstract", noise=0.01, processed=p) for p in (False, True))
        assert raw.all()
        blanked += not made.all()
        fine = phantom(288, seed, anatomy="abstract", noise=0.01, processed=True) if seed < 6 else None
        low += fine is not None and image_statistics(fine).spectrum[-1] < 1e-4
    assert 10 < blanked < 24
    assert low >= 2
    assert phantom(32, 1, n_coils=2).all()  # several coils: raw data unless asked for


def test_an_organ_outside_the_image_is_not_seen() -> None:
    """Subject 5221 at 64 pixels has one: its box is empty."""
    image = phantom(64, 5221, noise=0, anatomy="body")
    assert np.isfinite(image).all()
    assert distance(np.empty((0, 5)), 1.0).shape == (0, 5)


def test_distance_in_a_box_that_the_image_cuts_to_one_row() -> None:
    level = np.linspace(-3, 3, 13, dtype=np.float32)
    np.testing.assert_allclose(distance(level[np.newaxis], 0.5), level[np.newaxis], rtol=1e-6)
    np.testing.assert_allclose(distance(level[:, np.newaxis], 0.5), level[:, np.newaxis], rtol=1e-6)
    assert np.isfinite(distance(level[:1, np.newaxis], 0.5)).all()
