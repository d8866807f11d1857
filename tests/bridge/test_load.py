from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from csmri_ext.bridge import Acquisition, FileFormatError, load, write_cfl, write_fastmri

KSPACE = (np.random.default_rng(0).standard_normal((1, 2, 8, 6, 2)) @ [1, 1j]).astype(np.complex64)


def make_all(folder: Path) -> dict[str, Path]:
    """One file of every kind, under its usual name."""
    from scipy.io import savemat

    nibabel = pytest.importorskip("nibabel")
    files = {kind: folder / f"k.{kind}" for kind in ("h5", "npy", "npz", "png", "tif", "mat", "nii", "nii.gz")}
    write_fastmri(files["h5"], KSPACE)
    np.save(files["npy"], KSPACE)
    np.savez(files["npz"], kspace=KSPACE)
    pixels = np.arange(1, 49, dtype=np.uint8).reshape(8, 6)
    Image.fromarray(pixels).save(files["png"])
    Image.fromarray(pixels).save(files["tif"])
    savemat(files["mat"], {"kspace": KSPACE.transpose(2, 3, 1, 0)})
    volume = nibabel.Nifti1Image(pixels[..., np.newaxis], np.eye(4))
    nibabel.save(volume, files["nii"])
    nibabel.save(volume, files["nii.gz"])
    return files


def test_every_kind_becomes_an_acquisition(tmp_path: Path) -> None:
    for kind, path in make_all(tmp_path).items():
        volume = load(str(path))
        assert isinstance(volume, Acquisition), kind
        assert volume.kspace.dtype == np.complex64, kind
        assert volume.n_slices == 1, kind
        assert volume.name == path.name, kind
        assert volume.attrs["path"] == str(path), kind
        assert volume.target is not None, kind
        if kind in ("h5", "npy", "npz", "mat"):
            np.testing.assert_allclose(np.asarray(volume.kspace)[0], KSPACE[0], rtol=1e-6)


def test_content_wins_over_the_extension(tmp_path: Path) -> None:
    for kind, path in make_all(tmp_path).items():
        wrong = tmp_path / ("wrong.png" if kind != "png" else "wrong.npy")
        shutil.copy(path, wrong)
        if kind == "nii.gz":  # nibabel itself goes by the extension
            with pytest.raises(FileFormatError, match=r"wrong\.png: not a readable NIfTI file"):
                load(wrong)
        elif kind != "nii":
            assert load(wrong).kspace.shape == load(path).kspace.shape, kind


def test_bart_files_by_any_of_their_names(tmp_path: Path) -> None:
    write_cfl(tmp_path / "ksp", KSPACE[0].transpose(2, 1, 0)[:, :, np.newaxis])
    for name in ("ksp", "ksp.cfl", "ksp.hdr"):
        np.testing.assert_array_equal(np.asarray(load(tmp_path / name).kspace)[0], KSPACE[0])


def test_options_reach_the_reader(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", first=KSPACE[0], second=KSPACE)
    assert load(tmp_path / "a.npz", key="first", axes="cyx").kspace.shape == (1, 2, 8, 6)
    with pytest.raises(TypeError, match="plane"):
        load(tmp_path / "a.npz", plane="axial")


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(FileFormatError, match=r"notes\.txt: unknown file type; supported: \.h5"):
        load(tmp_path / "notes.txt")
    (tmp_path / "scan.dcm").write_bytes(bytes(128) + b"DICM" + bytes(300))
    with pytest.raises(FileFormatError, match="convert DICOM to NIfTI"):
        load(tmp_path / "scan.dcm")
    with pytest.raises(FileFormatError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.h5")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["weights"] = np.ones(3)
    with pytest.raises(FileFormatError, match="no dataset 'kspace'; datasets found: weights"):
        load(tmp_path / "other.h5")
