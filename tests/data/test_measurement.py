from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from csmri_ext.data import Augmentation, Masks, Measurement, Sample, UndersampledImages, stacked
from csmri_ext.phantom import phantom_volume
from csmri_ext.physics import Encoding, fft2c, ifft2c, make_mask, rss

IMAGES = list(phantom_volume(2, (72, 64), 4, noise=0.002, processed=False))
IMAGE = IMAGES[0] / np.abs(IMAGES[0]).max()
MASK = make_mask("equispaced", IMAGE.shape, 4, seed=0).expand(IMAGE.shape)
CLEAN = Measurement(coils=(6,), true_maps=1.0)


def measured(settings: Measurement, n_coils: int = 6, seed: int = 0, rows: int | None = None) -> Sample:
    return settings(IMAGE, MASK, n_coils, np.random.default_rng(seed), rows)


def maps_of(sample: Sample) -> Tensor:
    assert sample.sens_maps is not None
    return sample.sens_maps


def test_with_true_maps_the_data_are_those_of_the_encoding_operator() -> None:
    sample = measured(CLEAN)
    assert sample.kspace.shape == maps_of(sample).shape == (6, *IMAGE.shape)
    torch.testing.assert_close(sample.target, torch.from_numpy(IMAGE), rtol=0, atol=1e-5)
    expected = Encoding(None, MASK, maps_of(sample)).forward(sample.target)
    torch.testing.assert_close(sample.kspace, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cropped", [True, False])
def test_estimated_maps_come_from_the_undersampled_data_and_define_the_target(cropped: bool) -> None:
    from csmri_ext.physics import estimate_sens_maps

    settings = replace(CLEAN, true_maps=0.0, cropped_maps=float(cropped))
    true, sample = measured(CLEAN), measured(settings)
    assert bool((maps_of(sample).abs().sum(0) == 0).any()) == cropped
    torch.testing.assert_close(sample.kspace, true.kspace, rtol=0, atol=0)
    torch.testing.assert_close(maps_of(sample), estimate_sens_maps(true.kspace, MASK, cropped=cropped))
    assert not torch.allclose(maps_of(sample), maps_of(true), atol=0.02)
    coil_images = maps_of(true) * true.target
    torch.testing.assert_close(sample.target, (maps_of(sample).conj() * coil_images).sum(0))


def test_the_other_target_is_the_root_sum_of_squares_with_a_phase() -> None:
    combined, sample = (measured(replace(CLEAN, true_maps=0.0, target=target)) for target in ("combined", "rss"))
    lit = combined.target.abs() > 0
    torch.testing.assert_close(sample.target.abs()[lit], torch.from_numpy(np.abs(IMAGE))[lit], rtol=0, atol=1e-5)
    torch.testing.assert_close(sample.target.sgn()[lit], combined.target.sgn()[lit], rtol=0, atol=1e-4)


def test_a_centre_too_small_for_an_estimate_gives_the_true_maps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("csmri_ext.progress._told", set())
    narrow = make_mask("equispaced", IMAGE.shape, 4, 0.02, seed=0).expand(IMAGE.shape)
    for seed in range(3):
        sample = replace(CLEAN, true_maps=0.0)(IMAGE, narrow, 6, np.random.default_rng(seed))
        torch.testing.assert_close(sample.target, torch.from_numpy(IMAGE), rtol=0, atol=1e-5)
    assert capsys.readouterr().err.count("the true ones serve: the fully sampled centre of k-space") == 1


def test_noise_is_on_the_samples_alone_and_as_strong_as_said() -> None:
    clean, noisy = measured(CLEAN), measured(replace(CLEAN, noise=(0.02, 0.02)))
    torch.testing.assert_close(noisy.target, clean.target, rtol=0, atol=0)
    difference = torch.view_as_real(noisy.kspace - clean.kspace)
    assert not difference[:, ~MASK].any()
    assert difference[:, MASK].std().item() == pytest.approx(0.02, rel=0.05)
    first, second = difference[0, MASK].flatten(), difference[1, MASK].flatten()
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.1  # each coil has its own


def test_phase_changes_no_magnitude() -> None:
    plain = measured(Measurement(), 1)
    constancy = []
    for seed in range(6):
        sample = measured(Measurement(phase=1.0), 1, seed)
        torch.testing.assert_close(sample.target.abs(), plain.target.abs(), rtol=0, atol=1e-5)
        turn = (sample.target * plain.target.conj())[plain.target.abs() > 0.1].sgn()
        constancy.append(float(turn.mean().abs()))
    assert min(constancy) < 0.7  # some are strong,
    assert max(constancy) < 0.995  # and none is a constant


def test_a_shifted_echo_moves_the_strongest_sample() -> None:
    flat = np.ones((40, 48), np.complex64)
    full = torch.ones(flat.shape, dtype=torch.bool)
    peaks = []
    for seed in range(12):
        kspace = Measurement(echo_shift=6)(flat, full, 1, np.random.default_rng(seed)).kspace
        y, x = divmod(int(kspace.abs().argmax()), 48)
        peaks.append((y - 20, x - 24))
    assert (0, 0) in peaks  # half of them stay
    assert any(y != 0 for y, _ in peaks)
    assert any(x != 0 for _, x in peaks)
    assert max(abs(n) for peak in peaks for n in peak) <= 6


@pytest.mark.parametrize("n_coils", [1, 6])
def test_a_strip_is_a_problem_of_its_own(n_coils: int) -> None:
    """Cut from the whole problem: its zero-filled image is that of the whole, row by row."""
    settings = Measurement(coils=(n_coils,), true_maps=0.0)
    whole, strip = (measured(settings, n_coils, rows=rows) for rows in (None, 24))
    images = ifft2c(whole.kspace)
    places = [
        i for i in range(72 - 24 + 1) if torch.allclose(ifft2c(strip.kspace), images[..., i : i + 24, :], atol=1e-5)
    ]
    (first,) = places
    kept = slice(first, first + 24)
    torch.testing.assert_close(strip.target, whole.target[kept])
    torch.testing.assert_close(strip.kspace, strip.kspace * strip.mask, rtol=0, atol=0)
    if n_coils > 1:
        torch.testing.assert_close(maps_of(strip), maps_of(whole)[:, kept], rtol=0, atol=0)


def test_strips_are_for_masks_of_columns_only() -> None:
    made = UndersampledImages(
        IMAGES, Masks(("random", "radial_golden"), (4.0,)), size=32, strip=16, length=30, measurement=CLEAN
    )
    shapes = {bool((sample.mask == sample.mask[:1]).all()): tuple(sample.target.shape) for sample in made}
    assert shapes == {True: (16, 64), False: (32, 32)}


def test_a_batch_has_one_shape_and_one_number_of_coils() -> None:
    """Images of any size, one coil or several, simulated coils mixed: what a batch stacks always fits."""
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> np.ndarray:
        return rng.standard_normal((*shape, 2)).astype(np.float32).view(np.complex64)[..., 0]

    images = [noise(40, 36), noise(5, 30, 44), noise(64, 20), noise(3, 30, 30), noise(5, 26, 40)]
    made = UndersampledImages(
        images,
        Masks(("equispaced", "radial_golden"), (4.0,)),
        augmentation=Augmentation((0.7, 1.0), mirror=True),
        measurement=Measurement(coils=(1, 4)),
        strip=12,
        length=36,
        batch_size=3,
    )
    batches = [stacked([made[i] for i in range(first, first + 3)]) for first in range(0, 36, 3)]
    coils = {1 if batch.sens_maps is None else batch.kspace.shape[1] for batch in batches}
    assert coils == {1, 3, 4, 5}
    assert len({tuple(batch.target.shape) for batch in batches}) > 5


def test_measured_coil_images_keep_their_coils() -> None:
    coil_images = maps_of(measured(CLEAN)).numpy() * IMAGE
    (sample,) = UndersampledImages([coil_images], Masks(("equispaced",), (4.0,)), measurement=Measurement())
    torch.testing.assert_close(sample.kspace, fft2c(torch.from_numpy(coil_images)) * sample.mask)
    expected = rss(torch.from_numpy(coil_images))
    lit = expected > 0.2
    torch.testing.assert_close(sample.target.abs()[lit], expected[lit], rtol=0.05, atol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"coils": (0,)}, "coils 0: expected"),
        ({"noise": (0.02, 0.01)}, "noise 0.02 to 0.01"),
        ({"echo_shift": -1}, "echo shift -1"),
        ({"phase": 2}, "phase 2"),
        ({"target": "image"}, "target is 'image', expected combined or rss"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Measurement(**settings)  # type: ignore[arg-type]
