"""Complex numbers without a header: k-space, or images where the user or the name says so, in every format."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from csmri_ext.bridge import FileFormatError, load, reading, write_cfl
from csmri_ext.bridge.bart_files.dims import to_bart
from csmri_ext.bridge.fourier import fft2c
from csmri_ext.bridge.load import Files
from csmri_ext.commands import cli
from csmri_ext.data import open_images
from csmri_ext.data.examine import serious
from csmri_ext.phantom import coil_maps, phantom_volume

NX = 80
PHASE = np.exp(1j * np.linspace(0, 3, NX))
IMAGES = (np.stack([phantom_volume(1, 96, seed)[0][:, 8:88] for seed in (1, 2, 3)]) * PHASE).astype(np.complex64)


def save_h5(path: Path, array: np.ndarray, name: str = "kspace") -> None:
    with h5py.File(path, "w") as file:
        file[name] = array


def save_ra(path: Path, array: np.ndarray) -> None:
    dims = to_bart(array[:, None]).shape
    header = struct.pack("<6Q", 0x7961727261776172, 0, 4, 8, array.nbytes, len(dims)) + struct.pack(
        f"<{len(dims)}Q", *dims
    )
    path.write_bytes(header + array.tobytes())


SAVE: dict[str, Callable[[Path, np.ndarray], None]] = {
    ".npy": np.save,
    ".npz": lambda path, array: np.savez(path, x=array),
    ".mat": lambda path, array: scipy.io.savemat(path, {"x": array.transpose(1, 2, 0)}),
    ".h5": save_h5,
    ".cfl": lambda path, array: write_cfl(path, to_bart(array[:, None])),
    ".ra": save_ra,
}


def saved(folder: Path, ending: str, array: np.ndarray = IMAGES) -> Path:
    path = folder / f"a{ending}"
    SAVE[ending](path, np.asarray(array, np.complex64))
    return path


@pytest.mark.parametrize("ending", SAVE)
def test_complex_images(tmp_path: Path, ending: str) -> None:
    path = saved(tmp_path, ending)
    volume = load(path, domain="image")
    expected = IMAGES
    np.testing.assert_allclose(np.asarray(volume.kspace)[:, 0], fft2c(expected), rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.asarray(volume.target), np.abs(expected), rtol=1e-6)
    assert ", images, as the user says" in reading(volume)
    assert "complex images" in volume.attrs["note"]
    np.testing.assert_allclose(open_images([path], reading=Files({"domain": "image"}))[1], expected[1], atol=1e-5)


@pytest.mark.parametrize("ending", SAVE)
def test_kspace_is_what_it_was(tmp_path: Path, ending: str) -> None:
    path = saved(tmp_path, ending, fft2c(IMAGES))
    axes = {".mat": "y x slice", ".cfl": None, ".ra": None}.get(ending, "slice y x")
    plain, said = load(path, axes=axes), load(path, axes=axes, domain="kspace")
    np.testing.assert_array_equal(np.asarray(plain.kspace), np.asarray(said.kspace))
    np.testing.assert_allclose(np.asarray(plain.kspace)[:, 0], fft2c(IMAGES), rtol=0, atol=1e-5)
    assert "as the user says" not in reading(plain)


@pytest.mark.parametrize("name", ["kspace", "images"])
@pytest.mark.parametrize("domain", [None, "kspace", "image"])
def test_the_word_of_the_user_is_above_the_name(tmp_path: Path, name: str, domain: str | None) -> None:
    path = tmp_path / "a.npz"
    is_kspace = (domain or name) == "kspace"
    np.savez(path, **{name: fft2c(IMAGES) if is_kspace else IMAGES})
    volume = load(path, axes="slice y x", domain=domain)
    np.testing.assert_allclose(np.asarray(volume.kspace)[:, 0], fft2c(IMAGES), rtol=0, atol=1e-5)
    words = {None: "images, as the name says"} | dict.fromkeys(("kspace", "image"), "as the user says")
    assert (words[domain] in reading(volume)) == (domain is not None or name == "images")


def test_axes_in_bart_files_and_pairs_of_real_numbers(tmp_path: Path) -> None:
    write_cfl(tmp_path / "a", IMAGES)
    np.save(tmp_path / "a.npy", IMAGES.view(np.float32).reshape(*IMAGES.shape, 2))
    for path, axes in ((tmp_path / "a", "slice y x"), (tmp_path / "a.npy", "slice y x complex")):
        volume = load(path, axes=axes, domain="image")
        np.testing.assert_allclose(np.asarray(volume.kspace)[:, 0], fft2c(IMAGES), rtol=0, atol=1e-5)


def test_two_complex_images_are_not_called_real(tmp_path: Path) -> None:
    assert "warnings" not in load(saved(tmp_path, ".npy", IMAGES[:2]), domain="image").attrs


@pytest.mark.parametrize(
    ("axes", "domain", "line"),
    [
        ("coil y x", "image", "images have no coil axis.*; combine the coils, or apply a centred FFT to each"),
        (None, "picture", "domain 'picture'; it is kspace or image"),
        ("slice y x", "kspace", "k-space must be complex"),
    ],
)
def test_what_cannot_be(tmp_path: Path, axes: str | None, domain: str, line: str) -> None:
    array = np.abs(IMAGES) if domain == "kspace" else IMAGES
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(FileFormatError, match=line):
        load(tmp_path / "a.npy", axes=axes, domain=domain)


def test_coil_images_are_no_slices(tmp_path: Path) -> None:
    path = saved(tmp_path, ".npy", IMAGES[0] * coil_maps(IMAGES.shape[1:], 4, seed=0))
    with pytest.raises(FileFormatError, match="the 4 images look like the coil images of one slice: combine them"):
        load(path, domain="image")
    assert len(load(path, domain="image", axes="slice y x").kspace) == 4


def test_bart_images_have_no_coils(tmp_path: Path) -> None:
    write_cfl(tmp_path / "a", to_bart(IMAGES))
    with pytest.raises(FileFormatError, match="images have no coils: combine the coils, or leave out --domain image"):
        load(tmp_path / "a", domain="image")


def test_commands_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", IMAGES[0])
    assert cli.main(["doctor", "a.npy"]) == 0
    assert "a complex image, not k-space? --domain image reads it" in capsys.readouterr().out
    words = ["recon", "a.npy", "o.npy", "--method", "zero-filled", "--mask", "random", "--domain", "image"]
    assert cli.main(words) == 0
    said = capsys.readouterr()
    assert "read as 96 x 80, axes y x, from the file's order, images, as the user says" in said.out
    assert "not k-space?" not in said.err
    assert cli.main(["recon", "a.nii", "o.npy", "--domain", "image"]) == 2


@pytest.mark.parametrize("ending", [".npz", ".mat"])
def test_the_array_that_is_called_images_is_read_where_images_are_asked_for(tmp_path: Path, ending: str) -> None:
    path, arrays = tmp_path / f"a{ending}", {"kspace": fft2c(IMAGES[:2]), "images": IMAGES}
    if ending == ".npz":
        np.savez(path, **arrays)
    else:
        scipy.io.savemat(path, {name: array.transpose(1, 2, 0) for name, array in arrays.items()})
    assert load(path).n_slices == load(path, domain="kspace").n_slices == 2
    assert load(path, domain="image").n_slices == 3


@pytest.mark.parametrize("phase", [1, PHASE])
def test_kspace_that_is_read_as_images_is_doubted(tmp_path: Path, phase: np.ndarray) -> None:
    def warnings(array: np.ndarray, domain: str) -> list[str]:
        return serious(load(saved(tmp_path, ".npy", array), domain=domain, axes="slice y x"))

    images = np.abs(IMAGES) * phase
    (said,) = (line for line in warnings(fft2c(images), "image") if line.startswith("zero frequency"))
    assert said.endswith("k-space that was read as images; --domain kspace reads it")
    assert warnings(images, "image") == warnings(fft2c(images), "kspace") == []
