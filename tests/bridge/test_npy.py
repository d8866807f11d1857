from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from csmri_ext.bridge import FileFormatError
from csmri_ext.bridge.arrays.npy import read_npy, read_npz
from csmri_ext.bridge.fourier import ifft2c


def random_kspace(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


@pytest.mark.parametrize(
    ("shape", "full"), [((8, 6), (1, 1, 8, 6)), ((3, 8, 6), (3, 1, 8, 6)), ((3, 2, 8, 6), (3, 2, 8, 6))]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_complex_is_kspace_in_fastmri_order(tmp_path: Path, shape: tuple, full: tuple, order: str) -> None:
    kspace = np.asarray(random_kspace(*shape).astype(np.complex128), order=order)
    np.save(tmp_path / "k.npy", kspace)
    np.savez(tmp_path / "k.npz", kspace=kspace)
    for volume in (read_npy(tmp_path / "k.npy"), read_npz(tmp_path / "k.npz")):
        assert volume.kspace.shape == full
        assert volume.kspace.dtype == np.complex64
        np.testing.assert_allclose(np.asarray(volume.kspace), kspace.reshape(full), rtol=1e-6)
        rss = np.linalg.norm(ifft2c(kspace.reshape(full)), axis=1)
        np.testing.assert_allclose(np.asarray(volume.target), rss, rtol=1e-5)
        assert "simulated" not in volume.attrs


def test_other_axis_orders(tmp_path: Path) -> None:
    kspace = random_kspace(4, 8, 6)
    np.save(tmp_path / "cyx.npy", kspace)
    np.testing.assert_array_equal(np.asarray(read_npy(tmp_path / "cyx.npy", axes="cyx").kspace), kspace[np.newaxis])
    np.save(tmp_path / "xycs.npy", random_kspace(2, 4, 8, 6).transpose(3, 2, 1, 0))
    volume = pickle.loads(pickle.dumps(read_npy(tmp_path / "xycs.npy", axes="xycs")))
    np.testing.assert_array_equal(np.asarray(volume.kspace), random_kspace(2, 4, 8, 6))
    for axes in ("yx", "syy", "abc", "scx"):
        with pytest.raises(FileFormatError, match=rf"shape \(4, 8, 6\), which does not fit axes '{axes}'"):
            read_npy(tmp_path / "cyx.npy", axes=axes)


@pytest.mark.parametrize(("dtype", "scale"), [(np.uint8, 255), (np.uint16, 65535), (np.int16, 1), (np.float64, 1)])
def test_real_is_magnitude_images(tmp_path: Path, dtype: type, scale: int) -> None:
    images = np.random.default_rng(0).integers(1, 200, (3, 8, 6)).astype(dtype)
    np.save(tmp_path / "i.npy", images)
    volume = read_npy(tmp_path / "i.npy")
    np.testing.assert_allclose(np.asarray(volume.target), images / scale, rtol=1e-6)
    np.testing.assert_allclose(np.abs(ifft2c(np.asarray(volume.kspace)))[:, 0], images / scale, rtol=1e-4)
    assert volume.attrs["simulated"] is True


def test_choice_of_the_array_in_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    kspace, images = random_kspace(2, 8, 6), np.ones((5, 8, 6))
    np.savez(path, kspace=kspace, images=images, other=images)
    assert read_npz(path).n_slices == 2
    assert read_npz(path, key="other").n_slices == 5
    np.savez(path, images=images, other=images)
    assert read_npz(path).n_slices == 5
    np.savez_compressed(path, anything=images, spacing=np.ones(3), count=7)
    assert read_npz(path).n_slices == 5
    np.savez(path, one=images, two=images[:2])
    with pytest.raises(FileFormatError, match=r"which array is meant.*one \(5, 8, 6\), two \(2, 8, 6\)"):
        read_npz(path)
    with pytest.raises(FileFormatError, match=r"no array 'three'; it holds one \(5, 8, 6\)"):
        read_npz(path, key="three")
    np.savez(path)
    with pytest.raises(FileFormatError, match="it holds no array of numbers"):
        read_npz(path)


def test_complex_images_are_images(tmp_path: Path) -> None:
    images = random_kspace(2, 8, 6)
    np.savez(tmp_path / "i.npz", images=images)
    volume = read_npz(tmp_path / "i.npz")
    np.testing.assert_allclose(ifft2c(np.asarray(volume.kspace))[:, 0], images, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(volume.target), np.abs(images))
    with pytest.raises(FileFormatError, match="images have no coil axis"):
        read_npz(tmp_path / "i.npz", axes="cyx")


def test_mask_beside_kspace(tmp_path: Path) -> None:
    kspace, mask = random_kspace(2, 8, 6), np.arange(6) % 2 == 0
    rounding = np.where(mask, 1, np.float32(1e-10))  # what is not zero by rounding is not measured
    np.savez(tmp_path / "k.npz", kspace=kspace * rounding, mask=mask)
    volume = read_npz(tmp_path / "k.npz")
    np.testing.assert_array_equal(volume.mask, mask)
    np.testing.assert_array_equal(volume.kspace[1], (kspace * mask)[1:2])
    assert volume.target is None
    np.savez(tmp_path / "bad.npz", kspace=kspace, mask=np.ones((6, 8)))
    with pytest.raises(FileFormatError, match=r"bad\.npz: mask of shape \(6, 8\) does not fit k-space of .* \(8, 6\)"):
        read_npz(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(5), r"has shape \(5,\); expected axes"),
        (np.ones((1, 1, 1, 1, 4)), r"expected axes"),
        (np.ones((2, 2, 8, 6)), "images have no coil axis"),
        (np.ones((0, 8, 6)), "empty"),
        (np.array([["a", "b"]]), "not numbers"),
        (np.array([[None, 1]], dtype=object), "it holds Python objects"),
        (np.full((8, 6), np.inf), "slice 0 .* NaN or infinite"),
        (np.zeros((8, 6)), "all 1 slices are zero"),
    ],
)
def test_unusable_arrays(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "bad.npy", array, allow_pickle=True)
    with pytest.raises(FileFormatError, match=rf"bad\.npy: .*{message}"):
        read_npy(tmp_path / "bad.npy")


def test_values_beyond_float32_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.full((8, 6), 1e300 + 0j))
    with pytest.raises(FileFormatError, match=r"k\.npy: slice 0 .* infinite"):
        read_npy(tmp_path / "k.npy")


@pytest.mark.parametrize("mask", [np.array(["a"] * 6), np.full(6, np.nan)])
def test_masks_of_other_things_are_refused(tmp_path: Path, mask: np.ndarray) -> None:
    np.savez(tmp_path / "k.npz", kspace=random_kspace(2, 8, 6), mask=mask)
    with pytest.raises(FileFormatError, match=r"k\.npz: the mask is .*; expected 0 and 1"):
        read_npz(tmp_path / "k.npz")


def test_real_kspace_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "k.npz", kspace=np.ones((2, 8, 6)))
    with pytest.raises(FileFormatError, match=r"kspace is float64 of shape \(2, 8, 6\); k-space must be complex"):
        read_npz(tmp_path / "k.npz")


def test_damaged_files(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", random_kspace(4, 32, 32))
    np.savez_compressed(tmp_path / "k.npz", kspace=random_kspace(4, 32, 32))
    for name, read in [("k.npy", read_npy), ("k.npz", read_npz)]:
        whole = (tmp_path / name).read_bytes()
        for content in (whole[: len(whole) // 2], whole[:5], b""):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(FileFormatError, match=rf"{name}: not a readable {name[2:]} file") as caught:
                read(tmp_path / name)
            assert "\n" not in str(caught.value)
    corrupt = bytearray(whole)
    corrupt[len(whole) // 2] ^= 0xFF
    (tmp_path / "k.npz").write_bytes(corrupt)
    with pytest.raises(FileFormatError, match="not a readable npz file"):
        np.asarray(read_npz(tmp_path / "k.npz").kspace)


@pytest.mark.parametrize("extension", ["npy", "npz"])
def test_memory_stays_that_of_a_slice(tmp_path: Path, extension: str) -> None:
    images = np.ones((200, 128, 128), np.float32)
    if extension == "npy":
        np.save(tmp_path / "i.npy", images)
    else:
        np.savez_compressed(tmp_path / "i.npz", images=images)
    del images
    tracemalloc.start()
    try:
        volume = (read_npy if extension == "npy" else read_npz)(tmp_path / f"i.{extension}")
        assert sum(float(image.sum()) for image in volume.target) == 200 * 128 * 128
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5e6  # the volume has 13 MB


def test_a_changed_npz_is_read_again(tmp_path: Path) -> None:
    import os

    path = tmp_path / "i.npz"
    for value, time in ((1.0, 1_000_000_000), (2.0, 2_000_000_000)):
        np.savez(path, images=np.full((2, 4, 4), value))
        os.utime(path, ns=(time, time))
        assert read_npz(path).target[0].max() == value


def test_chest_slices(shared_data: Path) -> None:
    volume = read_npz(shared_data / "chest" / "chest_256.npz")
    assert volume.target.shape == (100, 256, 256)
    assert volume.target[50].max() == 1
