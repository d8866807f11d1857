from __future__ import annotations

import pickle
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from damaged_files import require_refused
from PIL import Image

from csmri_ext.bridge import FileFormatError, load, stack_slices
from csmri_ext.bridge.arrays.images import read_image
from csmri_ext.bridge.fourier import ifft2c
from csmri_ext.bridge.from_images import image_acquisition


def gray(shape: tuple[int, int] = (9, 12), dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("extension", ["png", "tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_are_scaled_by_their_type(tmp_path: Path, extension: str, dtype: type) -> None:
    pixels = gray(dtype=dtype)
    Image.fromarray(pixels).save(tmp_path / f"a.{extension}")
    volume = read_image(tmp_path / f"a.{extension}")
    assert volume.kspace.shape == (1, 1, 9, 12)
    assert volume.kspace.dtype == np.complex64
    assert volume.target.dtype == np.float32
    np.testing.assert_allclose(volume.target[0], pixels / np.iinfo(dtype).max, rtol=1e-6)
    np.testing.assert_allclose(np.abs(ifft2c(volume.kspace[0]))[0], volume.target[0], atol=1e-6)
    assert volume.mask is None
    assert volume.name == f"a.{extension}"
    assert volume.attrs["simulated"] is True
    assert "phase" in volume.attrs["note"]
    assert volume.attrs["recon_size"] == (9, 12)


def test_float_tiff_pages_are_slices_and_keep_their_values(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.random.default_rng(i).random((7, 5), np.float32) * 900) for i in range(3)]
    pages[0].save(tmp_path / "v.tiff", save_all=True, append_images=pages[1:])
    volume = pickle.loads(pickle.dumps(read_image(tmp_path / "v.tiff")))
    assert volume.kspace.shape == (3, 1, 7, 5)
    for i, page in enumerate(pages):
        np.testing.assert_array_equal(volume.target[i], np.asarray(page))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_gray_in_other_modes(tmp_path: Path, mode: str) -> None:
    pixels = gray()
    Image.fromarray(pixels).convert(mode).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.png").target[0], pixels / 255, rtol=1e-6)


def test_black_and_white(tmp_path: Path) -> None:
    pixels = gray() > 100
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").target[0], pixels)


def test_colour_is_refused(tmp_path: Path) -> None:
    pixels = np.stack([gray(seed=i) for i in range(3)], axis=-1)
    Image.fromarray(pixels).save(tmp_path / "c.png")
    with pytest.raises(FileFormatError, match=r"c\.png: page 0 is a colour image"):
        read_image(tmp_path / "c.png")


def test_black_image_and_black_pages(tmp_path: Path) -> None:
    black, white = Image.new("L", (6, 4)), Image.new("L", (6, 4), 255)
    black.save(tmp_path / "black.png")
    with pytest.raises(FileFormatError, match=r"black\.png: all 1 slices are zero"):
        read_image(tmp_path / "black.png")
    black.save(tmp_path / "v.tif", save_all=True, append_images=[white, black, white, black])
    volume = read_image(tmp_path / "v.tif")
    assert volume.n_slices == 3  # the empty ends are left out
    assert volume.attrs["first_slice"] == 1
    assert volume.target[0].all()
    with pytest.raises(FileFormatError, match=r"v\.tif: slice 2 .* zero everywhere"):
        volume.kspace[1]


def test_damaged_images(tmp_path: Path) -> None:
    Image.fromarray(gray((64, 64))).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    contents = {"cut.png": whole[: len(whole) // 2], "text.png": b"hello", "empty.png": b""}
    require_refused(tmp_path, contents, load, "PNG or TIFF file")
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.png")
    pages = [Image.new("L", (6, 4), 9), Image.new("L", (5, 4), 9), Image.new("L", (6, 4), 9)]
    pages[0].save(tmp_path / "v.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(FileFormatError, match=r"page 1 has \(4, 5\) pixels, page 0 has \(4, 6\)"):
        read_image(tmp_path / "v.tif").target[1]


def test_absurd_size_is_refused_before_it_is_allocated(tmp_path: Path) -> None:
    Image.fromarray(gray()).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[16:24] = (60000).to_bytes(4, "big") * 2  # width and height of the PNG header
    (tmp_path / "huge.png").write_bytes(data)
    with pytest.raises(FileFormatError, match=r"huge\.png: not a readable"):
        read_image(tmp_path / "huge.png")


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(gray()).save(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="pip install pillow"):
        read_image(tmp_path / "a.png")


def test_images_stack_to_a_volume(tmp_path: Path) -> None:
    for i in range(3):
        Image.fromarray(gray(seed=i)).save(tmp_path / f"{i}.png")
    singles = [load(tmp_path / f"{i}.png") for i in range(3)]
    volume = pickle.loads(pickle.dumps(stack_slices(singles, "three")))
    assert volume.name == "three"
    assert volume.kspace.shape == (3, 1, 9, 12)
    np.testing.assert_array_equal(volume.target[2], singles[2].target[0])
    np.testing.assert_array_equal(volume.kspace[1], singles[1].kspace[0])
    Image.fromarray(gray((8, 8))).save(tmp_path / "other.png")
    with pytest.raises(ValueError, match=r"cannot stack 0\.png and other\.png.*\(1, 9, 12\).*\(1, 8, 8\)"):
        stack_slices([singles[0], load(tmp_path / "other.png")], "two")
    singles[1].mask = np.ones(12, bool)
    with pytest.raises(ValueError, match="masks differ"):
        stack_slices(singles, "three")
    with pytest.raises(ValueError, match="no acquisition"):
        stack_slices([], "none")


def test_brain_slices(shared_data: Path) -> None:
    for path in sorted((shared_data / "brain").glob("*.png")):
        volume = load(path)
        assert volume.target.shape == (1, 256, 256)
        assert 0 < volume.target[0].max() <= 1


@pytest.mark.parametrize(
    ("share", "depth", "told"),
    [(0.03, 0.9, "2 % of the energy is in"), (0.3, 0.05, "30 % are"), (0.03, 0.1, None), (0.3, 0.01, None)],
)
def test_a_little_below_zero_is_ringing_and_more_is_no_magnitude(share: float, depth: float, told: str | None) -> None:
    """Few pixels far below zero, or many a little: each alone gives z-scores away."""
    image = np.ones((10, 10), np.float32)
    image.flat[: round(100 * share)] = -depth
    make = partial(image_acquisition, lambda _: image, 1, (10, 10), Path("v.nii"), "NIfTI")
    if told is None:
        assert make().target[0].min() == np.float32(depth)
    else:
        with pytest.raises(FileFormatError, match=told):
            make()
        assert make(force=True).target[0].min() == np.float32(depth)
