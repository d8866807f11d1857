"""Data steps of cascades: as published with one coil, proximal with several, mu learned on request."""

from __future__ import annotations

import re

import pytest
import torch
from tolerance import relative_error
from torch import Tensor

from baselines import networks
from csmri_ext import models
from csmri_ext.metrics import count_parameters, psnr
from csmri_ext.nn import ProximalSteps, Reconstructor
from csmri_ext.nn.proximal_steps import (
    ITERATIONS,
    LAST,
    MAPS,
    NOISE,
    RANGE,
    START,
    learned_noise_factor,
    noise_factor,
)
from csmri_ext.phantom import coil_maps, phantom
from csmri_ext.physics import Encoding, fft2c, make_mask

NY, NX = 20, 24
CASCADES = {"dccnn3": 3, "modl3": 3, "rdn3": 3, "miccan": 5, "admm_csnet": 1, "nasn_2nodes": 3}


def create(name: str, **overrides: object) -> Reconstructor:
    torch.manual_seed(0)
    make = models.create if name in models.names() else networks.create
    return make(name, **overrides).eval()


def problem(coils: int) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """An image, its samples, half of the columns, and maps of several coils."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, NY), torch.linspace(-1, 1, NX), indexing="ij")
    image = torch.polar((x**2 + 1.3 * y**2 < 0.8) + 0.3 * (x.abs() < 0.2), 0.4 * x + 0.3)[None]
    mask = make_mask("equispaced", (NX,), 2, 0.2, seed=1)
    if coils == 1:
        return image, fft2c(image) * mask, mask, None
    angles = torch.arange(coils) * (2 * torch.pi / coils)
    far = (x - angles.cos()[:, None, None]) ** 2 + (y - angles.sin()[:, None, None]) ** 2
    maps = torch.polar(torch.exp(-far), angles[:, None, None] + x)
    maps = maps / torch.linalg.vector_norm(maps, dim=0)
    return image, fft2c(maps * image[:, None]) * mask, mask, maps


def test_one_coil_gets_its_samples_back() -> None:
    image, kspace, mask, _ = problem(1)
    encoding = Encoding(kspace, mask)
    for mu in (0.01, 3.0):
        assert torch.equal(ProximalSteps(2, mu)(encoding, image.conj(), 1), encoding.step(image.conj(), 1.0))


def test_several_coils_solve_the_proximal_problem() -> None:
    image, kspace, mask, maps = problem(4)
    encoding = Encoding(kspace, mask, maps)
    x = ProximalSteps(2, 0.1)(encoding, image.conj(), 0)
    residual = encoding.normal(x) + 0.1 * x - encoding.zero_filled - 0.1 * image.conj()
    assert residual.norm() < 1e-3 * encoding.zero_filled.norm()


@pytest.mark.parametrize("coils", [1, 4])
def test_learned_mu(coils: int) -> None:
    image, kspace, mask, maps = problem(coils)
    steps, encoding = ProximalSteps(3, 0.2, trainable=True), Encoding(kspace, mask, maps)
    x = steps(encoding, image.conj(), 1)
    torch.testing.assert_close(x, encoding.proximal(image.conj(), 0.2, iterations=ITERATIONS))
    (x - image).abs().square().sum().backward()
    assert steps.log_mu.grad is not None
    assert [bool(g) for g in steps.log_mu.grad] == [False, True, False]
    assert list(steps.state_dict()) == ["log_mu"]
    assert not ProximalSteps(3).state_dict()


@pytest.mark.parametrize("trainable", [False, True])
def test_mu_follows_the_noise_of_each_slice_unless_it_is_given(trainable: bool) -> None:
    _, _, mask, maps = problem(4)
    y, x = torch.meshgrid(torch.linspace(-1, 1, NY), torch.linspace(-1, 1, NX), indexing="ij")
    image = torch.polar(torch.exp(-6 * (x**2 + y**2)), x)[None]  # without edges, and so without signal far out
    kspace = fft2c(maps * image[:, None]) * mask
    random = torch.randn(2, 4, NY, NX, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    peak = Encoding(kspace, mask, maps).zero_filled.abs().max()
    noisy = kspace + mask * peak * torch.tensor([0.015, 0.3])[:, None, None, None] * random
    encoding = Encoding(noisy, mask, maps).normalized(1.0)
    factor = noise_factor(encoding)
    assert factor.shape == (2, 1, 1)
    assert RANGE[0] < factor[0] < RANGE[1]
    assert factor[1] == RANGE[1]
    nothing = Encoding(torch.zeros_like(noisy), mask, maps)
    assert noise_factor(nothing).flatten().tolist() == pytest.approx([RANGE[0]] * 2)
    learned = learned_noise_factor(encoding)
    assert float(learned[1]) > 10 * RANGE[1]  # a trained network is believed where the data are bad
    torch.testing.assert_close(learned, encoding.relative_noise_variance / NOISE**2 + MAPS)
    start = image.conj().expand(2, -1, -1)
    steps = ProximalSteps(3, trainable=trainable)
    middle = START * (learned if trainable else factor)
    torch.testing.assert_close(steps(encoding, start, 1), encoding.proximal(start, middle, iterations=ITERATIONS))
    mu = LAST * learned if trainable else START * factor
    found = steps(encoding, start, 2)
    torch.testing.assert_close(found, encoding.proximal(start, mu, iterations=ITERATIONS))
    for i in range(2):
        alone = Encoding(noisy[i : i + 1], mask, maps).normalized(1.0)
        each = alone.proximal(start[:1], float(mu[i]), iterations=ITERATIONS)
        torch.testing.assert_close(found[i : i + 1], each, rtol=1e-4, atol=1e-5)
    given = ProximalSteps(3, 0.2, trainable=trainable)(encoding, start, 2)
    torch.testing.assert_close(given, encoding.proximal(start, 0.2, iterations=ITERATIONS))


def test_one_coil_keeps_its_samples_where_mu_is_learned_by_noise() -> None:
    image, kspace, mask, _ = problem(1)
    encoding = Encoding(kspace, mask)
    found = ProximalSteps(2, trainable=True)(encoding, image.conj(), 1)
    assert torch.equal(found, encoding.step(image.conj(), 1.0))


@torch.inference_mode()
def test_data_with_little_noise_are_trusted() -> None:
    """Shipped weights, nothing trained again: decibels, where the noise is a fifth of what START is for."""
    size, coils = 96, 8
    clean = torch.from_numpy(phantom(size, 9001, n_coils=coils, noise=0))
    random = torch.randn(coils, size, size, 2, generator=torch.Generator().manual_seed(0))
    mask = make_mask("equispaced_fraction", (size,), 4, 0.16, seed=0)
    maps = torch.from_numpy(coil_maps(size, coils, 9001))
    target = (maps.conj() * clean).sum(0).abs().numpy()
    model = create("nasn_magnitude", pretrained=True)
    gains = []
    for noise in (0.002, 0.012):
        kspace = mask * fft2c(clean + noise * torch.view_as_complex(random))
        quality = []
        for model.data_steps.by_noise in (True, False):
            quality.append(float(psnr(target, model(kspace[None], mask, maps)[0].abs().numpy())))
        gains.append(quality[0] - quality[1])
    assert gains[0] > 0.8
    assert gains[1] > -0.2


@torch.inference_mode()
def test_numbers_of_each_step_are_what_was_learned() -> None:
    """Constants that follow the noise as the parameters did, of no file of weights."""
    image, kspace, mask, maps = problem(4)
    encoding, found = Encoding(kspace, mask, maps), (0.06, 0.07, 0.5)
    learned, constant = ProximalSteps(3, found, trainable=True), ProximalSteps(3, found)
    for k in range(3):
        assert torch.equal(constant(encoding, image.conj(), k), learned(encoding, image.conj(), k))
    assert relative_error(ProximalSteps(3)(encoding, image.conj(), 2), learned(encoding, image.conj(), 2)) > 1e-3
    assert not constant.state_dict() and count_parameters(constant) == 0
    assert models.create("nasn_knee", mu=[0.06, 0.07, 0.5]).data_steps.log_mu.exp().tolist() == pytest.approx(found)


def test_numbers_for_other_steps() -> None:
    with pytest.raises(ValueError, match=r"mu has 2 numbers, \(0.1, 0.2\); expected one, or one for each of 3 steps"):
        ProximalSteps(3, (0.1, 0.2))


@pytest.mark.parametrize("mu", [0.0, -1.0, float("inf"), float("nan"), (0.1, 0.0)])
def test_impossible_mu(mu: float | tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=f"mu is {re.escape(str(mu))}, expected a positive number"):
        ProximalSteps(2, mu)


@pytest.mark.parametrize("name", CASCADES)
def test_networks_count_and_store_mu_only_when_it_is_learned(name: str) -> None:
    plain, learned = create(name), create(name, trainable_mu=True, mu=0.3)
    assert count_parameters(learned) == count_parameters(plain) + CASCADES[name]
    assert set(learned.state_dict()) - set(plain.state_dict()) == {"data_steps.log_mu"}
    assert float(learned.data_steps.log_mu.detach().exp()[0]) == pytest.approx(0.3)


@pytest.mark.parametrize("name", CASCADES)
@torch.no_grad()
def test_networks_unfold_the_aliasing_of_several_coils(name: str) -> None:
    """Networks that add nothing, so that the data steps alone decide; gradient steps of size 1 stay far away."""
    image, kspace, mask, maps = problem(6)
    model = create(name, mu=1e-3)
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.split(".")[0] in ("networks", "unets", "reconstructions") or "synthesis" in parameter_name:
            parameter.zero_()
    encoding = Encoding(kspace, mask, maps)
    x = encoding.zero_filled
    for _ in range(CASCADES[name]):
        x = encoding.step(x, 1.0)
    assert relative_error(x, image) > 0.03
    assert relative_error(model(kspace, mask, maps), image) < 0.01


@pytest.mark.parametrize("name", ["nasn_knee", "nasn_magnitude", "dccnn3"])
def test_shipped_weights_load(name: str) -> None:
    create(name, pretrained=True)
