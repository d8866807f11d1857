from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from made_raw import COILS, NX, NY, images, ismrmrd, oversampled, write_raw

from csmri_ext.bridge import FileFormatError, load, load_frames, reading
from csmri_ext.bridge.fourier import fft2c, ifft2c


def test_lines_become_kspace_without_oversampling(tmp_path: Path) -> None:
    expected = images(2)
    volume = load(write_raw(tmp_path / "raw.h5", oversampled(expected)))
    assert volume.kspace.shape == (2, COILS, NY, NX)
    assert volume.mask is None
    np.testing.assert_allclose(ifft2c(np.asarray(volume.kspace)), expected, atol=2e-5)
    np.testing.assert_allclose(np.asarray(volume.target), np.linalg.norm(expected, axis=1), atol=2e-5)
    assert "readout oversampling removed" in reading(volume)
    assert "warnings" not in volume.attrs
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).kspace[1], volume.kspace[1])


def test_partial_fourier_and_undersampling_are_placed(tmp_path: Path) -> None:
    kspace = oversampled(images())
    lines = range(10, NX)  # the first lines were not measured: their counter starts at 0
    path = write_raw(tmp_path / "pf.h5", kspace[..., 10:], steps=range(NX - 10), center=NX // 2 - 10, maximum=29)
    volume = load(path)
    expected = fft2c(images()[0])
    expected[..., :10] = 0
    np.testing.assert_allclose(volume.kspace[0], expected, atol=2e-5)
    assert volume.kspace[0][..., lines].any()
    mask = np.arange(NX) % 3 == 0
    volume = load(write_raw(tmp_path / "under.h5", kspace, steps=np.flatnonzero(mask)))
    np.testing.assert_array_equal(volume.mask, mask)


def test_partial_echoes_lie_where_their_centre_says(tmp_path: Path) -> None:
    path = tmp_path / "echo.h5"
    kspace = oversampled(images())
    write_raw(path, kspace[:, :, :1], steps=[])
    dataset = ismrmrd.Dataset(os.fspath(path), "dataset", mode="a")
    for step in range(NX):
        samples = np.ascontiguousarray(kspace[0, :, 20:, step])
        turned = step % 2 == 1
        acquisition = ismrmrd.Acquisition.from_array(np.ascontiguousarray(samples[:, ::-1]) if turned else samples)
        n = samples.shape[1]
        acquisition.center_sample = n - 1 - (NY - 20) if turned else NY - 20
        if turned:
            acquisition.set_flag(ismrmrd.ACQ_IS_REVERSE)
        acquisition.idx.kspace_encode_step_1 = step
        dataset.append_acquisition(acquisition)
    dataset.close()
    kspace[:, :, :20] = 0
    expected = ifft2c(kspace)[0, :, NY // 2 : NY // 2 + NY]
    np.testing.assert_allclose(ifft2c(load(path).kspace[0]), expected, atol=2e-5)


def test_averages_are_averaged(tmp_path: Path) -> None:
    kspace = oversampled(images())
    write_raw(tmp_path / "a.h5", 0.5 * kspace)
    volume = load(write_raw(tmp_path / "a.h5", 1.5 * kspace, append=True, average=1))
    np.testing.assert_allclose(ifft2c(volume.kspace[0]), images()[0], atol=2e-5)
    assert reading(volume).endswith("readout oversampling removed, mean of 2 averages")
    assert "warnings" not in volume.attrs


def test_repetitions_are_frames(tmp_path: Path) -> None:
    kspace = oversampled(images())
    path = write_raw(tmp_path / "r.h5", kspace)
    write_raw(path, 2 * kspace, append=True, repetition=1)
    assert load(path).kspace.shape == (2, COILS, NY, NX)
    np.testing.assert_allclose(ifft2c(load(path, frames=[1]).kspace[0]), 2 * images()[0], atol=4e-5)
    write_raw(path, kspace, append=True, repetition=2, steps=range(0, NX, 2))
    with pytest.raises(FileFormatError, match="frame 2 was sampled elsewhere"):
        load(path)
    assert [frame.mask is None for frame in load_frames(path)] == [True, True, False]


def test_noise_is_whitened_at_its_mean_strength(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mixing = np.diag([1, 2, 3]) + 0.5 * rng.standard_normal((3, 3))

    def draw(n: int) -> np.ndarray:
        return mixing @ (rng.standard_normal((3, n)) + 1j * rng.standard_normal((3, n)))

    noise = draw(20_000)
    kspace = draw(2 * NY * NX).reshape(3, 2 * NY, NX)
    volume = load(write_raw(tmp_path / "n.h5", kspace[None].astype(np.complex64), noise=noise))
    values = volume.kspace[0].reshape(3, -1)
    covariance = values @ values.conj().T / values.shape[1]
    wanted = np.trace(noise @ noise.conj().T).real / noise.shape[1] / 3
    np.testing.assert_allclose(covariance, wanted * np.eye(3), atol=0.1 * wanted)
    assert "noise pre-whitened" in reading(volume)


def test_limits_that_were_never_filled_in_are_said(tmp_path: Path) -> None:
    volume = load(write_raw(tmp_path / "raw.h5", oversampled(images()), center=0, maximum=0))
    np.testing.assert_allclose(ifft2c(volume.kspace[0]), images()[0], atol=2e-5)
    assert "it is wrong, and line 0 is taken as column 0 of 40" in volume.attrs["warnings"][0]


def test_what_is_no_cartesian_2d_scan(tmp_path: Path) -> None:
    kspace = oversampled(images())
    with pytest.raises(FileFormatError, match=r"the trajectory is radial, .*--force goes on"):
        load(write_raw(tmp_path / "radial.h5", kspace, trajectory="radial"))
    write_raw(tmp_path / "3d.h5", kspace)
    with pytest.raises(FileFormatError, match="a 3-D encoding"):
        load(write_raw(tmp_path / "3d.h5", kspace, append=True, kspace_encode_step_2=1))
    with pytest.raises(FileFormatError, match="1 acquisitions, none of them a line of an image"):
        load(write_raw(tmp_path / "noise.h5", kspace, noise=np.ones((3, 8)), steps=[]))
