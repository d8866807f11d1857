"""Arrays without a header, in an order that their content contradicts."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from made_slices import make_slice
from scipy.io import savemat

from csmri_ext.bridge import FileFormatError, load, reading
from csmri_ext.bridge.arrays.axes import pairs_hint
from csmri_ext.bridge.arrays.order import suggestion
from csmri_ext.bridge.conventions import is_kspace_profile

PAIRS = "a[..., ::2] + 1j * a[..., 1::2] and say which axes these are, for example"


def coils(n: int, ny: int, nx: int) -> np.ndarray:
    return make_slice(n_coils=n, shape=(ny, nx), noise=0.002).kspace


def volume(n_slices: int, n_coils: int, ny: int = 64, nx: int = 60) -> np.ndarray:
    """Slices of different objects, (slices, coils, ny, nx)."""
    return np.stack([make_slice(n_coils=n_coils, shape=(ny, nx), seed=seed).kspace for seed in range(n_slices)])


@pytest.mark.parametrize(("n", "ny", "nx"), [(12, 32, 32), (16, 41, 40), (32, 64, 65), (64, 130, 128)])
def test_many_coils_on_the_last_axis_are_asked_for(tmp_path: Path, n: int, ny: int, nx: int) -> None:
    data = coils(n, ny, nx)
    np.save(tmp_path / "k.npy", data.transpose(1, 2, 0))
    with pytest.raises(FileFormatError, match=r"slices have the peak of k-space in their middle.*--axes 'y x coil'"):
        load(tmp_path / "k.npy")
    np.testing.assert_array_equal(load(tmp_path / "k.npy", axes="y x coil").kspace[0], data)


def test_a_volume_of_3d_kspace_is_no_stack_of_slices(tmp_path: Path) -> None:
    through = np.exp(-((np.arange(-12, 12) / 6) ** 2))
    along_z = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(through)))
    np.save(tmp_path / "k.npy", (along_z[:, None, None] * volume(1, 1)[0, 0]).astype(np.complex64))
    with pytest.raises(FileFormatError, match=r"peak of k-space .*of 3-D k-space, transform one direction first"):
        load(tmp_path / "k.npy")


def test_coils_before_slices_are_asked_for(tmp_path: Path) -> None:
    data = volume(3, 6)
    for array in (data.swapaxes(0, 1), data[:1].swapaxes(0, 1)):
        np.save(tmp_path / "k.npy", array)
        with pytest.raises(FileFormatError, match=r"6 slices look like the coil images .*--axes 'coil slice y x'"):
            load(tmp_path / "k.npy")
        np.testing.assert_array_equal(load(tmp_path / "k.npy", axes="coil slice y x").kspace[0], data[0])
    np.save(tmp_path / "k.npy", data)
    assert reading(load(tmp_path / "k.npy")).startswith("3 slices x 6 coils x 64 x 60, axes slice coil y x")


def test_undersampled_images_may_be_slices_or_coils(tmp_path: Path) -> None:
    mask = np.arange(60) % 4 == 0
    np.save(tmp_path / "k.npy", coils(4, 64, 60) * mask)
    with pytest.raises(FileFormatError, match=r"4 undersampled images .*--axes 'coil y x' or --axes 'slice y x'"):
        load(tmp_path / "k.npy")
    for axes, shape in (("coil y x", (1, 4)), ("slice y x", (4, 1))):
        assert load(tmp_path / "k.npy", axes=axes).kspace.shape == (*shape, 64, 60)


def noisy(array: np.ndarray, sigma: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(array.shape) + 1j * rng.standard_normal(array.shape)
    return (array + sigma * np.abs(array).max() * noise).astype(np.complex64)


def test_images_that_noise_hides_may_be_slices_or_coils(tmp_path: Path) -> None:
    for sigma in (0.03, 0.1):
        np.save(tmp_path / "k.npy", noisy(coils(8, 96, 80), sigma))
        with pytest.raises(FileFormatError, match=r"8 noisy images of which .*--axes 'coil y x' or --axes 'slice y x'"):
            load(tmp_path / "k.npy")
    assert load(tmp_path / "k.npy", axes="coil y x").kspace.shape == (1, 8, 96, 80)
    np.save(tmp_path / "k.npy", noisy(volume(8, 1, 96, 80)[:, 0], 0.01))
    assert load(tmp_path / "k.npy").kspace.shape == (8, 1, 96, 80)
    for n in (2, 8):
        np.save(tmp_path / "k.npy", noisy(np.ones((n, 96, 80)), 1))  # nothing but noise: doctor says so
        assert load(tmp_path / "k.npy").kspace.shape == (n, 1, 96, 80)


@pytest.mark.parametrize("lines", [24, 26, 40])
def test_a_centre_of_fewer_lines_tells_coils_from_slices(tmp_path: Path, lines: int) -> None:
    mask = (np.arange(96) % 4 == 0) | (np.abs(np.arange(96) - 47.5) < lines / 2)
    np.save(tmp_path / "k.npy", coils(6, 96, 96) * mask)
    with pytest.raises(FileFormatError, match="6 slices look like the coil images of one slice"):
        load(tmp_path / "k.npy")
    np.save(tmp_path / "k.npy", volume(6, 1, 96, 96)[:, 0] * mask)
    assert load(tmp_path / "k.npy").kspace.shape == (6, 1, 96, 96)


def test_mat_variables_of_coils_and_frames(tmp_path: Path) -> None:
    savemat(tmp_path / "k.mat", {"kspace": coils(64, 128, 130)})
    with pytest.raises(FileFormatError, match=r"130 slices have the peak .*--axes 'coil y x'"):
        load(tmp_path / "k.mat")


def test_hdf5_without_a_header_is_any_array(tmp_path: Path) -> None:
    data = coils(4, 64, 60)
    arrays = (data, r"--axes 'coil y x'"), (data.transpose(1, 2, 0)[None], r"x would have 4 .*--axes '1 y x coil'")
    for array, message in arrays:
        with h5py.File(tmp_path / "k.h5", "w") as file:
            file["kspace"] = array
        with pytest.raises(FileFormatError, match=message):
            load(tmp_path / "k.h5")
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["kspace"] = volume(4, 1)[:, 0]
        file.attrs["acquisition"] = "CORPD_FBK"
    assert load(tmp_path / "k.h5").kspace.shape == (4, 1, 64, 60)


def test_real_arrays_say_which_axis_may_be_complex(tmp_path: Path) -> None:
    data = coils(5, 64, 60)
    for array, axes in ((np.stack([data.real, data.imag]), "icyx"), (np.stack([data.real, data.imag], 1), "ciyx")):
        words = {"icyx": "complex coil y x", "ciyx": "coil complex y x"}[axes]
        np.save(tmp_path / "k.npy", array)
        with pytest.raises(FileFormatError, match=f"images have no coil axis.*--axes '{words}'"):
            load(tmp_path / "k.npy")
        np.testing.assert_allclose(load(tmp_path / "k.npy", axes=axes).kspace[0], data, rtol=1e-6)
    interleaved = np.stack([data.real, data.imag], -1).transpose(1, 2, 0, 3).reshape(1, 64, 60, 10)
    with h5py.File(tmp_path / "calgary.h5", "w") as file:
        file["kspace"] = interleaved
    with pytest.raises(FileFormatError, match=r"5 coils in turn, as Calgary-Campinas .*--axes '1 y x coil'"):
        load(tmp_path / "calgary.h5")
    with h5py.File(tmp_path / "stored.h5", "w") as file:
        file["kspace"] = (interleaved[..., ::2] + 1j * interleaved[..., 1::2]).astype(np.complex64)
    np.testing.assert_allclose(load(tmp_path / "stored.h5", axes="1 y x coil").kspace[0], data, rtol=1e-6)


def test_two_real_images_may_be_a_pair(tmp_path: Path) -> None:
    np.save(tmp_path / "two.npy", np.abs(volume(2, 1)[:, 0]))
    assert load(tmp_path / "two.npy").attrs["warnings"] == [
        "two images of real numbers; if they are real and imaginary part of k-space: --axes 'complex y x'"
    ]
    assert "warnings" not in load(tmp_path / "two.npy", axes="slice y x").attrs


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((90, 70, 5), "f4", "y x slice"),
        ((90, 70, 5), "c8", "y x coil"),
        ((90, 70, 2), "c8", "y x coil"),
        ((90, 70, 2), "f4", "y x complex"),
        ((170, 256, 218, 2), "f4", "slice y x complex"),
        ((1, 8, 90, 70, 2), "f8", "1 coil y x complex"),
    ],
)
def test_suggested_axes(shape: tuple[int, ...], dtype: str, words: str) -> None:
    assert suggestion(shape, dtype).endswith(f"--axes '{words}'")


def test_pairs_are_suggested_only_where_they_fit() -> None:
    for shape, axes in (((10, 256, 218, 24), "slice y x coil"), ((256, 218, 24), "y x coil")):
        assert pairs_hint(shape, "f4").endswith(f"as Calgary-Campinas does, store {PAIRS} --axes '{axes}'")
    for shape in ((10, 256, 217), (10, 2, 256, 24), (10, 20, 24, 24)):
        assert "Calgary" not in pairs_hint(shape, "f4")


def test_profiles_along_kspace_and_along_slices() -> None:
    assert is_kspace_profile(1 / (1.0 + np.arange(-8, 8) ** 2) ** 2, 8)
    slices = np.exp(-((np.arange(-8, 8) / 6.0) ** 2))
    for profile in (slices, np.ones(16), np.zeros(16), np.eye(16)[8], np.ones(1)):
        assert not is_kspace_profile(profile, len(profile) // 2)


def test_files_without_an_array_that_can_be_meant(tmp_path: Path) -> None:
    cells = np.empty(2, dtype=object)
    cells[:] = [coils(1, 32, 32)[0], np.ones(3)]
    savemat(tmp_path / "cells.mat", {"c": cells})
    with pytest.raises(FileFormatError, match=r"cells\.mat: it holds no array of numbers; cells"):
        load(tmp_path / "cells.mat")
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file["kspace"] = coils(1, 64, 60)[0]
    with pytest.raises(FileFormatError, match="--axes 'y x'"):
        load(tmp_path / "flat.h5")
    assert load(tmp_path / "flat.h5", axes="y x").kspace.shape == (1, 1, 64, 60)
