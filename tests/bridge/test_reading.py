from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from made_slices import make_slice
from scipy.io import savemat

from csmri_ext.bridge import FileFormatError, load, load_frames, parse_axes, reading, write_cfl
from csmri_ext.bridge.conventions import is_coverage, looks_like_coils, looks_like_spokes
from csmri_ext.bridge.fourier import fft2c, ifft2c

COILS = make_slice(n_coils=4, shape=(64, 60)).kspace


def slices(n: int = 5) -> np.ndarray:
    return np.concatenate([make_slice(shape=(64, 60), seed=seed).kspace for seed in range(n)])


def spokes() -> np.ndarray:
    """Radial samples of a disc, (spokes, samples), computed from the definition."""
    y, x = np.argwhere(np.hypot(*np.mgrid[-24:24, -24:24]) < 15).T - 24
    k = np.arange(-24, 24) / 48
    angles = np.arange(32) * np.pi / 32
    return np.stack([np.exp(-2j * np.pi * np.outer(k, x * np.cos(a) + y * np.sin(a))).sum(1) for a in angles]).astype(
        np.complex64
    )


@pytest.mark.parametrize(
    ("text", "letters"),
    [("coil y x", "cyx"), ("cyx", "cyx"), ("Coil, Y, X", "cyx"), ("y x slice time", "yxst"), ("y x complex", "yxi")],
)
def test_axes_in_words_and_letters(text: str, letters: str) -> None:
    assert parse_axes(text) == letters


@pytest.mark.parametrize("text", ["coil y", "y x x", "y x banana", "", "slice coil"])
def test_axes_that_name_no_image(text: str) -> None:
    with pytest.raises(ValueError, match=r"axes '.*': .* as in 'coil y x'"):
        parse_axes(text)


def test_coils_are_told_from_slices() -> None:
    for n_coils in (2, 4, 8):
        for noise in (0.002, 0.1):
            assert looks_like_coils(make_slice(n_coils=n_coils, noise=noise).kspace) is True
    assert looks_like_coils(slices()) is False
    assert looks_like_coils(COILS[:1]) is None
    assert looks_like_coils(np.random.default_rng(0).standard_normal((4, 64, 64)) + 0j) is None
    assert looks_like_coils(np.stack([slices(1)[0], 2 * slices(1)[0]])) is None
    assert looks_like_coils(COILS * (np.arange(60) % 4 == 0)) is None


def test_coils_in_a_bare_array_are_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", COILS)
    with pytest.raises(FileFormatError, match=r"k\.npy: .* 4 slices look like the coil images .* --axes 'coil y x'"):
        load(tmp_path / "k.npy")
    volume = load(tmp_path / "k.npy", axes="coil y x")
    assert volume.kspace.shape == (1, 4, 64, 60)
    assert reading(volume) == "4 coils x 64 x 60, axes coil y x, from the user"
    for options in ({"axes": "slice y x"}, {"force": True}):
        assert load(tmp_path / "k.npy", **options).kspace.shape == (4, 1, 64, 60)
    np.save(tmp_path / "s.npy", slices())
    assert reading(load(tmp_path / "s.npy")) == "5 slices x 64 x 60, axes slice y x, from the file's order"


def test_slices_in_the_place_of_coils_are_asked_for(tmp_path: Path) -> None:
    stack = slices().transpose(1, 2, 0)  # (y, x, slice)
    savemat(tmp_path / "k.mat", {"kspace": np.stack([stack, stack], -1)})
    with pytest.raises(FileFormatError, match=r"the 5 coils look like images of different .* --axes 'y x frame slice'"):
        load(tmp_path / "k.mat")
    assert load(tmp_path / "k.mat", axes="y x slice frame").kspace.shape == (10, 1, 64, 60)


def test_cmrxrecon_is_known_by_its_names(tmp_path: Path) -> None:
    frames = np.stack([slices().transpose(1, 2, 0), 2 * slices().transpose(1, 2, 0)], -1)  # (y, x, slice, time)
    savemat(tmp_path / "single.mat", {"kspace_single_full": frames})
    volume = load(tmp_path / "single.mat")
    assert volume.kspace.shape == (10, 1, 64, 60)
    np.testing.assert_allclose(volume.kspace[6][0], 2 * slices()[1], rtol=1e-6)
    assert reading(volume).startswith("2 frames x 5 slices x 64 x 60, axes y x slice frame, from the name")
    np.testing.assert_array_equal(load(tmp_path / "single.mat", frames=[1]).kspace[1], volume.kspace[6])
    savemat(tmp_path / "multi.mat", {"kspace_sub04": COILS.transpose(1, 2, 0)[..., None, None].repeat(2, -1)})
    assert load(tmp_path / "multi.mat").kspace.shape == (2, 4, 64, 60)
    with pytest.raises(FileFormatError, match=r"no frame 2; it has 2, counted from 0"):
        load(tmp_path / "multi.mat", frames=[2])
    one_frame = np.stack([COILS.transpose(1, 2, 0)] * 3, -1)  # MATLAB dropped the axis of one frame
    savemat(tmp_path / "black_blood.mat", {"kspace_full": one_frame})
    assert load(tmp_path / "black_blood.mat").kspace.shape == (3, 4, 64, 60)
    np.testing.assert_allclose(load(tmp_path / "black_blood.mat").kspace[2], COILS, rtol=1e-6)
    savemat(tmp_path / "kus.mat", {"kus": one_frame[..., None].repeat(2, -1)})
    assert load(tmp_path / "kus.mat").kspace.shape == (6, 4, 64, 60)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.stack([COILS[0].real, COILS[0].imag], -1), r"x would have 2 samples; 2 could be real .*'y x complex'"),
        (COILS.transpose(1, 2, 0), r"in the usual order, slice y x, x would have 4 samples; .*--axes 'y x coil'"),
        (np.ones((200, 180, 32)), r"x would have 32 samples"),
        (np.ones((5, 90, 80, 8, 3)), r"expected axes .*--axes 'coil y x slice frame'"),
        (np.stack([COILS[0].real, COILS[0].imag]), r"negative values, .*real and imaginary parts \(--axes"),
    ],
)
def test_unlikely_orders_are_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(FileFormatError, match=message):
        load(tmp_path / "a.npy")


def test_real_and_imaginary_parts(tmp_path: Path) -> None:
    np.save(tmp_path / "last.npy", np.stack([COILS.real, COILS.imag], -1))
    np.save(tmp_path / "first.npy", np.stack([COILS.real, COILS.imag]).astype(np.float64))
    for name, axes in (("last", "coil y x complex"), ("first", "icyx")):
        volume = load(tmp_path / f"{name}.npy", axes=axes)
        np.testing.assert_allclose(np.asarray(volume.kspace[0]), COILS, rtol=1e-6)
    with pytest.raises(FileFormatError, match="real and imaginary part are 2 real numbers"):
        np.save(tmp_path / "k.npy", COILS)
        load(tmp_path / "k.npy", axes="i y x")


def test_spokes_are_told_from_a_grid() -> None:
    radial = spokes()
    assert looks_like_spokes(radial[None])
    assert looks_like_spokes(radial.T[None])
    assert looks_like_spokes(np.fft.ifftshift(radial, axes=1)[None])  # spirals and half spokes begin in the centre
    for data in (COILS, slices(), fft2c(np.ones((64, 64))), np.ones((64, 64)), np.eye(64)[None] + 0j):
        assert not looks_like_spokes(data)
    assert not looks_like_spokes(np.random.default_rng(0).standard_normal((1, 64, 64)))


def test_spokes_are_refused(tmp_path: Path) -> None:
    write_cfl(tmp_path / "radial", spokes().T[None])
    with pytest.raises(FileFormatError, match=r"radial\.cfl: .*look like spokes.*Cartesian.*--force goes on"):
        load(tmp_path / "radial")
    assert load(tmp_path / "radial", force=True).matrix_size == (32, 48)


def test_full_kspace_beside_a_mask_is_full(tmp_path: Path) -> None:
    mask = np.arange(60) % 3 == 0
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["kspace"], file["mask"] = COILS[None], mask
    volume = load(tmp_path / "k.h5")
    assert volume.mask is None
    np.testing.assert_array_equal(np.asarray(volume.kspace[0]), COILS)
    np.testing.assert_allclose(volume.target[0], np.linalg.norm(ifft2c(COILS), axis=0), rtol=1e-5)
    np.testing.assert_array_equal(volume.attrs["mask_beside"], mask)
    assert volume.attrs["warnings"] == [
        "k-space is full beside a mask that keeps 33 %: taken as fully sampled; --mask k.h5 applies that mask"
    ]
    with h5py.File(tmp_path / "ones.h5", "w") as file:
        file["kspace"], file["mask"] = COILS[None], np.ones(60, "f4")
    volume = load(tmp_path / "ones.h5")
    assert volume.mask is None
    assert volume.target is not None
    assert "warnings" not in volume.attrs


def test_a_mask_of_ones_beside_undersampled_data_says_nothing(tmp_path: Path) -> None:
    mask = np.arange(60) % 3 == 0
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["kspace"], file["mask"] = (COILS * mask)[None], np.ones(60)
    np.testing.assert_array_equal(load(tmp_path / "k.h5").mask, mask)


def test_elliptical_coverage_is_full(tmp_path: Path) -> None:
    y, x = np.mgrid[-1:1:64j, -1:1:60j]
    ellipse = x**2 + y**2 < 1
    assert is_coverage(ellipse)
    assert not is_coverage(ellipse & (np.random.default_rng(0).random((64, 60)) < 0.98))
    assert not is_coverage(np.roll(ellipse, 40, axis=1))
    np.save(tmp_path / "k.npy", COILS * ellipse)
    volume = load(tmp_path / "k.npy", axes="coil y x")
    assert volume.mask is None
    np.testing.assert_array_equal(volume.attrs["coverage"], ellipse)
    np.testing.assert_allclose(volume.target[0], np.linalg.norm(ifft2c(COILS * ellipse), axis=0), rtol=1e-5)
    for mask, beside in ((np.arange(60) % 3 == 0, True), (ellipse, False)):
        with h5py.File(tmp_path / "k.h5", "w") as file:
            file["kspace"], file["mask"] = (COILS * ellipse)[None], mask
        volume = load(tmp_path / "k.h5")
        assert volume.mask is None
        np.testing.assert_array_equal(volume.attrs["coverage"], ellipse)
        assert ("mask_beside" in volume.attrs) is beside


def test_nan_in_the_margin_is_named(tmp_path: Path) -> None:
    padded = COILS.copy()
    padded[:, :3] = padded[..., 50:] = np.nan
    np.save(tmp_path / "k.npy", padded)
    with pytest.raises(FileFormatError, match=r"in its margin only: all but rows 3 to 63 of 64 and columns 0 to 49 of"):
        load(tmp_path / "k.npy", axes="coil y x")


def test_phase_encoding_along_y(tmp_path: Path) -> None:
    rows = np.arange(64)[:, None] % 4 == 0
    np.save(tmp_path / "k.npy", COILS * rows)
    volume = load(tmp_path / "k.npy", axes="coil y x", phase_encoding="y")
    assert volume.matrix_size == (60, 64)
    np.testing.assert_array_equal(volume.mask, rows[:, 0])
    np.testing.assert_array_equal(volume.kspace[0], (COILS * rows).swapaxes(-2, -1))
    assert "coil x y" in reading(volume)
    with pytest.raises(FileFormatError, match="--phase-encoding PHS1; it is x or y"):
        load(tmp_path / "k.npy", axes="coil y x", phase_encoding="PHS1")


def test_frames_sampled_differently_become_one_acquisition_each(tmp_path: Path) -> None:
    masks = np.stack([np.arange(60) % 4 == first for first in range(3)])
    masks[:, 28:32] = True
    frames = np.stack([COILS * mask for mask in masks])
    with h5py.File(tmp_path / "prostate.h5", "w") as file:
        file["kspace"] = frames[:, None]  # (averages, slices, coils, ny, nx)
    write_cfl(tmp_path / "cine", frames.transpose(3, 2, 1, 0)[:, :, None, :, None, None, None, None, None, None])
    for path in (tmp_path / "prostate.h5", tmp_path / "cine"):
        with pytest.raises(
            FileFormatError, match="frame 1 was sampled elsewhere than frame 0; choose one with --frames"
        ):
            load(path)
        acquisitions = load_frames(path)
        assert [a.attrs["frame"] for a in acquisitions] == [0, 1, 2]
        for acquisition, mask, frame in zip(acquisitions, masks, frames, strict=True):
            np.testing.assert_array_equal(acquisition.mask, mask)
            np.testing.assert_array_equal(acquisition.kspace[0], frame)
        (chosen,) = load_frames(path, frames=[2])
        np.testing.assert_array_equal(chosen.kspace[0], frames[2])
    write_cfl(tmp_path / "same", COILS.transpose(2, 1, 0)[:, :, None])
    assert len(load_frames(tmp_path / "same")) == 1


def test_bart_frames_and_slices_together(tmp_path: Path) -> None:
    data = np.stack(
        [np.stack([(10 * f + s + 1) * COILS[0] for s in range(2)]) for f in range(3)]
    )  # (frame, slice, y, x)
    stored = np.zeros((60, 64, *[1] * 8, 3, 1, 1, 2), np.complex64)
    stored[:, :, 0, 0, 0, 0, 0, 0, 0, 0, :, 0, 0, :] = data.transpose(3, 2, 0, 1)
    write_cfl(tmp_path / "x", stored)
    volume = load(tmp_path / "x")
    assert volume.kspace.shape == (6, 1, 64, 60)
    np.testing.assert_array_equal(np.asarray(volume.kspace)[:, 0], data.reshape(6, 64, 60))
    assert volume.attrs["loop_dims"] == [(10, 3), (13, 2)]
    assert reading(volume).startswith("3 frames x 2 slices x 64 x 60, axes x (READ) y (PHS1) frame (TIME) slice")
    chosen = load(tmp_path / "x", frames=[2])
    np.testing.assert_array_equal(np.asarray(chosen.kspace)[:, 0], data[2])
    assert chosen.attrs["loop_dims"] == [(10, 1), (13, 2)]


@pytest.mark.parametrize(("word", "x"), [("PHS1", 1), ("1", 1), ("y", 1), ("READ", 0), ("x", 0)])
def test_phase_encoding_of_bart_files(tmp_path: Path, word: str, x: int) -> None:
    write_cfl(tmp_path / "k", COILS.transpose(2, 1, 0)[:, :, None])
    volume = load(tmp_path / "k", phase_encoding=word)
    assert volume.attrs["image_dims"] == (1 - x, x)
    expected = COILS if x == 0 else COILS.swapaxes(-2, -1)
    np.testing.assert_array_equal(volume.kspace[0], expected)
    assert f"phase encoding {['READ', 'PHS1'][x]}" in reading(volume)
    with pytest.raises(FileFormatError, match="--phase-encoding PHS2; the image plane is READ or PHS1"):
        load(tmp_path / "k", phase_encoding="PHS2")


def test_axes_of_bart_files_by_name(tmp_path: Path) -> None:
    write_cfl(tmp_path / "k", COILS)
    volume = load(tmp_path / "k", axes="coil y x")
    np.testing.assert_array_equal(volume.kspace[0], COILS)
    with pytest.raises(FileFormatError, match="name 2 of them only"):
        load(tmp_path / "k", axes="y x")


def test_siemens_raw_data_name_their_converters(tmp_path: Path) -> None:
    (tmp_path / "meas.dat").write_bytes(bytes(1000))
    with pytest.raises(FileFormatError, match="siemens_to_ismrmrd, or with `bart twixread"):
        load(tmp_path / "meas.dat")
