from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from csmri_ext.bridge import ecalib, load
from csmri_ext.physics import (
    cg_sense,
    estimate_maps_and_object,
    estimate_sens_maps,
    fft2c,
    ifft2c,
    kspace_residual,
    make_mask,
    rss,
)
from csmri_ext.physics.calibration.center import region_around, smooth_images
from csmri_ext.physics.calibration.smooth import _local_eigenvectors

METHODS = ["espirit", "low_resolution", "adaptive"]


class Scan(NamedTuple):
    """A made-up head in an array of coils around it: the true maps are known."""

    image: Tensor
    inside: Tensor
    sens_maps: Tensor
    kspace: Tensor


def scan(ny: int = 160, nx: int = 160, n_coils: int = 8, noise: float = 0.1) -> Scan:
    y = torch.linspace(-1, 1, ny, dtype=torch.float64)[:, None]
    x = torch.linspace(-1, 1, nx, dtype=torch.float64)[None]
    inside = (x / 0.7) ** 2 + (y / 0.85) ** 2 < 1
    image = 0.6 + 0.3 * ((x - 0.2) ** 2 + (y + 0.2) ** 2 < 0.04) - 0.4 * ((x + 0.25) ** 2 + (y - 0.3) ** 2 < 0.03)
    image = inside * (image + 0.05 * torch.sin(20 * x) * torch.cos(17 * y)) * torch.exp(1j * (0.8 * x + 0.5 * y**2))
    angles = [2 * math.pi * coil / n_coils for coil in range(n_coils)]
    maps = torch.stack(
        [
            torch.exp(-((x - 1.2 * math.cos(a)) ** 2 + (y - 1.2 * math.sin(a)) ** 2) / 1.2)
            * torch.exp(1j * (a + 0.7 * x * math.cos(a) + 0.7 * y * math.sin(a)))
            for a in angles
        ]
    )
    maps = maps / rss(maps)
    kspace = fft2c(maps * image)
    sigma = noise * kspace.abs().square().mean().sqrt()
    kspace = kspace + sigma * torch.randn(kspace.shape, dtype=kspace.dtype, generator=torch.Generator().manual_seed(0))
    return Scan(image, inside, maps, kspace)


def angle(first: Tensor, second: Tensor) -> Tensor:
    """Sine of the angle between the coil vectors of two sets of maps, per pixel; blind to a phase they share."""
    cosine = (first.conj() * second).sum(-3).abs() / (rss(first) * rss(second))
    return (1 - cosine.square()).clamp_min(0).sqrt()


def rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(160, 160), (161, 120), (90, 203)])
@pytest.mark.parametrize("kind", ["equispaced_fraction", "poisson"])
def test_maps_are_close_to_the_truth(method: str, size: tuple[int, int], kind: str) -> None:
    truth = scan(*size)
    mask = make_mask(kind, size, 4, 24 / min(size) if kind == "poisson" else 24 / size[1], seed=0)
    maps = estimate_sens_maps(truth.kspace * mask, mask, method)
    error = angle(truth.sens_maps, maps)[truth.inside]
    assert rms(error) < 0.025
    assert float(error.quantile(0.99)) < 0.07


def test_adaptive_stands_more_noise() -> None:
    truth = scan(noise=1.0)
    errors = {method: rms(angle(truth.sens_maps, estimate_sens_maps(truth.kspace, None, method))) for method in METHODS}
    assert errors["adaptive"] < errors["low_resolution"]


@pytest.mark.parametrize("method", METHODS)
def test_unit_norm_shape_and_type(method: str) -> None:
    truth = scan(50, 41, 5)
    maps = estimate_sens_maps(truth.kspace.to(torch.complex64), None, method)
    assert maps.shape == (5, 50, 41)
    assert maps.dtype == torch.complex64
    inside = scan(50, 41).inside
    assert torch.allclose(rss(maps)[inside], torch.ones(50, 41)[inside])
    if method == "espirit":
        assert not rss(maps)[:3, :3].any()  # a corner: air
        assert ((rss(maps) - 1).abs().minimum(rss(maps)) < 1e-5).all()
    else:
        assert torch.allclose(rss(maps), torch.ones(50, 41))


def test_maps_that_are_not_cropped_are_the_same_and_reach_into_air() -> None:
    measured = scan()
    cropped = estimate_sens_maps(measured.kspace)
    whole = estimate_sens_maps(measured.kspace, cropped=False)
    kept = rss(cropped) > 0
    assert not kept.all()
    assert torch.equal(whole[:, kept], cropped[:, kept])
    both = estimate_maps_and_object(measured.kspace)
    assert torch.equal(both.sens_maps, whole) and torch.equal(both.is_object, kept)
    torch.testing.assert_close(rss(whole), torch.ones_like(rss(whole)))
    for method in ("low_resolution", "adaptive"):
        maps = (estimate_sens_maps(measured.kspace, method=method, cropped=choice) for choice in (True, False))
        torch.testing.assert_close(*maps, rtol=0, atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_image_phase_is_smooth(method: str) -> None:
    truth = scan(noise=0)
    combined = (estimate_sens_maps(truth.kspace, None, method).conj() * ifft2c(truth.kspace)).sum(0)
    for axis in (0, 1):
        step = torch.angle(combined * combined.roll(1, axis).conj())
        assert step[truth.inside & truth.inside.roll(1, axis)].abs().max() < 0.1
    # and it is the phase that the principal combination of the coils sees
    images = ifft2c(truth.kspace).flatten(1)
    principal = torch.linalg.svd(images, full_matrices=False).U[:, 0]
    virtual = torch.einsum("c,cyx->yx", principal.conj(), ifft2c(truth.kspace))
    relative = torch.angle(combined * virtual.conj())[truth.inside]
    assert (relative - relative.median()).abs().quantile(0.9) < 0.1


@pytest.mark.parametrize("method", METHODS)
def test_reconstruction_with_them_is_good(method: str) -> None:
    truth = scan()
    mask = make_mask("equispaced_fraction", (160,), 4, 24 / 160, seed=0)
    kspace = truth.kspace * mask
    maps = estimate_sens_maps(kspace, mask, method)
    images = [cg_sense(kspace, mask, m, iterations=10) for m in (maps, truth.sens_maps)]
    errors = [(image.abs() - truth.image.abs())[truth.inside].norm() for image in images]
    assert errors[0] < 1.1 * errors[1]  # as good as with the true maps: what is left is noise
    assert kspace_residual(kspace, images[0], mask, maps) < 0.1


@pytest.mark.parametrize("method", METHODS)
def test_batch_is_its_members(method: str) -> None:
    first, second = scan(40, 32, 4), scan(40, 32, 4, noise=0.5)
    mask = make_mask("random", (32,), 2, 0.4, seed=0)
    kspace = torch.stack([first.kspace, 1e5 * second.kspace]) * mask
    together = estimate_sens_maps(kspace, mask, method)
    for one, alone in zip(together, kspace, strict=True):
        assert torch.allclose(one, estimate_sens_maps(alone, mask, method), atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_unit_of_the_data_does_not_matter(method: str, unit: float) -> None:
    kspace = scan(40, 32, 4).kspace.to(torch.complex64)
    expected = estimate_sens_maps(kspace, None, method)
    assert torch.allclose(estimate_sens_maps(unit * kspace, None, method), expected, atol=1e-4)


def test_mask_is_inferred_and_data_outside_it_ignored() -> None:
    truth = scan(64, 64, 4)
    mask = make_mask("poisson", (64, 64), 4, 0.3, seed=0)
    expected = estimate_sens_maps(truth.kspace * mask, mask)
    assert torch.equal(estimate_sens_maps(truth.kspace * mask), expected)
    assert torch.equal(estimate_sens_maps(truth.kspace, mask), expected)
    assert torch.equal(estimate_sens_maps(truth.kspace, mask[None]), expected)


def test_masks_of_a_batch_share_their_center() -> None:
    kspace = torch.stack([scan(32, 64, 3).kspace] * 2)
    masks = torch.zeros(2, 1, 1, 64, dtype=torch.bool)
    masks[0, ..., 20:44] = True
    masks[1, ..., 26:38] = True
    assert torch.equal(estimate_sens_maps(kspace, masks), estimate_sens_maps(kspace, masks[1]))


def test_single_coil_is_ones() -> None:
    kspace = torch.randn(2, 1, 8, 8, dtype=torch.complex64)
    assert torch.equal(estimate_sens_maps(kspace), torch.ones_like(kspace))


def test_full_sampling_of_a_tiny_image() -> None:
    generator = torch.Generator().manual_seed(0)
    for size in ((2, 5), (1, 9), (4, 4), (5, 3)):
        maps = estimate_sens_maps(torch.randn(3, *size, dtype=torch.complex64, generator=generator))
        assert maps.isfinite().all()
        assert rss(maps).max() == pytest.approx(1)


class TestBart:
    def test_close_to_espirit(self, bart_binary: str) -> None:
        truth = scan()
        mask = make_mask("equispaced_fraction", (160,), 4, 24 / 160, seed=0)
        kspace = truth.kspace.to(torch.complex64) * mask
        theirs = torch.from_numpy(np.array(ecalib(kspace.numpy(), maps=1, binary=bart_binary)))
        assert rms(angle(truth.sens_maps, theirs)[truth.inside]) < 0.02
        for method in METHODS:
            error = angle(theirs, estimate_sens_maps(kspace, mask, method))[truth.inside]
            assert rms(error) < 0.025
            assert float(error.quantile(0.99)) < 0.07

    def test_close_to_espirit_on_a_real_brain(self, bart_binary: str, shared_data: Path) -> None:
        kspace = torch.from_numpy(np.array(load(shared_data / "bart" / "brain_8ch_ksp.cfl").kspace[0]))
        theirs = torch.from_numpy(np.array(ecalib(kspace.numpy(), maps=1, binary=bart_binary)))
        brightness = rss(ifft2c(kspace))
        brain = (rss(theirs) > 0.5) & (brightness > 0.1 * brightness.max())
        assert brain.float().mean() > 0.5
        ours = estimate_sens_maps(kspace)
        kept = rss(ours) > 0
        assert (brain & ~kept).sum() < 0.02 * brain.sum()  # noise near the skull
        assert rms(angle(theirs, ours)[brain & kept]) < 0.03
        assert rms(angle(theirs, estimate_sens_maps(kspace, None, "adaptive"))[brain]) < 0.07
        assert rms(angle(theirs, estimate_sens_maps(kspace, None, "low_resolution"))[brain]) < 0.12


class TestBadInput:
    def test_method(self) -> None:
        with pytest.raises(ValueError, match=r"unknown method 'walsh' \(known: espirit, low_resolution, adaptive\)"):
            estimate_sens_maps(torch.zeros(2, 8, 8, dtype=torch.complex64), None, "walsh")

    @pytest.mark.parametrize("kspace", [torch.zeros(8, 8, dtype=torch.complex64), torch.zeros(2, 8, 8)])
    def test_kspace(self, kspace: Tensor) -> None:
        with pytest.raises(ValueError, match=r"kspace must be complex \(coils, ny, nx\) or .*, got torch"):
            estimate_sens_maps(kspace)

    def test_no_calibration_data(self) -> None:
        mask = torch.zeros(16, dtype=torch.bool)
        mask[::4] = True
        with pytest.raises(ValueError, match=r"centre of k-space 16 x 16 is 16 x 1: .* at least 4 x 4"):
            estimate_sens_maps(torch.ones(2, 16, 16, dtype=torch.complex64), mask)

    def test_no_signal(self) -> None:
        with pytest.raises(ValueError, match=r"kspace \(2, 2, 16, 16\) has no signal in its fully sampled centre"):
            kspace = torch.zeros(2, 2, 16, 16, dtype=torch.complex64)
            kspace[0] = 1
            estimate_sens_maps(kspace, torch.ones(16, dtype=torch.bool))

    def test_mask_of_other_size(self) -> None:
        with pytest.raises(ValueError, match=r"mask \(7,\) does not broadcast to kspace \(1, 2, 16, 16\)"):
            estimate_sens_maps(torch.ones(2, 16, 16, dtype=torch.complex64), torch.ones(7, dtype=torch.bool))


def test_adaptive_maps_are_eigenvectors() -> None:
    """Of the covariance of the coils around each pixel, to where the power iterations have left the second one."""
    images = smooth_images(scan(48, 40, 4, noise=3.0).kspace[None], 24, 20)
    vectors = _local_eigenvectors(images)[0].permute(1, 2, 0)
    covariance = torch.einsum("cyx,dyx->yxcd", images[0], images[0].conj())
    for axis in (0, 1):
        covariance = sum(covariance.roll(shift, axis) for shift in (-1, 0, 1))
    values, exact = torch.linalg.eigh(covariance)
    clear = values[..., -2] < 0.4 * values[..., -1]
    assert 50 < int(clear.sum()) < clear.numel()
    cosine = (vectors.conj() * exact[..., -1]).sum(-1).abs()
    assert float((1 - cosine[clear].square()).clamp_min(0).sqrt().max()) < 1e-3


@pytest.mark.parametrize("old", [6, 7])
@pytest.mark.parametrize("new", [4, 5])
def test_a_region_keeps_its_zero_frequency(old: int, new: int) -> None:
    kspace = torch.zeros(1, 1, old, old, dtype=torch.complex64)
    kspace[..., old // 2, old // 2] = 1
    region, place = region_around(kspace, (new, new), (old // 2, old // 2))
    assert region.shape[-2:] == (new, new)
    assert region[..., new // 2, new // 2] == 1
    assert place == (new // 2, new // 2)


def test_a_region_lies_around_the_echo_as_far_as_there_are_samples() -> None:
    kspace = torch.arange(20.0).expand(1, 1, 9, 20)
    region, place = region_around(kspace, (9, 8), (4, 12))
    assert region[0, 0, 0].tolist() == list(range(8, 16)) and place == (4, 4)
    region, place = region_around(kspace, (9, 8), (4, 18))
    assert region[0, 0, 0].tolist() == list(range(12, 20)) and place == (4, 6)


@pytest.mark.parametrize("echo", [None, (3, 5), (1, 8), (7, 0)])
def test_the_echo_of_a_block_becomes_the_zero_frequency_of_its_image(echo: tuple[int, int] | None) -> None:
    block = torch.zeros(1, 1, 8, 9, dtype=torch.complex64)
    block[0, 0][echo or (4, 4)] = 1
    images = smooth_images(block, 12, 10, echo=echo)
    torch.testing.assert_close(images, images[..., :1, :1].real.expand_as(images) + 0j)
    assert float(images[0, 0, 0, 0].real) > 0
