from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from made_slices import make_slice
from PIL import Image

from csmri_ext.bridge import Acquisition, load, read_cfl, write_cfl
from csmri_ext.bridge.fourier import fft2c
from csmri_ext.commands import cli
from csmri_ext.commands.image_writers import as_picture, image_affine

nibabel = pytest.importorskip("nibabel")


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def recon(*words: str) -> None:
    assert cli.main(["recon", *words, "--method", "zero-filled"]) == 0


def test_one_hot_pixel_does_not_darken_the_rest() -> None:
    image = np.ones((1, 64, 64), np.complex64)
    image[0, 3, 4] = 1000
    made = Acquisition(image[:, None], "a")
    picture = as_picture(image, made)
    assert (picture == 255).all()
    assert as_picture(0 * image, made).max() == 0


@pytest.mark.parametrize("options", [[], ["--phase-encoding", "PHS1"]])
def test_pictures_are_those_of_bart_toimg(bart_binary: str, options: list[str]) -> None:
    write_cfl("k", make_slice((40, 30)).kspace[0].T[:, :, None])  # READ 30, PHS1 40
    recon("k", "ours.png", *options)
    recon("k", "image.cfl", *options)
    subprocess.run([bart_binary, "toimg", "image", "theirs.png"], check=True, capture_output=True)
    ours = np.asarray(Image.open("ours.png")).astype(float)
    theirs = np.asarray(Image.open("theirs.png").convert("L")).astype(float)
    assert ours.shape == theirs.shape == (30, 40)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999


def test_pictures_of_other_files_have_rows_of_y() -> None:
    np.save("k.npy", make_slice((40, 30)).kspace)
    recon("k.npy", "o.png")
    assert np.asarray(Image.open("o.png")).shape == (40, 30)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_results_lie_where_the_nifti_input_did(plane: str, ending: str) -> None:
    rng = np.random.default_rng(0)
    volume = np.zeros((20, 24, 28), np.float32)
    volume[2:18, 3:20, 4:25] = rng.random((16, 17, 21))
    affine = np.array([[0, -1.1, 0, 30], [1.2, 0, 0, -20], [0, 0, 1.3, 5], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(volume, affine), "v.nii")
    recon("v.nii", f"o{ending}", "--plane", plane, "--slices", "6")
    result = nibabel.load(f"o{ending}")
    values = np.asarray(result.dataobj)
    to_input = np.linalg.inv(affine) @ result.affine
    for place in ((3, 4, 0), (10, 9, 5), (7, 12, 3)):
        i, j, k = np.rint((to_input @ (*place, 1))[:3]).astype(int)
        assert values[place] == pytest.approx(volume[i, j, k], abs=1e-5)
    assert values.dtype == np.float32
    assert min(values.shape) == 6


def test_results_without_an_affine() -> None:
    np.save("k.npy", make_slice((40, 30)).kspace)
    recon("k.npy", "o.nii.gz")
    result = nibabel.load("o.nii.gz")
    assert result.shape == (30, 40, 1)
    assert nibabel.aff2axcodes(result.affine) == ("L", "P", "S")
    assert Path("o.nii.gz").read_bytes() == (recon("k.npy", "o.nii.gz"), Path("o.nii.gz").read_bytes())[1]


def test_frames_and_slices_return_to_their_dimensions() -> None:
    kspace = np.stack([[fft2c((3 * f + s + 1) * make_slice((20, 16)).image) for s in range(2)] for f in range(3)])
    stored = np.zeros((16, 20, *[1] * 8, 3, 1, 1, 2), np.complex64)
    stored[:, :, 0, 0, 0, 0, 0, 0, 0, 0, :, 0, 0, :] = kspace.transpose(3, 2, 0, 1)
    write_cfl("k", stored)
    recon("k", "o.cfl")
    images = read_cfl("o.cfl")
    assert images.shape == (16, 20, *[1] * 8, 3, 1, 1, 2, 1, 1)
    base = np.abs(images[:, :, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    last = np.abs(images[:, :, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0])
    np.testing.assert_allclose(last, 8 * base, atol=1e-4)
    recon("k", "two.cfl", "--frames", "0,2")
    assert read_cfl("two.cfl").shape[10] == 2
    assert load("k").n_slices == 6


def test_cropped_results_lie_in_their_place() -> None:
    """The first pixel of a crop lies as far inside as was cut off, in columns, rows and slices of 1 mm."""
    whole = Acquisition(np.ones((5, 1, 40, 30), np.complex64), "a")
    place, cropped = (image_affine(whole, size, first) for size, first in (((40, 30), 0), ((20, 24), 2)))
    np.testing.assert_allclose(cropped @ (0, 0, 0, 1), place @ (3, 10, 2, 1))
    np.testing.assert_allclose(cropped[:3, :3], place[:3, :3])
