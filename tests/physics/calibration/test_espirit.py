from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import CancelledError
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from csmri_ext.bridge import ecalib, load
from csmri_ext.iterative.tv import tv
from csmri_ext.phantom import coil_maps, phantom_acquisition
from csmri_ext.physics import calibration_block, cg_sense, estimate_sens_maps, fft2c, ifft2c, rss
from csmri_ext.physics.calibration import espirit
from csmri_ext.physics.calibration.center import sampled_centers, smooth_images
from csmri_ext.physics.calibration.espirit import eigen_maps, maps_and_object
from csmri_ext.stopping import forget_stop, request_stop


def columns(nx: int, lines: int) -> Tensor:
    """`lines` in the middle and every fourth."""
    mask = torch.zeros(nx, dtype=torch.bool)
    mask[nx // 2 - lines // 2 :][:lines] = True
    mask[1::4] = True
    return mask


@cache
def drawn(seed: int, size: int, anatomy: str) -> tuple[Tensor, Tensor]:
    """k-space of 8 coils, with noise, and the magnitude image, without."""
    scan = phantom_acquisition(1, size, seed, n_coils=8, anatomy=anatomy, noise=0)
    kspace = torch.from_numpy(np.array(scan.kspace[0]))
    noise = torch.randn(kspace.shape, dtype=kspace.dtype, generator=torch.Generator().manual_seed(seed))
    return kspace + 0.007 * noise, torch.from_numpy(np.array(scan.target[0]))


def acquired(seed: int, lines: int, size: int = 96, anatomy: str = "brain") -> tuple[Tensor, Tensor, Tensor]:
    """Undersampled k-space, the mask, and the magnitude image."""
    kspace, target = drawn(seed, size, anatomy)
    mask = columns(size, lines)
    return kspace * mask, mask, target


def psnr(image: Tensor, target: Tensor) -> float:
    return 10 * math.log10(float(target.max() ** 2 / (image.abs() - target).square().mean()))


def reconstructed(kspace: Tensor, mask: Tensor, maps: Tensor, target: Tensor) -> float:
    return psnr(cg_sense(kspace, mask, maps, iterations=10, regularization=0.01), target)


def by_the_paper(center: Tensor, kernel: tuple[int, int], ny: int, nx: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues (ny, nx, coils) and vectors: kernels by SVD, zero-filled, transformed one by one, as in the paper."""
    n_coils, my, mx = center.shape
    ky, kx = kernel
    patches = [center[:, y : y + ky, x : x + kx].flatten() for y in range(my - ky + 1) for x in range(mx - kx + 1)]
    _, values, vectors = torch.linalg.svd(torch.stack(patches), full_matrices=False)
    kernels = vectors[values > math.sqrt(espirit.THRESHOLD) * values[0]].conj().reshape(-1, n_coils, ky, kx)
    operator = torch.zeros(ny, nx, n_coils, n_coils, dtype=center.dtype)
    for one in kernels:
        padded = torch.zeros(n_coils, ny, nx, dtype=center.dtype)
        padded[:, :ky, :kx] = one
        image = torch.fft.fftshift(torch.fft.ifft2(padded.conj(), norm="forward"), dim=(-2, -1))
        operator += torch.einsum("cyx,dyx->yxcd", image, image.conj()) / (ky * kx)
    return torch.linalg.eigh(operator)  # type: ignore[return-value]


def three_coils(size: tuple[int, int]) -> Tensor:
    """Calibration data of an object in the middle, seen by coils of few frequencies."""
    generator = torch.Generator().manual_seed(1)
    image = torch.zeros(size, dtype=torch.complex128)  # an object in the middle, air around it
    image[5:11, 6:12] = torch.randn(6, 6, dtype=torch.complex128, generator=generator)
    smooth = torch.zeros(3, *size, dtype=torch.complex128)
    block = (slice(None), slice(size[0] // 2 - 1, size[0] // 2 + 2), slice(size[1] // 2 - 1, size[1] // 2 + 2))
    smooth[block] = torch.randn(smooth[block].shape, dtype=torch.complex128, generator=generator)
    return fft2c(image * ifft2c(smooth))[:, 1:-1, 2:-2]


def test_patches_are_balanced_where_they_do_not_see_the_echo_in_all_places() -> None:
    center = torch.zeros(1, 8, 60, 16)
    whole = [espirit._region(center, (6, 6), (30, column))[1] for column in range(16)]
    assert whole == [5 <= column <= 10 for column in range(16)]
    assert espirit._region(center, (6, 6), (20, 8))[1] and not espirit._region(center, (6, 6), (3, 8))[1]
    assert espirit._region(center[..., :8], (6, 5))[1], "in the middle, whatever the kernel"


@pytest.mark.parametrize("kernel", [(3, 3), (4, 3), (2, 5)])
@pytest.mark.parametrize("size", [(20, 17), (15, 24)])
def test_equals_the_paper(kernel: tuple[int, int], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espirit, "POWER_ITERATIONS", 3000)
    center = three_coils(size)
    maps, eigenvalues = eigen_maps(center[None], *size, kernel)
    values, vectors = by_the_paper(espirit._region(center[None], kernel)[0][0], kernel, *size)
    assert torch.allclose(eigenvalues[0], values[..., -1], atol=1e-4)
    apart = values[..., -1] - values[..., -2] > 0.02
    assert apart.float().mean() > 0.5
    cosine = torch.einsum("yxc,cyx->yx", vectors[..., -1].conj(), maps[0]).abs()
    assert torch.allclose(cosine[apart], torch.ones_like(cosine[apart]), atol=1e-6)


def test_maps_are_four_power_iterations_from_the_coil_images() -> None:
    """More would follow the noise where two eigenvalues are close, fewer stay near the images themselves."""
    center = three_coils((20, 17))
    maps = eigen_maps(center[None], 20, 17, (3, 3)).sens_maps[0]
    values, vectors = by_the_paper(espirit._region(center[None], (3, 3))[0][0], (3, 3), 20, 17)
    start = smooth_images(center[None], 20, 17)[0].permute(1, 2, 0)[..., None]
    expected = (vectors @ (values[..., None] ** 4 * (vectors.mH @ start)))[..., 0]
    cosine = torch.einsum("yxc,cyx->yx", expected.conj(), maps).abs() / expected.norm(dim=-1)
    assert torch.allclose(cosine, torch.ones_like(cosine), atol=1e-12)


def test_true_sensitivities_have_eigenvalue_one() -> None:
    ny, nx = 60, 49
    y = (torch.arange(ny, dtype=torch.float64)[:, None] - ny // 2) / ny
    x = (torch.arange(nx, dtype=torch.float64) - nx // 2) / nx
    inside = (2.6 * y) ** 2 + (2.9 * x) ** 2 < 1
    # Coils of one period over the field of view: two neighbouring samples of k-space determine each other exactly.
    truth = torch.stack([2 + torch.exp(2j * torch.pi * (a * x + b * y)) for a, b in ((1, 0), (0, 1), (-1, 0))])
    truth = truth / rss(truth)
    kspace = fft2c(truth * inside * (1 + 0.3 * torch.cos(40 * x + 30 * y**2)))
    maps, eigenvalues = eigen_maps(next(sampled_centers(kspace[None], None)).samples, ny, nx, (6, 6))
    assert eigenvalues.min() > 0
    assert eigenvalues.max() < 1 + 1e-12
    assert eigenvalues[0][inside].min() > 0.99
    assert eigenvalues[0, 0, 0] < 0.8
    cosine = (maps[0].conj() * truth).sum(0).abs()
    assert cosine[inside].min() > 0.9999
    kept = rss(estimate_sens_maps(kspace)) > 0
    assert kept[inside].all()
    assert not kept[:5, :5].any()


@pytest.mark.parametrize("lines", [24, 10, 8, 6, 5, 4])
def test_few_lines_lose_nothing_and_beat_the_low_resolution_images(lines: int) -> None:
    kspace, mask, target = acquired(1, lines)
    maps = estimate_sens_maps(kspace, mask)
    assert maps.isfinite().all()
    assert (rss(maps)[target > 0.1 * target.max()] == 0).float().mean() < 0.01
    low = estimate_sens_maps(kspace, mask, "low_resolution")
    assert reconstructed(kspace, mask, maps, target) > reconstructed(kspace, mask, low, target) + (
        0.2 if lines > 10 else 1
    )


def test_kernel_follows_the_lines() -> None:
    tried: dict[int, list[tuple[int, int]]] = {n: list(espirit._kernels(200, n)) for n in (24, 8, 5)}
    assert tried[24][0] == (6, 6)
    assert tried[8] == [(6, 5), (6, 4), (6, 3), (6, 2)]
    assert tried[5] == [(6, 3), (6, 2)]
    assert list(espirit._kernels(8, 200)) == [(5, 6), (4, 6), (3, 6), (2, 6)]
    assert list(espirit._kernels(1, 9)) == [(1, 5)]


def test_region_grows_along_the_readout_until_there_are_patches_enough() -> None:
    tall = torch.zeros(1, 8, 256, 8)
    assert espirit._region(tall, (6, 5))[0].shape == (1, 8, 185, 8)  # 180 x 4 places for 3 x 240 unknowns
    assert espirit._region(tall.mT, (5, 6))[0].shape == (1, 8, 8, 185)
    assert espirit._region(torch.zeros(1, 8, 256, 40), (6, 6))[0].shape == (1, 8, 51, 24)
    assert espirit._region(torch.zeros(1, 2, 30, 30), (6, 6))[0].shape == (1, 2, 24, 24)


def test_object_that_fills_the_field_of_view() -> None:
    # Its maps jump from one edge to the other; the first of two equal eigenvectors is neither side's.
    kspace, mask, target = acquired(0, 24, anatomy="body")
    assert (target[:, 0] > 0.1 * target.max()).float().mean() > 0.3
    ours = reconstructed(kspace, mask, estimate_sens_maps(kspace, mask), target)
    low = reconstructed(kspace, mask, estimate_sens_maps(kspace, mask, "low_resolution"), target)
    assert ours > low - 0.1


def test_where_no_kernel_works_the_low_resolution_images_remain() -> None:
    noise = torch.randn(2, 8, 4, 4, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    maps, is_object = maps_and_object(noise, 32, 30)
    assert torch.equal(maps, smooth_images(noise, 32, 30)) and is_object.all()


def test_crop() -> None:
    kspace, mask, target = acquired(1, 24)
    center = next(sampled_centers(kspace[None], mask)).samples
    kept = [float(maps_and_object(center, 96, 96, crop).is_object.float().mean()) for crop in (-1, 0.5, 0.9, 0.98)]
    assert kept[0] == 1
    assert kept == sorted(kept, reverse=True)
    inside = float((target > 0.1 * target.max()).float().mean())
    assert inside < kept[-1] < kept[-2] < 1.6 * inside


def test_a_stop_ends_a_slice_between_two_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice of many coils takes seconds, and whoever presses Ctrl-C waits for what runs in a thread."""
    kspace, mask, _ = acquired(1, 8, 40)
    begun, operators = [], espirit._operators

    def stopped_in_the_third(*args: object) -> Iterator[tuple[slice, torch.Tensor]]:
        for item in operators(*args):
            begun.append(item[0])
            if len(begun) == 3:
                request_stop()
            yield item

    monkeypatch.setattr(espirit, "CHUNK", 1)
    monkeypatch.setattr(espirit, "_operators", stopped_in_the_third)
    try:
        with pytest.raises(CancelledError):
            eigen_maps(next(sampled_centers(kspace[None], mask)).samples, 40, 40, (4, 4))
    finally:
        forget_stop()
    assert len(begun) == 3


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    kspace, mask, _ = acquired(1, 8, 40)
    expected = estimate_sens_maps(kspace, mask)
    monkeypatch.setattr(espirit, "CHUNK", 7 * 40 * 64)
    assert torch.allclose(estimate_sens_maps(kspace, mask), expected, atol=1e-5)


class TestBart:
    @pytest.mark.parametrize(("seed", "anatomy"), [(1, "brain"), (1, "body"), (1, "abstract"), (2, "brain")])
    def test_reconstructions_are_as_good(self, bart_binary: str, seed: int, anatomy: str) -> None:
        kspace, mask, target = acquired(seed, 24, 128, anatomy)
        ours = estimate_sens_maps(kspace, mask)
        theirs = torch.from_numpy(ecalib(kspace.numpy(), binary=bart_binary))
        scores = [reconstructed(kspace, mask, maps, target) for maps in (ours, theirs)]
        assert scores[0] > scores[1] - 0.1
        scores = [
            psnr(torch.from_numpy(tv(kspace.numpy(), mask.numpy(), maps.numpy(), weight=0.003, iterations=60)), target)
            for maps in (ours, theirs)
        ]
        assert scores[0] > scores[1] - 0.1

    def test_eight_columns_at_200_pixels(self, bart_binary: str) -> None:
        kspace, mask, target = acquired(1, 8, 200, anatomy="body")
        theirs = torch.from_numpy(ecalib(kspace.numpy(), binary=bart_binary))
        ours = estimate_sens_maps(kspace, mask)
        inside = target > 0.05 * target.max()
        assert (rss(theirs)[inside] == 0).float().mean() > 0.02
        assert (rss(ours)[inside] == 0).float().mean() < 0.002
        assert reconstructed(kspace, mask, ours, target) > reconstructed(kspace, mask, theirs, target)

    def test_held_back_samples_of_a_real_brain(self, bart_binary: str, shared_data: Path) -> None:
        kspace = torch.from_numpy(np.array(load(shared_data / "bart" / "brain_8ch_ksp.cfl").kspace[0]))
        sampled = (kspace != 0).any(0)
        held = sampled & (torch.rand(sampled.shape, generator=torch.Generator().manual_seed(0)) < 0.1)
        held[calibration_block(sampled)] = False
        kept = sampled & ~held
        shown = kspace * kept

        def residual(maps: Tensor) -> float:
            image = cg_sense(shown, kept, maps, iterations=8)
            return float((fft2c(maps * image) - kspace)[:, held].norm() / kspace[:, held].norm())

        theirs = residual(torch.from_numpy(ecalib(shown.numpy(), binary=bart_binary)))
        assert residual(estimate_sens_maps(shown, kept)) < 1.01 * theirs
        assert residual(estimate_sens_maps(shown, kept, "low_resolution")) > 1.05 * theirs


def test_maps_of_the_phantom() -> None:
    kspace, mask, target = acquired(3, 24)
    truth = torch.from_numpy(coil_maps(96, 8, 3))
    cosine = (truth.conj() * estimate_sens_maps(kspace, mask)).sum(0).abs()
    assert cosine[target > 0.1 * target.max()].quantile(0.05) > 0.998
