"""How fresh networks of half-quadratic splitting begin: as their algorithm, on images of the phantom."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from csmri_ext.data import PhantomSettings, phantom_shards
from csmri_ext.metrics import count_parameters
from csmri_ext.models import GAHQS, create
from csmri_ext.models.ga_hqs import SEVERAL
from csmri_ext.models.hqs import THETA
from csmri_ext.nn.proximal_steps import learned_noise_factor
from csmri_ext.physics import fft2c, make_mask

SIZE = 48
SPLITTINGS = ["ga_hqs", "a_hqs", "hqs", "ga_hqs_baseline1", "ga_hqs_baseline2", "ga_hqs_baseline3"]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    shards = phantom_shards(tmp_path_factory.mktemp("phantoms"), 2, PhantomSettings(size=SIZE, slices=2))
    return torch.stack([torch.as_tensor(shards[i]) for i in range(len(shards))])


def coil_maps(n: int) -> Tensor:
    y, x = torch.meshgrid(*2 * [torch.linspace(-1, 1, SIZE)], indexing="ij")
    angles = 2 * torch.pi * torch.arange(n)[:, None, None] / n
    maps = torch.polar(torch.exp(-(y - angles.sin()).square() - (x - angles.cos()).square()), angles + x)
    return maps / maps.abs().square().sum(0).sqrt()


def measured(images: Tensor, coils: int) -> tuple[Tensor, ...]:
    """k-space, mask and, with coils, their maps; 4x."""
    mask = make_mask("random", (SIZE, SIZE), 4, seed=1)
    if coils == 1:
        return fft2c(images) * mask, mask
    return fft2c(coil_maps(coils) * images[:, None]) * mask, mask, coil_maps(coils)


def psnr(image: Tensor, target: Tensor) -> Tensor:
    error = (image.abs() - target.abs()).square().mean((-2, -1))
    return 10 * torch.log10(target.abs().amax((-2, -1)).square() / error)


def stages_of(model: Any, data: tuple[Tensor, ...]) -> list[Tensor]:
    """Zero-filled images, the mean of the replicas after each stage, and the result."""
    step = model.encode(*data)
    found, spread = [step.zero_filled * step.scale], model.spread(step.zero_filled)
    z = zhat = model.first(step, step.zero_filled, spread)
    for k in range(model.stages):
        z, zhat = model.stage(k, z, zhat, spread, step)
        found.append(model.collect(zhat) * step.scale)
    return [*found, model(*data)]


@pytest.mark.parametrize("coils", [1, 4])
@pytest.mark.parametrize("name", SPLITTINGS)
def test_a_fresh_network_is_no_worse_than_the_zero_filled_image(name: str, coils: int, images: Tensor) -> None:
    """One coil: the zero-filled image agrees with the data already, and stays. Several: every stage improves."""
    torch.manual_seed(0)
    model = create(name, stages=4).train()
    data = measured(images, coils)
    with torch.inference_mode():
        zero_filled, *following = stages_of(model, data)
    quality = torch.stack([psnr(image, images) for image in (zero_filled, *following)])
    if coils == 1:
        for image in following:
            torch.testing.assert_close(image, zero_filled, rtol=0, atol=1e-5 * float(zero_filled.abs().max()))
    else:
        assert (quality[1] > quality[0] + 2).all()  # the proximal step comes first
        assert (quality[1:] > quality[:-1] + 0.02).all()


def test_ga_hqs_of_several_coils_starts_as_a_hqs_with_proximal_steps(images: Tensor) -> None:
    torch.manual_seed(0)
    data = measured(images, 4)
    model = create("ga_hqs", stages=3)
    step = model.encode(*data)
    mu = math.exp(-THETA) * SEVERAL * learned_noise_factor(step)
    z = zhat = step.proximal(step.zero_filled, math.exp(-THETA))
    for _ in range(3):
        following = step.proximal(zhat, mu)
        z, zhat = following, 1.1 * following - 0.1 * z
    expected = step.proximal(zhat, mu) * step.scale
    with torch.inference_mode():
        torch.testing.assert_close(model(*data), expected, rtol=0, atol=2e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(
    "overrides",
    [
        {"replicas": 8},
        {"replicas": 4},
        {"replicas": 6, "splits": 3},
        {"replicas": 4, "splits": 2},
        {"replicas": 1, "splits": 1},
        {"order": "terms", "groups": (1, 1, 1, 1)},
        {"order": "terms", "fusion": "cse"},
        {"replicas": 32, "in_chans": 1},
        {"width": 16},
    ],
)
def test_other_sizes_start_alike(overrides: dict[str, Any], images: Tensor) -> None:
    torch.manual_seed(0)
    kspace, mask = measured(images.abs() + 0j, 1)
    if overrides.get("in_chans") == 1:  # a mask that keeps real images real
        mask = mask | mask.flip(-1).roll(1, -1)
        kspace = fft2c(images.abs() + 0j) * mask
    model = create(
        "ga_hqs", stages=2, **{"denoiser": "cnn", **({"denoiser": "msst"} if "width" in overrides else {}), **overrides}
    )
    with torch.inference_mode():
        zero_filled, *_, image = stages_of(model, (kspace, mask))
    torch.testing.assert_close(image, zero_filled, rtol=0, atol=1e-4 * float(zero_filled.abs().max()))


def test_the_literal_start_spoils_the_image(images: Tensor) -> None:
    torch.manual_seed(0)
    data = measured(images, 1)
    model = create("ga_hqs", stages=2, start="literal", order="terms")
    with torch.inference_mode():
        zero_filled, *_, image = stages_of(model, data)
    assert (psnr(image, images) < psnr(zero_filled, images) - 2).all()


@pytest.mark.parametrize("order", ["replicas", "terms"])
@pytest.mark.parametrize("start", ["identity", "literal"])
def test_the_count_does_not_depend_on_the_start(start: str, order: str) -> None:
    if (start, order) != ("identity", "terms"):
        assert count_parameters(create("ga_hqs", start=start, order=order)) == 4_419_952 + 1


def test_every_weight_learns_within_three_steps(images: Tensor) -> None:
    """Zeros and equal replicas must not stay: gates, random taps, and what lies before the zero convolution move."""
    torch.manual_seed(0)
    kspace, mask = measured(images[:1], 1)
    model = create("ga_hqs", stages=2)
    assert isinstance(model, GAHQS)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        (model(kspace, mask) - images[:1]).abs().square().mean().backward()
        optimizer.step()
    still = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert not still
    weight = model.denoisers[0].hsau.map.weight[: model.replicas].flatten(1)  # type: ignore[union-attr]
    assert len(torch.unique(weight, dim=0)) == model.replicas


def test_orders_hold_the_same_channels() -> None:
    """The same network in both orders: the inputs of every ungrouped convolution permuted, the same image."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"stages": 1, "denoiser": "cnn", "start": "literal", "groups": (1, 1, 1, 1)}
    first, second = create("ga_hqs", order="terms", **settings), create("ga_hqs", order="replicas", **settings)
    state = first.state_dict()
    for name, value in state.items():
        if "fuse" in name and value.ndim == 4:
            n_terms = value.shape[1] // 32
            taps = value.unflatten(1, (n_terms, 2, 16)).movedim(3, 1)
            state[name] = taps.flatten(1, 3)
    second.load_state_dict(state)
    kspace = torch.randn(2, 12, 15, dtype=torch.complex64)
    mask = torch.rand(15) < 0.5
    with torch.inference_mode():
        torch.testing.assert_close(second(kspace, mask), first(kspace, mask), rtol=1e-4, atol=1e-5)
