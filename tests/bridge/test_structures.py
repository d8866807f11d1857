"""MATLAB's structures, and HDF5 files as other programs write, lock and compress them."""

from __future__ import annotations

import multiprocessing
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
from made_slices import make_slice
from scipy.io import savemat

from csmri_ext.bridge import FileFormatError, load
from csmri_ext.bridge.fourier import ifft2c
from csmri_ext.bridge.ismrmrd.header import make_header
from csmri_ext.bridge.slice_checks import format_errors

COILS = make_slice(n_coils=4, shape=(32, 28)).kspace


@pytest.mark.parametrize("compressed", [False, True])
def test_fields_of_structures_are_read_by_their_names(tmp_path: Path, compressed: bool) -> None:
    deep = {"scan": {"kspace": COILS[0], "te": 3.5, "name": "knee"}, "empty": np.zeros((0, 0))}
    savemat(tmp_path / "s.mat", {"data": deep, "x": np.arange(3.0)}, do_compression=compressed)
    with pytest.raises(
        FileFormatError, match=r"data\.scan\.kspace \(32 x 28\) is inside a structure; .*--key data\.scan"
    ):
        load(tmp_path / "s.mat")
    volume = load(tmp_path / "s.mat", key="data.scan.kspace")
    np.testing.assert_allclose(volume.kspace[0][0], COILS[0], rtol=1e-6)
    savemat(tmp_path / "cells.mat", {"data": np.array([{"a": 1}, {"a": 2}])}, do_compression=compressed)
    with pytest.raises(FileFormatError, match="it holds no array of numbers"):
        load(tmp_path / "cells.mat")


def test_groups_of_version_7_3(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "s.mat", "w") as file:
        file["data/kspace"] = COILS.transpose(2, 1, 0)  # (x, y, coil), which MATLAB shows as (coil, y, x)
    volume = load(tmp_path / "s.mat", key="data.kspace", axes="coil y x")
    np.testing.assert_array_equal(volume.kspace[0], COILS)


def test_damaged_structures_are_errors(tmp_path: Path) -> None:
    savemat(tmp_path / "s.mat", {"data": {"kspace": COILS[0], "more": {"b": np.ones((4, 4))}}})
    whole = (tmp_path / "s.mat").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(whole)
        for place in rng.integers(128, 400, 3):
            content[place] = rng.integers(256)
        (tmp_path / "bad.mat").write_bytes(content)
        with suppress(FileFormatError, MemoryError):
            np.asarray(load(tmp_path / "bad.mat", key="data.kspace").kspace)


@pytest.mark.parametrize(("real", "imaginary"), [("real", "imag"), ("re", "im"), ("r", "i")])
def test_pairs_of_fields_are_complex(tmp_path: Path, real: str, imaginary: str) -> None:
    pair = np.empty((1, *COILS.shape), [(real, "f4"), (imaginary, "f4")])
    pair[real], pair[imaginary] = COILS.real, COILS.imag
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["kspace"] = pair
    np.testing.assert_array_equal(load(tmp_path / "k.h5").kspace[0], COILS)


def test_hdf5_with_other_names_and_axes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["scan/data"] = np.stack([COILS.real, COILS.imag], -1)
    with pytest.raises(FileFormatError, match="datasets found: scan/data; read one with --key"):
        load(tmp_path / "k.h5")
    volume = load(tmp_path / "k.h5", key="scan/data", axes="coil y x complex")
    np.testing.assert_array_equal(volume.kspace[0], COILS)


def _hold(path: str, ready, done) -> None:
    with h5py.File(path, "a"):
        ready.set()
        done.wait(20)


def test_a_locked_file_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["kspace"] = COILS[None]
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path / "k.h5"), ready, done))
    process.start()
    try:
        assert ready.wait(60)
        with pytest.raises(FileFormatError, match=r"k\.h5: another program has .*HDF5_USE_FILE_LOCKING=FALSE"):
            load(tmp_path / "k.h5")
    finally:
        done.set()
        process.join()


def test_errors_of_the_system_get_the_path(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match=r"Input/output error: .*k\.h5") as caught,
        format_errors(tmp_path / "k.h5", "HDF5"),
    ):
        raise OSError(5, "Can't synchronously read data (errno = 5)")
    assert caught.value.filename == str(tmp_path / "k.h5")


def test_compression_of_others_names_its_package(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "k.h5", "w") as file:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((1, *COILS.shape))
        settings.set_filter(32_700, h5py.h5z.FLAG_OPTIONAL)  # a number that nobody registered
        space = h5py.h5s.create_simple((1, *COILS.shape))
        type_ = h5py.h5t.py_create(np.dtype(np.complex64))
        dataset = h5py.h5d.create(file.id, b"kspace", type_, space, settings)
        h5py.Dataset(dataset).id.write_direct_chunk((0, 0, 0, 0), COILS.tobytes())
    with pytest.raises(FileFormatError, match=r"k\.h5: compressed in a way .*: pip install hdf5plugin"):
        load(tmp_path / "k.h5")


@pytest.mark.parametrize("compression", ["Blosc", "Zstd", "LZ4"])
def test_compression_of_hdf5plugin_is_read(tmp_path: Path, compression: str) -> None:
    plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file.create_dataset("kspace", data=COILS[np.newaxis], **getattr(plugin, compression)())
        file.attrs["acquisition"] = "made"
    np.testing.assert_array_equal(load(tmp_path / "k.h5").kspace[0], COILS)


@pytest.mark.parametrize(("center", "maximum", "kept"), [(0, 0, 28), (7, 13, 28), (400, 3, 28), (14, 27, 28)])
def test_a_header_that_contradicts_the_data_is_not_believed(
    tmp_path: Path, center: int, maximum: int, kept: int
) -> None:
    header = make_header((32, 28), (32, 28), 1, 4)
    header = header.replace(
        "<maximum>27</maximum><center>14</center>", f"<maximum>{maximum}</maximum><center>{center}</center>"
    )
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["kspace"], file["ismrmrd_header"] = COILS[None], header
    volume = load(tmp_path / "k.h5")
    right = (center, maximum) == (14, 27)
    assert volume.attrs.get("padding", (0, 28)) == (0, kept)
    assert ("warnings" in volume.attrs) != right
    if not right:
        assert "so the header is wrong and all are kept" in volume.attrs["warnings"][0]
    np.testing.assert_array_equal(volume.kspace[0], COILS)


def test_an_encoded_size_that_differs_is_not_believed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["kspace"] = COILS[None]
        file["ismrmrd_header"] = make_header((32, 60), (32, 28), 1, 4, (2, 50))
    assert "padding" not in load(tmp_path / "k.h5").attrs


def test_files_narrower_than_their_image_are_cropped_as_fastmri_does(tmp_path: Path) -> None:
    """UnetDataTransform: where nx is smaller than the wanted width, both sides are nx; with a reference or without."""
    kspace = make_slice(shape=(64, 21)).kspace
    mask = np.arange(21) % 4 == 0
    header = make_header((64, 21), (32, 32), 1, 1)
    for name, more in (("train", {"reconstruction_esc": np.ones((1, 32, 32))}), ("test", {"mask": mask}), ("full", {})):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["kspace"] = kspace * (mask if name == "test" else 1)
            file["ismrmrd_header"] = header
            for key, value in more.items():
                file[key] = value
        volume = load(tmp_path / f"{name}.h5")
        assert volume.attrs["recon_size"] == (21, 21)
        assert volume.target is None if name == "test" else volume.target.shape == (1, 21, 21)


def test_images_larger_than_kspace_are_filled_with_zeros(tmp_path: Path) -> None:
    kspace = make_slice(shape=(24, 20)).kspace
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["kspace"], file["ismrmrd_header"] = kspace, make_header((24, 20), (48, 40), 1, 1)
    volume = load(tmp_path / "k.h5")
    assert volume.matrix_size == volume.attrs["recon_size"] == (48, 40)
    np.testing.assert_array_equal(volume.kspace[0][:, 12:36, 10:30], kspace)
    assert np.count_nonzero(volume.kspace[0]) == np.count_nonzero(kspace)
    assert volume.attrs["padding"] == (10, 30)
    assert "k-space of 24 x 20 is filled with zeros to the 48 x 40" in volume.attrs["warnings"][0]
    image = np.abs(ifft2c(volume.kspace[0]))[0]
    np.testing.assert_allclose(volume.target[0], image, rtol=1e-5)
    np.testing.assert_allclose(2 * image[::2, ::2], np.abs(ifft2c(kspace))[0], atol=1e-5)  # band-limited interpolation


def test_non_cartesian_headers_are_refused(tmp_path: Path) -> None:
    header = make_header((32, 28), (32, 28), 1, 4).replace("cartesian", "radial")
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["kspace"], file["ismrmrd_header"] = COILS[None], header
    with pytest.raises(FileFormatError, match=r"the trajectory is radial, .*--force goes on"):
        load(tmp_path / "k.h5")
    assert load(tmp_path / "k.h5", force=True).kspace.shape == (1, *COILS.shape)
