from __future__ import annotations

import pickle
import struct
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from csmri_ext.bridge import FileFormatError, load
from csmri_ext.bridge.arrays.mat import read_mat
from csmri_ext.bridge.arrays.mat5 import list_variables
from csmri_ext.bridge.fourier import ifft2c


def save_version_7_3(path: Path, variables: dict[str, np.ndarray]) -> None:
    """As MATLAB does: a 512-byte text block, axes reversed, complex as a pair called real and imag."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in variables.items():
            stored = np.asarray(array)
            if np.iscomplexobj(stored):
                pair = np.empty(stored.shape, [("real", stored.real.dtype), ("imag", stored.real.dtype)])
                pair["real"], pair["imag"] = stored.real, stored.imag
                stored = pair
            file.create_dataset(name, data=stored.T).attrs["MATLAB_class"] = np.bytes_("double")
        file.create_group("#refs#")["a"] = np.ones((2, 2))
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512, b" "))


SAVE = {"v5": savemat, "v7": lambda path, v: savemat(path, v, do_compression=True), "v7.3": save_version_7_3}


@pytest.fixture(params=sorted(SAVE))
def save(request: pytest.FixtureRequest):
    return SAVE[request.param]


def random_kspace(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def test_kspace_has_matlabs_axes(tmp_path: Path, save) -> None:
    path = tmp_path / "k.mat"
    save(path, {"kspace": random_kspace(9, 7, 3, 2)})  # (ny, nx, coils, slices)
    volume = pickle.loads(pickle.dumps(load(path)))
    assert volume.kspace.shape == (2, 3, 9, 7)
    assert volume.kspace.dtype == np.complex64
    np.testing.assert_allclose(np.asarray(volume.kspace), random_kspace(9, 7, 3, 2).transpose(3, 2, 0, 1), rtol=1e-6)
    save(path, {"kspace": random_kspace(9, 7, 3)})
    assert load(path).kspace.shape == (3, 1, 9, 7)
    coils = load(path, axes="yxc")
    assert coils.kspace.shape == (1, 3, 9, 7)
    np.testing.assert_allclose(coils.kspace[0], random_kspace(9, 7, 3).transpose(2, 0, 1), rtol=1e-6)
    save(path, {"kspace": random_kspace(9, 7)})
    assert load(path).kspace.shape == (1, 1, 9, 7)


def test_images(tmp_path: Path, save) -> None:
    images = np.random.default_rng(0).random((9, 7, 4))
    save(tmp_path / "i.mat", {"images": images})
    volume = read_mat(tmp_path / "i.mat")
    np.testing.assert_allclose(np.asarray(volume.target), images.transpose(2, 0, 1), rtol=1e-6)
    np.testing.assert_allclose(np.abs(ifft2c(volume.kspace[3]))[0], images[:, :, 3], atol=1e-6)
    assert volume.attrs["simulated"] is True


def test_mask_and_choice(tmp_path: Path, save) -> None:
    path = tmp_path / "k.mat"
    mask = np.zeros((9, 7), np.uint8)
    mask[:, ::2] = 1
    mask[4, 1] = 1
    save(path, {"kspace": random_kspace(9, 7) * mask, "mask": mask, "images": np.ones((9, 7))})
    volume = read_mat(path)
    np.testing.assert_array_equal(volume.mask, mask != 0)
    np.testing.assert_allclose(volume.kspace[0][0], random_kspace(9, 7) * mask, rtol=1e-6)
    assert read_mat(path, key="images").attrs["simulated"] is True
    save(path, {"kspace": random_kspace(9, 7) * mask[:1], "mask": mask[:1]})
    np.testing.assert_array_equal(read_mat(path).mask, np.arange(7) % 2 == 0)
    save(path, {"im": np.ones((9, 7)), "fov": 220.0, "te": np.ones((1, 5))})
    assert read_mat(path).target.shape == (1, 9, 7)
    save(path, {"a": np.ones((9, 7)), "b": np.ones((7, 9))})
    with pytest.raises(FileFormatError, match=r"which array is meant.*a \(9, 7\), b \(7, 9\)"):
        read_mat(path)
    with pytest.raises(FileFormatError, match="no array 'c'"):
        read_mat(path, key="c")


def test_bad_values_and_shapes(tmp_path: Path, save) -> None:
    images = np.ones((9, 7, 4))
    images[2, 2, 1] = np.nan
    save(tmp_path / "i.mat", {"images": images})
    with pytest.raises(FileFormatError, match=r"i\.mat: slice 1 .* NaN"):
        read_mat(tmp_path / "i.mat").target[1]
    save(tmp_path / "i.mat", {"images": np.ones((9, 7, 2, 2, 2))})
    with pytest.raises(FileFormatError, match=r"images has shape \(9, 7, 2, 2, 2\); expected axes"):
        read_mat(tmp_path / "i.mat")


def test_damaged_files(tmp_path: Path, save) -> None:
    path = tmp_path / "k.mat"
    save(path, {"kspace": random_kspace(64, 64)})
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:200], b"hello", b""):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"k\.mat: ") as caught:
            load(path)
        assert "\n" not in str(caught.value)


def test_memory_stays_that_of_a_slice(tmp_path: Path, save) -> None:
    save(tmp_path / "i.mat", {"images": np.ones((128, 128, 200), np.float32)})
    tracemalloc.start()
    try:
        assert sum(float(image.sum()) for image in read_mat(tmp_path / "i.mat").target) == 200 * 128 * 128
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5e6  # the volume has 13 MB


@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "c8", "c16"])
@pytest.mark.parametrize("compressed", [False, True])
def test_variables_are_those_of_scipy(tmp_path: Path, dtype: str, compressed: bool) -> None:
    rng = np.random.default_rng(0)
    array = (rng.integers(1, 100, (4, 3, 5)) + (1j * rng.random((4, 3, 5)) if dtype[0] == "c" else 0)).astype(dtype)
    others = {"text": "words", "cell": np.array([1, "a"], object), "struct": {"a": 1}, "x": np.eye(2), "empty": []}
    savemat(tmp_path / "v.mat", {"first": 1.0, **others, "array": array}, do_compression=compressed)
    variables = list_variables(tmp_path / "v.mat")
    assert set(variables) == {"first", "x", "empty", "array"}
    assert variables["array"].dtype == dtype
    np.testing.assert_array_equal(variables["array"].read((slice(None), 1)), array[:, 1])
    np.testing.assert_array_equal(variables["x"].read(()), np.eye(2))


def test_numbers_in_fewer_bytes_and_the_other_byte_order(tmp_path: Path) -> None:
    """MATLAB stores doubles that are small integers as bytes, and short names and values inside the tag."""
    matrix = struct.pack(">IIII", 6, 8, 6, 0)  # class double
    matrix += struct.pack(">IIii", 5, 8, 1, 3)
    matrix += struct.pack(">HH4s", 1, 1, b"a") + struct.pack(">HH4B", 3, 2, 7, 8, 9, 0)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\1\0MI"
    (tmp_path / "b.mat").write_bytes(header + struct.pack(">II", 14, len(matrix)) + matrix)
    variable = list_variables(tmp_path / "b.mat")["a"]
    np.testing.assert_array_equal(variable.read(()), [[7.0, 8.0, 9.0]])
    np.testing.assert_array_equal(loadmat(tmp_path / "b.mat")["a"], [[7, 8, 9]])


@pytest.mark.parametrize("compressed", [False, True])
def test_any_damage_is_one_error(tmp_path: Path, compressed: bool) -> None:
    """Not a crash: a general reader trusts the types and sizes that a file states."""
    path = tmp_path / "k.mat"
    savemat(path, {"kspace": random_kspace(8, 6), "mask": np.ones((1, 6))}, do_compression=compressed)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for i in range(400):
        damaged = bytearray(whole[: rng.integers(len(whole))] if i % 4 == 0 else whole)
        for place in rng.integers(124, max(len(damaged), 125), 1 + i % 5):
            damaged[place : place + 1] = bytes([rng.integers(256)])
        path.write_bytes(damaged)
        try:
            with np.errstate(all="ignore"):
                np.asarray(load(path).kspace)
        except FileFormatError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 100
