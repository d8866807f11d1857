from __future__ import annotations

import numpy as np
import pytest
import torch

from csmri_ext.data import Augmentation, Masks, UndersampledImages
from csmri_ext.data.transforms import center_section, lower_resolution, section
from csmri_ext.phantom import phantom_volume
from csmri_ext.physics import fft2c, ifft2c

IMAGES = list(phantom_volume(3, (40, 36), 2))


def test_a_test_set_has_every_image_once_and_masks_that_stay() -> None:
    masks = Masks(("random", "radial_golden"), (4.0,))
    first, second = (UndersampledImages(IMAGES, masks, epoch=epoch) for epoch in (0, 1))
    assert len(first) == 3
    for image, a, b in zip(IMAGES, first, second, strict=True):
        assert a.kspace.dtype == a.target.dtype == torch.complex64
        assert a.mask.dtype == torch.bool
        assert a.mask.shape == a.kspace.shape == image.shape
        torch.testing.assert_close(a.target, torch.from_numpy(image / np.abs(image).max()))
        torch.testing.assert_close(a.kspace, fft2c(a.target) * a.mask)
        torch.testing.assert_close(a.kspace, b.kspace, rtol=0, atol=0)
    assert (first[0].mask == first[0].mask[0]).all()  # columns, then spokes
    assert not (first[1].mask == first[1].mask[0]).all()


def test_a_training_set_depends_on_seed_epoch_and_index_alone() -> None:
    def samples(seed: int, epoch: int) -> list[torch.Tensor]:
        change = Augmentation((0.6, 1.0), mirror=True, magnitude=0.5)
        made = UndersampledImages(IMAGES, Masks(), size=24, augmentation=change, length=6, seed=seed, epoch=epoch)
        return [sample.kspace for sample in made]

    again = samples(1, 0)
    assert all(kspace.shape == (24, 24) for kspace in again)
    for a, b in zip(again, samples(1, 0), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    for other in (samples(2, 0), samples(1, 1)):
        assert not any(torch.equal(a, b) for a, b in zip(again, other, strict=True))


def test_accelerations_and_kinds_are_mixed() -> None:
    made = UndersampledImages(IMAGES, Masks(("random", "radial_golden"), (2.0, 8.0)), size=32, length=60)
    kinds = [bool((sample.mask == sample.mask[0]).all()) for sample in made]
    rates = [sample.mask.float().mean().item() for sample in made]
    assert 15 < sum(kinds) < 45
    assert 15 < sum(rate > 0.3 for rate in rates) < 45


def test_magnitudes_have_no_phase() -> None:
    (sample, *_) = UndersampledImages(IMAGES, Masks(), augmentation=Augmentation(magnitude=1.0))
    assert not sample.target.imag.any()
    assert (sample.target.real >= 0).all()


def test_lower_resolution_keeps_the_centre_of_kspace() -> None:
    image = IMAGES[0]
    small = lower_resolution(image, 0.5)
    assert small.shape == (20, 18)
    full, part = fft2c(torch.from_numpy(image)), fft2c(torch.from_numpy(small))
    torch.testing.assert_close(part * 2, full[10:30, 9:27], rtol=1e-5, atol=1e-5)
    assert lower_resolution(image, 1.0) is image
    flat = np.ones((30, 30), np.complex64)
    np.testing.assert_allclose(lower_resolution(flat, 0.6), 1, atol=1e-6)


@pytest.mark.parametrize("size", [10, 36, 50])
def test_a_section_is_a_part_or_lies_amid_zeros(size: int) -> None:
    image = IMAGES[0]
    cut = section(image, size, np.random.default_rng(0))
    assert cut.shape == (size, size)
    if size > 40:
        assert np.isclose(np.abs(cut).sum(), np.abs(image).sum())
    else:
        windows = np.lib.stride_tricks.sliding_window_view(image, (min(size, 40), min(size, 36)))
        assert (windows == cut[: min(size, 40), : min(size, 36)]).all((-2, -1)).any()


def test_the_centre_is_cut_out_or_lies_amid_zeros() -> None:
    image = np.arange(48, dtype=np.complex64).reshape(6, 8)
    np.testing.assert_array_equal(center_section(image, 4), image[1:5, 2:6])
    padded = center_section(image, 10)
    np.testing.assert_array_equal(padded[2:8, 1:9], image)
    assert np.count_nonzero(padded) == np.count_nonzero(image)
    np.testing.assert_array_equal(
        center_section(image, 7)[0:6, :], image[:, 0:7]
    )  # cut along one axis, padded along the other


def test_a_section_avoids_air() -> None:
    image = np.zeros((100, 100), np.complex64)
    image[40:60, 40:60] = 1
    rng = np.random.default_rng(0)
    filled = [np.abs(section(image, 30, rng)).mean() > 0 for _ in range(40)]
    assert np.mean(filled) > 0.9  # two thirds of all places would do at random


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Masks(("spiral",)), "masks spiral at 4, 8: expected kinds among random"),
        (lambda: Masks(accelerations=(0.5,)), "accelerations of at least 1"),
        (lambda: Augmentation((0.0, 1.0)), "resolution 0 to 1"),
        (lambda: Augmentation(magnitude=2), "magnitude 2"),
        (lambda: UndersampledImages([], Masks()), "without images"),
    ],
)
def test_bad_settings(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_what_was_measured_is_what_an_image_has() -> None:
    (sample, *_) = UndersampledImages(IMAGES, Masks(accelerations=(1.0,)))
    torch.testing.assert_close(ifft2c(sample.kspace), sample.target, rtol=0, atol=1e-6)
