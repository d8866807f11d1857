"""Which lines of raw data make the image, and that nothing is left out or merged in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_raw import NX, NY, images, ismrmrd, oversampled, write_raw

from csmri_ext.bridge import FileFormatError, load, reading
from csmri_ext.bridge.fourier import ifft2c

CENTER = range(NX // 2 - 6, NX // 2 + 6)
SEPARATE = "<parallelImaging><calibrationMode>separate</calibrationMode></parallelImaging>"


def assert_image(path: Path, expected: np.ndarray, **options: object) -> list[str]:
    """Check the image, and return what was said of it."""
    volume = load(path, **options)
    np.testing.assert_allclose(ifft2c(volume.kspace[0]), expected, atol=3e-5)
    return volume.attrs.get("warnings", [])


def test_repeated_lines_that_are_alike_are_averaged_and_said(tmp_path: Path) -> None:
    kspace = oversampled(images())
    write_raw(tmp_path / "r.h5", 0.9 * kspace)
    path = write_raw(tmp_path / "r.h5", 1.1 * kspace, append=True, segment=1)
    (said,) = assert_image(path, images()[0])
    assert said == (
        "40 lines were measured more than once under the same counters, and differ in segment: they are averaged"
    )


def test_calibration_lines_without_their_flag_are_refused(tmp_path: Path) -> None:
    kspace, other = oversampled(images()), oversampled(images(2))[1:]
    path = write_raw(tmp_path / "c.h5", kspace, extra=SEPARATE)
    write_raw(path, 3 * other, append=True, steps=CENTER)
    with pytest.raises(FileFormatError, match=r"12 lines were measured more than once .* not alike, as of line 20 of"):
        load(path)
    said = load(path, force=True).attrs["warnings"]
    assert "calibration lines are separate, and none is marked as such" in said[0]
    assert said[1] == "12 lines were measured more than once under the same counters: they are averaged"


def test_separate_calibration_lines_and_navigators_are_left_out_and_counted(tmp_path: Path) -> None:
    kspace, other = oversampled(images()), oversampled(images(2))[1:]
    path = write_raw(tmp_path / "c.h5", kspace, extra=SEPARATE, noise=np.random.default_rng(0).normal(size=(3, 900)))
    write_raw(path, other, append=True, steps=CENTER, flags=(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,))
    write_raw(path, other, append=True, steps=[20, 20], flags=(ismrmrd.ACQ_IS_NAVIGATION_DATA,))
    volume = load(path)
    assert "warnings" not in volume.attrs
    assert reading(volume).endswith("noise pre-whitened, left out: 1 noise, 12 separate calibration, 2 navigator")


def test_a_second_encoding_is_left_out_with_a_word(tmp_path: Path) -> None:
    kspace, other = oversampled(images()), oversampled(images(2))[1:]
    path = write_raw(tmp_path / "two.h5", kspace)
    write_raw(path, other, append=True, steps=CENTER, space=1)
    (said,) = assert_image(path, images()[0])
    assert said.startswith("12 lines of encoding 1 are left out")
    assert "left out: 12 of encoding 1" in reading(load(path))
    path = write_raw(tmp_path / "none.h5", kspace, space=1, steps=[20])
    with pytest.raises(FileFormatError, match=r"1 acquisitions, none of them a line of an image \(1 of encoding 1\)"):
        load(path)


def test_lines_shorter_than_the_header_says(tmp_path: Path) -> None:
    kspace = oversampled(images())[:, :, NY // 2 : -NY // 2]
    said = load(write_raw(tmp_path / "short.h5", kspace)).attrs["warnings"]
    assert said == [f"lines have {NY} samples about their echo, the header says {2 * NY}: filled with zeros"]


def test_noise_of_other_coils_and_compressed_lines_are_said(tmp_path: Path) -> None:
    kspace = oversampled(images())
    path = write_raw(tmp_path / "n.h5", kspace, noise=np.random.default_rng(0).normal(size=(2, 900)))
    (said,) = assert_image(path, images()[0])
    assert said == "the noise scan has 2 coils, the image 3: noise is not pre-whitened"
    path = write_raw(tmp_path / "z.h5", kspace, steps=[20], flags=(ismrmrd.ACQ_COMPRESSION1,))
    with pytest.raises(FileFormatError, match="its samples are compressed"):
        load(path)


def test_a_larger_reconstructed_matrix_is_filled_with_zeros(tmp_path: Path) -> None:
    kspace = oversampled(images())
    path = write_raw(tmp_path / "big.h5", kspace, recon=(96, 80))
    volume = load(path)
    assert volume.kspace.shape[-2:] == (96, 80)
    np.testing.assert_allclose(volume.kspace[0][:, 24:72, 20:60], load(write_raw(tmp_path / "s.h5", kspace)).kspace[0])
    assert volume.attrs["warnings"] == ["k-space of 48 x 40 is filled with zeros to the 96 x 80 that the file asks for"]
    volume = load(write_raw(tmp_path / "wide.h5", kspace, recon=(48, 80)))
    assert volume.kspace.shape[-2:] == (48, 40)
    assert volume.attrs["warnings"] == [
        "the header asks for images of 48 x 80; k-space has 48 x 40, which is not filled"
    ]
