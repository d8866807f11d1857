"""The noise of several coils, found in their outer samples."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from csmri_ext.phantom import coil_maps, phantom
from csmri_ext.physics import Encoding, fft2c, make_mask
from csmri_ext.physics.noise import noise_variance

SIZE = 96


def noise(coils: int, sigma: float, seed: int = 0, size: int = SIZE) -> Tensor:
    parts = torch.randn(coils, size, size, 2, generator=torch.Generator().manual_seed(seed))
    return sigma * torch.view_as_complex(parts)


def measured(coils: int, seed: int, sigma: float) -> Tensor:
    return fft2c(torch.from_numpy(phantom(SIZE, seed, n_coils=coils, noise=0))) + noise(coils, sigma, seed)


def found(kspace: Tensor, mask: Tensor | None) -> float:
    return float(noise_variance(kspace, mask).sqrt())


@pytest.mark.parametrize("coils", [2, 8, 16])
def test_noise_alone(coils: int) -> None:
    for mask in (None, make_mask("random", (SIZE,), 4, 0.08, seed=1)):
        assert found(noise(coils, 0.01), mask) == pytest.approx(0.01, rel=0.06)


@pytest.mark.parametrize(("kind", "shape"), [("random", (SIZE,)), ("radial_golden", (SIZE, SIZE))])
def test_signal_is_no_noise(kind: str, shape: tuple[int, ...]) -> None:
    """The strongest sample is about 20, and the median of the outer ones up to 0.007."""
    mask = make_mask(kind, shape, 4, seed=0)
    for seed in range(9000, 9003):
        for sigma, most in ((0.003, 1.5), (0.01, 1.2)):
            assert 0.9 * sigma < found(measured(8, seed, sigma), mask) < most * sigma
        assert found(measured(8, seed, 0.0), mask) < 0.003


def test_fewer_coils_find_too_much_rather_than_too_little() -> None:
    mask = make_mask("random", (SIZE,), 4, 0.08, seed=1)
    for seed in range(9000, 9003):
        assert 0.003 < found(measured(3, seed, 0.003), mask) < 0.02


def test_what_the_mask_excludes_does_not_matter_and_slices_are_apart() -> None:
    mask = make_mask("equispaced", (SIZE,), 4, 0.08, seed=0)
    slices = torch.stack([noise(4, 0.01), noise(4, 0.05, 1)])
    hidden = torch.where(mask, slices, torch.nan)
    both = noise_variance(hidden, mask)
    assert both.shape == (2,)
    for i in range(2):
        torch.testing.assert_close(both[i], noise_variance(slices[i] * mask, mask))
    per_slice = torch.stack([mask, mask.roll(1)])[:, None, None]
    torch.testing.assert_close(noise_variance(slices, per_slice)[0], both[0])


def test_the_outer_samples_are_those_of_the_scan_not_of_the_matrix() -> None:
    """Zeros around what was acquired, as interpolation leaves them."""
    inner = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    inner[20:76, 24:70] = True
    assert found(noise(6, 0.01) * inner, inner) == pytest.approx(0.01, rel=0.06)


def test_nothing_has_no_noise() -> None:
    assert noise_variance(torch.zeros(3, 4, 8, 8, dtype=torch.complex64), None).tolist() == [0, 0, 0]
    assert noise_variance(torch.zeros(0, 4, 8, 8, dtype=torch.complex64), None).shape == (0,)
    unsampled = torch.zeros(8, 8, dtype=torch.bool)
    assert float(noise_variance(noise(4, 1.0, size=8), unsampled)) == 0


def test_derivatives() -> None:
    kspace = noise(3, 1.0, size=10).to(torch.complex128).requires_grad_()
    mask = make_mask("random", (10,), 2, 0.2, seed=0)
    assert torch.autograd.gradcheck(lambda k: noise_variance(k, mask), kspace, check_forward_ad=True)


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e9])
def test_relative_to_the_image_in_any_unit(unit: float) -> None:
    mask = make_mask("random", (SIZE,), 4, 0.08, seed=1)
    maps = torch.from_numpy(coil_maps(SIZE, 8, 9000))
    kspace = mask * measured(8, 9000, 0.01)
    plain = Encoding(kspace, mask, maps)
    peak = float(plain.zero_filled.abs().max())
    expected = pytest.approx((found(kspace, mask) / peak) ** 2, rel=1e-4)
    phase = torch.polar(torch.ones(SIZE, SIZE), torch.linspace(0, 3, SIZE).expand(SIZE, SIZE))
    scaled = Encoding(unit * kspace[None], mask, maps)
    for encoding in (plain, scaled, scaled.normalized(6.0), scaled.with_phase(phase[None]).normalized(1.0)):
        assert float(encoding.relative_noise_variance) == expected
