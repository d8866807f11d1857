from __future__ import annotations

import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from csmri_ext.bridge import FileFormatError, read_cfl, write_cfl
from csmri_ext.bridge.mask_file import fit_mask, is_mask_file, read_mask

COLUMNS = np.arange(30) % 3 == 0
COLUMNS[12:18] = True
PLANE = np.random.default_rng(0).random((20, 30)) < 0.3
PLANE[7:13, 12:18] = True


def save_png(path: Path, mask: np.ndarray) -> None:
    Image.fromarray((255 * mask).astype(np.uint8)).save(path)


@pytest.mark.parametrize("mask", [COLUMNS, PLANE], ids=["columns", "plane"])
def test_every_format(tmp_path: Path, mask: np.ndarray) -> None:
    np.save(tmp_path / "m.npy", mask)
    np.save(tmp_path / "float.npy", mask.astype(np.float32)[None])
    np.savez(tmp_path / "m.npz", mask=mask, kspace=np.ones((20, 30)))
    savemat(tmp_path / "m.mat", {"mask": mask.astype(float), "other": 1.0})
    with h5py.File(tmp_path / "test.h5", "w") as file:
        file["mask"], file["kspace"] = mask.astype(np.float32), np.ones((1, 20, 30), np.complex64)
    write_cfl(tmp_path / "m", np.atleast_2d(mask).T)
    names = ["m.npy", "float.npy", "m.npz", "m.mat", "test.h5", "m.cfl", "m"]
    if mask.ndim == 2:
        save_png(tmp_path / "m.png", mask)
        names.append("m.png")
    for name in names:
        assert is_mask_file(str(tmp_path / name))
        np.testing.assert_array_equal(read_mask(tmp_path / name).squeeze(), mask, err_msg=name)


@pytest.mark.parametrize(
    "command",
    [
        ["poisson", "-Y", "48", "-Z", "40", "-y", "2", "-z", "2", "-C", "8"],
        ["upat", "-Y", "48", "-Z", "40", "-y", "2", "-z", "2", "-c", "8"],
    ],
)
def test_masks_of_bart(tmp_path: Path, bart_binary: str, command: list[str]) -> None:
    subprocess.run([bart_binary, *command, "m"], cwd=tmp_path, check=True, capture_output=True)
    stored = read_cfl(tmp_path / "m", squeeze=True)[0]  # 1 x Y x Z
    mask = read_mask(tmp_path / "m")
    np.testing.assert_array_equal(mask, stored.T != 0)
    np.testing.assert_array_equal(fit_mask(mask, (40, 48))[0], mask)
    assert fit_mask(mask, (48, 40))[1] == "transposed"


def test_masks_are_brought_to_the_axes_of_kspace() -> None:
    np.testing.assert_array_equal(fit_mask(PLANE, (20, 30))[0], PLANE)
    assert fit_mask(PLANE, (20, 30))[1] == ""
    turned, done = fit_mask(PLANE.T, (20, 30))
    np.testing.assert_array_equal(turned, PLANE)
    assert done == "transposed"
    for mask in (PLANE, COLUMNS):
        centred, done = fit_mask(np.fft.ifftshift(mask), (20, 30))
        np.testing.assert_array_equal(centred, mask)
        assert done == "shifted, as its centre was at index 0"
    np.testing.assert_array_equal(fit_mask(np.broadcast_to(COLUMNS, (20, 30)), (20, 30))[0], COLUMNS)
    rows, done = fit_mask(COLUMNS, (30, 20))
    np.testing.assert_array_equal(rows, np.broadcast_to(COLUMNS[:, None], (30, 20)))
    assert done == "read as rows"
    with pytest.raises(ValueError, match=r"mask of shape \(20, 30\) does not fit k-space of \(ny, nx\) = \(21, 30\)"):
        fit_mask(PLANE, (21, 30))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(30), "the mask is empty"),
        (np.ones((2, 9, 9)), r"a mask has shape \(nx,\) or \(ny, nx\), not \(2, 9, 9\)"),
        (np.full(30, np.nan), "NaN or infinite"),
        (np.array(["a", "b"]), "a mask is numbers"),
    ],
)
def test_what_is_no_mask(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "m.npy", array)
    with pytest.raises(FileFormatError, match=rf"m\.npy: .*{message}"):
        read_mask(tmp_path / "m.npy")


def test_a_photograph_is_no_mask(tmp_path: Path) -> None:
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "photo.png")
    with pytest.raises(FileFormatError, match=r"photo\.png: a mask is black and white; 80 % is gray"):
        read_mask(tmp_path / "photo.png")


def test_the_choice_of_an_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", first=COLUMNS, second=PLANE)
    with pytest.raises(
        FileFormatError, match=r"which array is the mask\? Name it mask; it holds first \(30,\), second"
    ):
        read_mask(tmp_path / "m.npz")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.npz", key="second"), PLANE)
    with pytest.raises(FileFormatError, match="no array 'third'"):
        read_mask(tmp_path / "m.npz", key="third")
    savemat(tmp_path / "inside.mat", {"data": {"mask": PLANE.astype(float), "kspace": PLANE * 1j}})
    np.testing.assert_array_equal(read_mask(tmp_path / "inside.mat"), PLANE)
    (tmp_path / "m.txt").write_text("1 0 1")
    with pytest.raises(FileFormatError, match="no arrays are read from such a file"):
        read_mask(tmp_path / "m.txt")


def test_a_column_of_numbers_is_rows_but_in_matlab(tmp_path: Path) -> None:
    rows = (np.arange(20) % 3 > 0)[:, None]
    np.save(tmp_path / "m.npy", rows)
    fitted, done = fit_mask(read_mask(tmp_path / "m.npy"), (20, 20))
    np.testing.assert_array_equal(fitted, np.broadcast_to(rows, (20, 20)))
    assert done == "read as rows"
    savemat(tmp_path / "m.mat", {"mask": rows.astype(float)})
    np.testing.assert_array_equal(fit_mask(read_mask(tmp_path / "m.mat"), (20, 20))[0], rows[:, 0])
    np.testing.assert_array_equal(fit_mask(rows, (30, 20))[0], rows[:, 0])


@pytest.mark.parametrize("nx", [16, 17])
def test_a_centre_at_index_0_comes_to_n_half(nx: int) -> None:
    mask = np.abs(np.arange(nx) - nx // 2) < 3
    for shape in ((nx,), (10, nx)):
        fitted, done = fit_mask(np.broadcast_to(np.fft.ifftshift(mask), shape), (10, nx))
        np.testing.assert_array_equal(fitted, mask)
        assert done == "shifted, as its centre was at index 0"
