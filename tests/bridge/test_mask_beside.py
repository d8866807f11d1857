from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from made_slices import make_maps, make_slice

from csmri_ext.bridge import FileFormatError, load
from csmri_ext.bridge.fourier import fft2c

N = 32
COLUMNS = np.arange(N) % 3 == 0
COLUMNS[12:20] = True


def kspace(shape: tuple[int, int] = (N, N), coils: int = 2) -> np.ndarray:
    """Full k-space of one slice, (coils, ny, nx)."""
    return fft2c(make_slice(shape, seed=0).image * make_maps(shape, coils)).astype(np.complex64)


def write(path: Path, data: np.ndarray, mask: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        file["kspace"], file["mask"], file.attrs["acquisition"] = data, mask, "made"
    return path


def test_a_mask_is_stored_in_the_order_of_its_kspace(tmp_path: Path) -> None:
    data = kspace() * COLUMNS
    plane = np.tile(COLUMNS, (N, 1))
    for mask in (plane.T, plane.T[np.newaxis], COLUMNS[:, np.newaxis]):
        np.savez(tmp_path / "k.npz", kspace=data.swapaxes(-2, -1), mask=mask)
        volume = load(tmp_path / "k.npz", axes="coil x y")
        np.testing.assert_array_equal(volume.kspace[0], data)
        np.testing.assert_array_equal(volume.mask, COLUMNS)
        assert "warnings" not in volume.attrs


def test_rows_of_a_square_are_rows(tmp_path: Path) -> None:
    data = kspace()[np.newaxis] * COLUMNS[:, np.newaxis]
    volume = load(write(tmp_path / "k.h5", data, COLUMNS[:, np.newaxis]))
    np.testing.assert_array_equal(volume.kspace[0], data[0])
    np.testing.assert_array_equal(volume.mask, np.tile(COLUMNS[:, np.newaxis], (1, N)))


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (COLUMNS[:, np.newaxis], "only as columns"),
        (np.tile(COLUMNS[:, np.newaxis], (1, N)), "only transposed"),
        (np.fft.ifftshift(COLUMNS), "only as columns, shifted by half its size"),
        (np.roll(COLUMNS, 1), "where the mask beside it has none: the samples are believed"),
    ],
)
def test_no_sample_is_lost_to_a_mask_that_does_not_fit(tmp_path: Path, mask: np.ndarray, said: str) -> None:
    data = kspace()[np.newaxis] * COLUMNS
    volume = load(write(tmp_path / "k.h5", data, mask))
    np.testing.assert_array_equal(volume.kspace[0], data[0])
    np.testing.assert_array_equal(np.broadcast_to(volume.mask, (N, N)), np.tile(COLUMNS, (N, 1)))
    assert said in volume.attrs["warnings"][0]


def test_a_mask_for_every_slice_and_coil(tmp_path: Path) -> None:
    data = np.stack([kspace(), kspace()]) * COLUMNS
    for mask in (np.tile(COLUMNS, (2, 1, 1)), np.tile(COLUMNS, (2, 2, N, 1)), COLUMNS.astype(complex)):
        np.testing.assert_array_equal(load(write(tmp_path / "k.h5", data, mask)).mask, COLUMNS)
    differing = np.stack([COLUMNS, ~COLUMNS])[:, np.newaxis]
    with pytest.raises(FileFormatError, match=r"mask of shape \(2, 1, 32\) differs between slices"):
        load(write(tmp_path / "k.h5", data, differing))
