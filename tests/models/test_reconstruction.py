"""What every model must do, on small variants: same code, fewer stages."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from tolerance import assert_as_accurate, relative_error
from torch import Tensor

import csmri_ext
from csmri_ext.models import create, names
from csmri_ext.nn import Reconstructor
from csmri_ext.physics import fft2c

NY, NX = 14, 23


pytestmark = pytest.mark.usefixtures("one_thread")


def small(name: str, **overrides: Any) -> Reconstructor:
    """Random everywhere: where a start makes layers zero, nothing would be seen of what lies before them."""
    torch.manual_seed(0)
    nasn = name.startswith("nasn")
    sizes = {"cascades": 1, "cells": 2, "channels": 8} if nasn else {"stages": 1, "start": "literal"}
    return create(name, **{**sizes, **overrides}).eval()


def problem(batch: int = 1, ny: int = NY, nx: int = NX) -> tuple[Tensor, Tensor, Tensor]:
    """Smooth complex images, one mask per slice, and what it keeps."""
    torch.manual_seed(1)
    y, x = torch.meshgrid(torch.linspace(-1, 1, ny), torch.linspace(-1, 1, nx), indexing="ij")
    radius = torch.linspace(0.5, 0.9, batch)[:, None, None]
    disc = torch.sigmoid(20 * (radius - torch.hypot(y, x))) - 0.5 * torch.sigmoid(30 * (0.3 - torch.hypot(y - 0.2, x)))
    image = torch.polar(disc, x + 0.5 * y * radius)
    mask = (torch.rand(batch, 1, nx) < 0.3) | ((torch.arange(nx) - nx // 2).abs() < 4)
    return image, mask, fft2c(image) * mask


def coil_maps(n: int, ny: int = NY, nx: int = NX) -> Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, ny), torch.linspace(-1, 1, nx), indexing="ij")
    angles = 2 * torch.pi * torch.arange(n)[:, None, None] / n
    maps = torch.polar(torch.exp(-(y - angles.sin()).square() - (x - angles.cos()).square()), angles + x)
    return maps / maps.abs().square().sum(0).sqrt()


def gradients(model: Reconstructor, *tensors: Tensor) -> Tensor:
    """Of one fixed random projection of the image, by all parameters.

    A loss against a target would start from a difference of nearly equal images, in which the last bit of the forward
    pass is a large error: its gradients compare luck.
    """
    image = model(*tensors)
    direction = torch.randn(image.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(3))
    projection = (image * direction.to(image.dtype)).real.sum()
    return torch.cat([g.flatten() for g in torch.autograd.grad(projection, list(model.parameters()))])


@pytest.mark.parametrize("multi_coil", [False, True])
@pytest.mark.parametrize("name", names())
def test_fused_equals_reference_forward_and_gradients(name: str, multi_coil: bool) -> None:
    """As close to float64 as plain PyTorch; the last bits of the data say how far that is, more than one run of it."""
    image, mask, kspace = problem()
    maps = coil_maps(3)
    data = (fft2c(maps * image[:, None]) * mask[:, None], mask[:, None], maps) if multi_coil else (kspace, mask)
    model = small(name)
    wide = [x.to(torch.complex128) if x.is_complex() else x for x in data]
    results = [model(*data), gradients(model, *data)]
    with csmri_ext.reference_ops():
        noises = [1 + torch.finfo(torch.float32).eps * torch.randn(data[0].shape) for _ in range(8)]
        rounded = [(data[0] * noise, *data[1:]) for noise in noises]
        twins = [[model(*given), gradients(model, *given)] for given in (data, *rounded)]
        double = copy.deepcopy(model).double()
        truths = [double(*wide), gradients(double, *wide)]
    for i, what in enumerate(("image", "gradients")):
        farthest = max((twin[i] for twin in twins), key=lambda value: relative_error(value, truths[i]))
        assert_as_accurate(results[i], farthest, truths[i], what)


@pytest.mark.parametrize("multi_coil", [False, True])
@pytest.mark.parametrize("name", ["hqs", "a_hqs", "ga_hqs"])
def test_gradients_are_derivatives(name: str, multi_coil: bool) -> None:
    """In float64 along random changes of all parameters, and of mu and beta alone, through conjugate gradients too."""
    image, mask, kspace = (x.to(torch.complex128) if x.is_complex() else x for x in problem())
    maps = coil_maps(3).to(torch.complex128)
    data = (fft2c(maps * image[:, None]) * mask[:, None], mask[:, None], maps) if multi_coil else (kspace, mask)
    model = small(name, stages=2).double()
    parameters = dict(model.named_parameters())

    def loss() -> Tensor:
        return (model(*data) - image).abs().square().mean()

    gradients = torch.autograd.grad(loss(), list(parameters.values()))
    scalars = {name for name in parameters if name in ("theta", "beta")}
    for moving in (set(parameters), scalars):
        change = {key: 1e-8 * torch.randn_like(parameters[key]) for key in moving}
        expected = sum((g * change[key]).sum() for key, g in zip(parameters, gradients, strict=True) if key in moving)
        with torch.no_grad():
            for key, step in change.items():
                parameters[key].add_(step)
            above = loss()
            for key, step in change.items():
                parameters[key].sub_(2 * step)
            torch.testing.assert_close((above - loss()) / 2, expected, rtol=1e-5, atol=0)
            for key, step in change.items():
                parameters[key].add_(step)


@pytest.mark.parametrize("name", names())
def test_complete_data_come_back_complete(name: str) -> None:
    image, _, _ = problem()
    model = small(name, in_chans=2)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter_name == "theta":
                parameter.fill_(30)  # mu -> 0: data without noise
        if hasattr(model, "data_steps"):
            model.data_steps.log_mu.fill_(-20)
        maps, everything = coil_maps(3), torch.ones(NX, dtype=torch.bool)
        torch.testing.assert_close(model(fft2c(image), everything), image, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(fft2c(maps * image[:, None]), everything, maps), image, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("multi_coil", [False, True])
@pytest.mark.parametrize("name", names())
@torch.no_grad()
def test_unit_and_constant_phase_mean_nothing(name: str, multi_coil: bool) -> None:
    image, mask, kspace = problem()
    maps = coil_maps(3)
    if multi_coil:
        kspace, mask = fft2c(maps * image[:, None]) * mask[:, None], mask[:, None]
    model, coils = small(name), (maps,) if multi_coil else ()
    expected = model(kspace, mask, *coils)
    for size, turns in ((1.0, 0.25), (1e-7, 0.5), (3e5, -0.1), (1.0, 0.377)):
        factor = size * complex(math.cos(2 * math.pi * turns), math.sin(2 * math.pi * turns))
        assert relative_error(model(factor * kspace, mask, *coils) / factor, expected) < 1e-5


@pytest.mark.parametrize("name", names())
@torch.no_grad()
def test_nothing_where_no_coil_sees(name: str) -> None:
    image, mask, _ = problem()
    maps = coil_maps(3)
    maps[:, :3] = 0
    recon = small(name)(fft2c(maps * image[:, None]) * mask[:, None], mask[:, None], maps)
    assert not recon[:, :3].any()
    assert recon[:, 3:].all()


@pytest.mark.parametrize("name", names())
def test_slices_with_their_own_masks_any_size_any_unit(name: str) -> None:
    model = small(name)
    with torch.inference_mode():
        for ny, nx in ((NY, NX), (9, 33)):
            _, mask, kspace = problem(2, ny, nx)
            images = model(kspace, mask)
            assert images.dtype == torch.complex64
            for i in range(2):
                alone = model(kspace[i : i + 1], mask[i, 0])
                torch.testing.assert_close(alone, images[i : i + 1], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(1e6 * model(1e-6 * kspace, mask), images, rtol=1e-4, atol=1e-5)
            one_coil = model(kspace[:, None], mask[:, None], torch.ones(1, ny, nx, dtype=torch.complex64))
            torch.testing.assert_close(one_coil, images, rtol=1e-3, atol=1e-4)
        kspace[1] = 0
        assert torch.isfinite(torch.view_as_real(model(kspace, mask))).all()


@pytest.mark.parametrize("name", [name for name in names() if not name.startswith("ga_hqs_")])
def test_real_images(name: str) -> None:
    model = small(name, in_chans=1, **({"replicas": 32} if name == "ga_hqs" else {}))
    _, mask, kspace = problem()
    image = model(kspace, mask)
    assert image.shape == kspace.shape
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(image.abs().sum(), list(model.parameters())))


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_training_lowers_the_loss_fivefold(name: str) -> None:
    """50 steps of Adam on one slice: one stage, or two cascades of two cells with 8 channels."""
    image, mask, kspace = problem(1, 16, 16)
    nasn = name.startswith("nasn")
    model = small(name, **({"cascades": 2} if nasn else {"start": "identity"})).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3 if nasn else 1e-3)
    losses = []
    for _ in range(50):
        loss = (model(kspace, mask) - image).abs().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 5


def test_no_momentum_is_hqs() -> None:
    _, mask, kspace = problem()
    accelerated, plain = small("a_hqs", stages=3), small("hqs", stages=3)
    plain.load_state_dict({k: v for k, v in accelerated.state_dict().items() if k != "beta"})
    assert accelerated.beta is not None
    with torch.inference_mode():
        assert (accelerated(kspace, mask) - plain(kspace, mask)).abs().max() > 1e-4
        accelerated.beta.zero_()
        torch.testing.assert_close(accelerated(kspace, mask), plain(kspace, mask), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["a_hqs", "ga_hqs"])
def test_checkpointing_changes_memory_only(name: str) -> None:
    _, mask, kspace = problem()
    model = small(name)
    expected = gradients(model, kspace, mask)
    model.checkpointing = True
    torch.testing.assert_close(gradients(model, kspace, mask), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_compiles_without_a_break(name: str) -> None:
    _, mask, kspace = problem()
    assert_compiled_equals_eager(small(name), "aot_eager", kspace, mask)


@pytest.mark.filterwarnings("ignore")  # of torch itself: deprecated parts, no code generation for complex numbers
def test_compiles_to_machine_code() -> None:
    _, mask, kspace = problem()
    assert_compiled_equals_eager(small("nasn_2nodes", cells=1), "inductor", kspace, mask)


def assert_compiled_equals_eager(model: Reconstructor, backend: str, kspace: Tensor, mask: Tensor) -> None:
    """Image and gradients, without a graph break."""
    torch.compiler.reset()
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    expected, image = model(kspace, mask), compiled(kspace, mask)
    torch.testing.assert_close(image, expected, rtol=1e-4, atol=1e-5)
    parameters = list(model.parameters())
    of_compiled, of_eager = (torch.autograd.grad(x.abs().square().sum(), parameters) for x in (image, expected))
    torch.testing.assert_close(of_compiled, of_eager, rtol=1e-3, atol=1e-4)


def test_momentum_is_the_papers() -> None:
    """The next image goes on from z_{k+1} by beta times its distance to z_k."""
    model = small("a_hqs", stages=2)
    _, mask, kspace = problem()
    encoding = model.encode(kspace, mask)
    generator = torch.Generator().manual_seed(2)
    z, zhat, start = (torch.randn(1, model.channels, NY, NX, generator=generator) for _ in range(3))
    with torch.no_grad():
        model.beta.fill_(0.3)
        following, extrapolated = model.stage(0, z, zhat, start, encoding)
    torch.testing.assert_close(extrapolated, 1.3 * following - 0.3 * z)
