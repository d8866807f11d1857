"""Slices that are zero everywhere, as volumes have them at their ends: left out, once with a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from csmri_ext.bridge import write_cfl
from csmri_ext.bridge.file_errors import EmptySliceError
from csmri_ext.bridge.fourier import fft2c
from csmri_ext.data import Images, ImageVolume, Masks, UndersampledImages, evenly_spaced, open_images
from csmri_ext.data.images import first_filled
from csmri_ext.data.scans import HeldBackSamples, open_scans
from csmri_ext.phantom import coil_maps, phantom_volume
from csmri_ext.physics import make_mask

SIZE = 40
NOTE = "slice 1 (counted from 0) is zero everywhere: left out"


def write(path: Path, acceleration: float = 1, coils: int = 4) -> Path:
    """Three slices, the second one empty."""
    images = phantom_volume(3, SIZE, 0, processed=False, noise=0.002)
    images[1] = 0
    kspace = fft2c(coil_maps(SIZE, coils, 0) * images[:, None])
    if acceleration > 1:
        kspace = kspace * make_mask("equispaced", (SIZE, SIZE), acceleration, 0.3, seed=0).numpy()
    bart = np.zeros((SIZE, SIZE, 1, coils, *9 * (1,), 3), np.complex64)
    bart[:, :, 0, :].reshape(SIZE, SIZE, coils, 3)[:] = kspace.transpose(3, 2, 1, 0)
    write_cfl(path, bart)
    return path


def test_the_next_slice_takes_the_place() -> None:
    values = [0, 0, 3, 4, 0, 6, 0, 0]
    images = Images([ImageVolume("a", len(values), lambda i: np.full((4, 4), values[i], np.complex64))])
    assert first_filled(images, range(8))[0] == 2
    assert [image[0, 0].real for image in evenly_spaced(images, 4)] == [3, 6]
    assert [image[0, 0].real for image in evenly_spaced(images, 8)] == [3, 4, 6]
    with pytest.raises(EmptySliceError, match="slice 7 "):
        first_filled(images, [7, 6, 7])
    with pytest.raises(EmptySliceError):
        evenly_spaced(Images([ImageVolume("a", 2, lambda i: np.zeros((4, 4), np.complex64))]), 2)


def test_coil_images_are_learnt_from_without_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = open_images([write(tmp_path / "full.cfl")], coils=True)
    for batch_size in (1, 3):
        samples = UndersampledImages(images, Masks(accelerations=(2.0,)), size=32, length=12, batch_size=batch_size)
        assert all(sample.target.abs().amax() > 0.3 for sample in samples)
    assert len(evenly_spaced(images, 3)) == 2
    assert capsys.readouterr().err.replace("\n", " ").count(NOTE) == 1


def test_scans_are_learnt_from_without_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scans = open_scans([write(tmp_path / "under.cfl", 2)])
    for batch_size in (1, 3):
        samples = HeldBackSamples(scans, Masks(), length=12, batch_size=batch_size)  # type: ignore[arg-type]
        assert all(sample.kspace.any() for sample in samples)
    assert len(evenly_spaced(scans, 3)) == 2
    assert capsys.readouterr().err.replace("\n", " ").count(NOTE) == 1
