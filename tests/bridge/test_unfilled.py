"""Files in which something was never filled in, or is filled with zeros or rounding."""

from __future__ import annotations

from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from made_slices import make_maps, make_slice

from csmri_ext.bridge import FileFormatError, load
from csmri_ext.bridge.fourier import fft2c
from csmri_ext.bridge.ismrmrd.header import make_header


def kspace(n_slices: int = 2, coils: int = 3, shape: tuple[int, int] = (48, 48)) -> np.ndarray:
    images = np.stack([make_slice(shape, seed=seed).image for seed in range(n_slices)])
    return fft2c(images[:, np.newaxis] * make_maps(shape, coils)).astype(np.complex64)


def write(path: Path, data: np.ndarray, header: str | None = None) -> Path:
    with h5py.File(path, "w") as file:
        file["kspace"] = data
        if header:
            file["ismrmrd_header"] = header
    return path


def test_rounding_outside_of_the_header_range_is_no_sample(tmp_path: Path) -> None:
    data = np.pad(kspace(), ((0, 0), (0, 0), (0, 0), (6, 6)))
    data[..., :6] = 1e-10 * np.abs(data).max()
    volume = load(write(tmp_path / "k.h5", data, make_header((48, 60), (48, 48), 2, 3, padding=(6, 54))))
    assert volume.attrs["padding"] == (6, 54)
    assert "warnings" not in volume.attrs


def test_columns_that_are_zero_were_not_measured(tmp_path: Path) -> None:
    data = kspace()
    data[..., :14] = 0
    for header in (None, make_header((48, 48), (48, 48), 2, 3)):
        volume = load(write(tmp_path / "k.h5", data, header))
        assert volume.mask is None
        assert volume.attrs["padding"] == (14, 48)
    data[1, ..., 3] = 1
    with pytest.raises(FileFormatError, match=r"slice 1 .* was sampled elsewhere than slice 0"):
        load(write(tmp_path / "k.h5", data)).kspace[1]


def test_rows_that_are_zero_were_not_measured(tmp_path: Path) -> None:
    data = kspace(shape=(48, 40))
    data[..., :9, :] = 0
    data[..., 45:, :] = 0
    volume = load(write(tmp_path / "k.h5", data))
    assert volume.mask is None
    rows = np.repeat((np.arange(48) >= 9) & (np.arange(48) < 45), 40).reshape(48, 40)
    np.testing.assert_array_equal(volume.measured, rows)
    np.testing.assert_array_equal(load(tmp_path / "k.h5", phase_encoding="y").measured, rows[:, 0])
    mask = np.arange(40) % 2 == 0
    volume = load(write(tmp_path / "u.h5", data * mask), axes="slice coil y x")
    np.testing.assert_array_equal(volume.mask, mask)
    np.testing.assert_array_equal(volume.mask & volume.measured, rows & mask)
    data[1, :, 2] = 1
    with pytest.raises(FileFormatError, match=r"slice 1 .* was sampled elsewhere than slice 0"):
        load(write(tmp_path / "k.h5", data)).kspace[1]


def test_zeros_that_fill_kspace_were_not_measured(tmp_path: Path) -> None:
    volume = load(write(tmp_path / "k.h5", kspace(shape=(32, 32)), make_header((32, 32), (48, 40), 2, 3)))
    assert volume.kspace.shape[-2:] == (48, 40)
    expected = np.zeros((48, 40), bool)
    expected[8:40, 4:36] = True
    np.testing.assert_array_equal(volume.measured, expected)


def test_an_image_of_one_pixel_was_never_asked_for(tmp_path: Path) -> None:
    volume = load(write(tmp_path / "k.h5", kspace(), make_header((48, 48), (1, 1), 2, 3)))
    assert volume.target.shape == (2, 48, 48)
    assert "images of 1 x 1: this was never filled in" in volume.attrs["warnings"][0]


def test_an_empty_first_slice_does_not_close_the_file(tmp_path: Path) -> None:
    data = kspace() * (np.arange(48) % 2 == 0)
    data[0] = 0
    volume = load(write(tmp_path / "k.h5", data), axes="slice coil y x")
    np.testing.assert_array_equal(volume.mask, np.arange(48) % 2 == 0)
    np.testing.assert_array_equal(volume.kspace[1], data[1])
    with pytest.raises(FileFormatError, match=r"slice 0 .* is zero everywhere"):
        volume.kspace[0]


def test_five_axes_without_a_protocol_may_be_anything(tmp_path: Path) -> None:
    hybrid = kspace(12, 4).transpose(0, 2, 3, 1)[..., np.newaxis, :]  # SKM-TEA: x, ky, kz, echo, coil
    path = write(tmp_path / "k.h5", hybrid)
    with pytest.raises(FileFormatError, match=r"y would have 1 samples; say which axes they are"):
        load(path)
    np.testing.assert_array_equal(load(path, axes="slice y x frame coil").kspace[3], kspace(12, 4)[3])


def test_a_background_below_zero_is_not_folded(tmp_path: Path) -> None:
    image = np.zeros((40, 40), np.float32)
    image[8:32, 8:32] = 1
    np.save(tmp_path / "a.npy", image - 0.06 * (image == 0))  # 0.6 % of the energy, 64 % of the pixels
    with pytest.raises(FileFormatError, match=r"64 % are negative values, down to -0\.06, so these are no magnitude"):
        load(tmp_path / "a.npy")
    ringing = image.copy()
    ringing[6, :] = -0.06  # 2.5 % of the pixels
    np.save(tmp_path / "a.npy", ringing)
    np.testing.assert_allclose(load(tmp_path / "a.npy").target[0], np.abs(ringing))


def test_an_affine_without_a_plane(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.ones((8, 8, 8), np.float32), np.eye(4)), tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[280:328] = bytes(48)  # the rows of the sform
    (tmp_path / "a.nii").write_bytes(raw)
    with pytest.raises(FileFormatError, match="the affine of the header is singular"):
        load(tmp_path / "a.nii")
