"""fastMRI's end-to-end VarNet: the formula in k-space as published, its weights, and what it does beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peers import peer
from published_weights import varnet_state
from tolerance import relative_error
from torch import Tensor
from torch.nn import functional

from baselines import networks
from baselines.networks.checkpoints import load_e2e_varnet
from baselines.networks.e2e_varnet import E2EVarNet, low_frequencies
from csmri_ext.errors import InputError
from csmri_ext.physics import make_mask, rss


def centered(function: Any, x: Tensor) -> Tensor:
    return torch.fft.fftshift(function(torch.fft.ifftshift(x, (-2, -1)), norm="ortho"), (-2, -1))


def norm_unet(state: dict[str, Tensor], prefix: str, image: Tensor) -> Tensor:
    """Complex ``(batch, ny, nx)`` through a U-net whose weights are `state` behind `prefix`."""
    weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

    def activate(x: Tensor) -> Tensor:
        return functional.leaky_relu(functional.instance_norm(x), 0.2)

    def block(x: Tensor, name: str) -> Tensor:
        for layer in (0, 4):
            x = activate(functional.conv2d(x, weights[f"{name}.layers.{layer}.weight"], padding=1))
        return x

    parts = torch.stack([image.real, image.imag], 1)
    mean, deviation = parts.mean((2, 3), keepdim=True), parts.std((2, 3), keepdim=True)
    ny, nx = image.shape[-2:]
    tall, wide = ((n + 15) // 16 * 16 for n in (ny, nx))
    top, left = (tall - ny) // 2, (wide - nx) // 2
    x = functional.pad((parts - mean) / deviation, (left, wide - nx - left, top, tall - ny - top))
    skips, level = [], 0
    while f"down_sample_layers.{level}.layers.0.weight" in weights:
        skips.append(block(x, f"down_sample_layers.{level}"))
        x, level = functional.avg_pool2d(skips[-1], 2), level + 1
    x = block(x, "conv")
    for i, skip in enumerate(reversed(skips)):
        x = activate(functional.conv_transpose2d(x, weights[f"up_transpose_conv.{i}.layers.0.weight"], stride=2))
        last = i == level - 1
        x = block(torch.cat([x, skip], 1), f"up_conv.{i}.0" if last else f"up_conv.{i}")
    x = functional.conv2d(x, weights[f"up_conv.{level - 1}.1.weight"], weights[f"up_conv.{level - 1}.1.bias"])
    x = x[..., top : top + ny, left : left + nx] * deviation + mean
    return torch.complex(x[:, 0], x[:, 1])


def as_published(state: dict[str, Tensor], kspace: Tensor, columns: Tensor) -> Tensor:
    """Cascades in k-space, ``(coils, ny, nx)`` with acquired `columns`, to the root sum of squares ``(ny, nx)``."""
    center = columns.numel() // 2
    left = right = 0
    while columns[center - 1 - left]:
        left += 1
    while columns[center + right]:
        right += 1
    width = max(1, 2 * min(left, right))
    start = (columns.numel() - width + 1) // 2
    low = torch.zeros_like(kspace)
    low[..., start : start + width] = kspace[..., start : start + width]
    maps = norm_unet(state, "sens_net.norm_unet.unet.", centered(torch.fft.ifft2, low))
    maps = maps / maps.abs().square().sum(0).sqrt()
    current = kspace
    for i in range(sum(name.endswith("dc_weight") for name in state)):
        soft = state[f"cascades.{i}.dc_weight"] * torch.where(columns, current - kspace, 0)
        image = (maps.conj() * centered(torch.fft.ifft2, current)).sum(0)
        refined = norm_unet(state, f"cascades.{i}.model.unet.", image[None])
        current = current - soft - centered(torch.fft.fft2, maps * refined)
    return centered(torch.fft.ifft2, current).abs().square().sum(0).sqrt()


def measured(coils: int, ny: int, nx: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """k-space ``(2, coils, ny, nx)`` of a smooth object, its columns, and the sensitivities."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(-1, 1, ny), torch.linspace(-1, 1, nx), indexing="ij")
    angles = 2 * torch.pi * torch.arange(coils)[:, None, None] / coils
    maps = torch.polar(torch.exp(-((x - angles.cos()) ** 2) - (y - angles.sin()) ** 2), angles + x)
    maps = maps / maps.abs().square().sum(0).sqrt()
    image = torch.polar(1.0 * (x**2 + y**2 < 0.7) + 0.1 * torch.rand(2, ny, nx, generator=generator), 0.4 * x + 0 * y)
    columns = make_mask("equispaced_fraction", (nx,), 3, 0.15, seed=seed)
    return centered(torch.fft.fft2, maps * image[:, None]) * columns, columns, maps


@pytest.mark.parametrize(("coils", "ny", "nx"), [(4, 40, 36), (3, 33, 37), (1, 48, 32)])
@torch.no_grad()
def test_equals_the_published_formula(tmp_path: Path, coils: int, ny: int, nx: int) -> None:
    """With published names, odd sizes, and weights of the data other than 1."""
    torch.save(varnet_state(), tmp_path / "varnet.pt")
    model = load_e2e_varnet(tmp_path / "varnet.pt")
    kspace, columns, _ = measured(coils, ny, nx)
    expected = torch.stack([as_published(varnet_state(), one, columns) for one in kspace])
    assert relative_error(rss(model.coil_images(kspace, columns)), expected) < 1e-5
    assert model.cascades[1].dc_weight.item() == pytest.approx(1.3)


@torch.no_grad()
def test_against_fastmri(tmp_path: Path) -> None:
    """The package itself, where it is installed: its state dict, its magnitude."""
    varnet = peer("fastmri.models.varnet")
    torch.manual_seed(0)
    theirs = varnet.VarNet(num_cascades=3, sens_chans=4, sens_pools=3, chans=6, pools=3).eval()
    theirs.cascades[0].dc_weight.fill_(0.6)
    torch.save(theirs.state_dict(), tmp_path / "varnet.pt")
    kspace, columns, _ = measured(5, 44, 52)
    expected = theirs(torch.view_as_real(kspace), columns.reshape(1, 1, 1, -1, 1).expand(2, 1, 1, -1, 1))
    ours = load_e2e_varnet(tmp_path / "varnet.pt")
    assert relative_error(rss(ours.coil_images(kspace, columns)), expected) < 1e-5


@pytest.mark.parametrize("form", ["checkpoint", "earlier release"])
def test_checkpoints_of_the_training_and_earlier_releases(tmp_path: Path, form: str) -> None:
    state = varnet_state()
    if form == "checkpoint":
        state = {f"varnet.{name}": value for name, value in state.items()} | {"loss.w": torch.ones(1, 1, 7, 7)}
    else:
        state |= {f"cascades.{i}.zero": torch.zeros(1, 1, 1, 1, 1) for i in range(2)}
    torch.save({"state_dict": state} if form == "checkpoint" else state, tmp_path / "varnet.pt")
    loaded = load_e2e_varnet(tmp_path / "varnet.pt").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in varnet_state().items())
    assert len(loaded) == len(varnet_state())


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    state = varnet_state()
    del state["cascades.1.dc_weight"]
    torch.save(state, tmp_path / "varnet.pt")
    with pytest.raises(InputError, match=r"cascades\.1\.dc_weight \(1,\) is missing"):
        load_e2e_varnet(tmp_path / "varnet.pt")
    torch.save({"conv.weight": torch.ones(3)}, tmp_path / "varnet.pt")
    with pytest.raises(InputError, match=r"cascades\.0\.model\.unet.* is missing; the first one is conv\.weight"):
        load_e2e_varnet(tmp_path / "varnet.pt")


def small(**settings: Any) -> E2EVarNet:
    torch.manual_seed(0)
    model = networks.create("e2e_varnet", cascades=2, chans=4, pools=2, sens_chans=4, sens_pools=2, **settings)
    assert isinstance(model, E2EVarNet)
    return model.eval()


@torch.no_grad()
def test_which_sensitivities_combine_the_coils() -> None:
    """None given: the network's own, so that magnitudes are near the root sum of squares; given: those, any scale."""
    kspace, columns, maps = measured(4, 48, 48)
    model = small()
    coil_images = model.coil_images(kspace, columns, maps)
    expected = (maps.conj() * coil_images).sum(1)
    torch.testing.assert_close(model(kspace, columns, maps), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(kspace, columns, 2 * maps), expected / 2, rtol=1e-4, atol=1e-5)
    alone, magnitude = model(kspace, columns), rss(model.coil_images(kspace, columns))
    assert alone.shape == magnitude.shape == (2, 48, 48)
    assert (alone.abs() <= magnitude * (1 + 1e-5)).all()
    factor = 1e-7 * torch.exp(torch.tensor(0.7j))
    assert relative_error(model(factor * kspace, columns).abs() / 1e-7, alone.abs()) < 1e-4
    single = model(kspace[:, 0], columns)
    torch.testing.assert_close(single, model.coil_images(kspace[:, :1], columns)[:, 0])


@torch.no_grad()
def test_full_shape_masks_and_empty_slices() -> None:
    kspace, columns, maps = measured(4, 32, 48)
    kspace[1] = 0
    model = small()
    image = model(kspace, columns)
    assert not image[1].any()
    torch.testing.assert_close(model(kspace, columns.expand(2, 1, 32, 48)), image, rtol=1e-4, atol=1e-5)
    assert model(kspace, columns, maps).isfinite().all()


def test_errors_name_what_was_given() -> None:
    kspace, columns, maps = measured(4, 32, 48)
    model = small()
    with pytest.raises(ValueError, match=r"mask \(40,\) does not broadcast to kspace \(2, 4, 32, 48\)"):
        model(kspace, columns[:40])
    with pytest.raises(TypeError, match="float32, expected complex"):
        model(torch.view_as_real(kspace[:, 0]), columns)
    with pytest.raises(TypeError, match="expected bool"):
        model(kspace, columns.float())
    with pytest.raises(ValueError, match=r"sens_maps \(3, 32, 48\)"):
        model(kspace, columns, maps[:3])


def run(flags: str) -> Tensor:
    return torch.tensor([flag == "1" for flag in flags])


@pytest.mark.parametrize(
    ("mask", "center"),
    [
        ("0100111010", "0000110000"),  # one before n // 2, two from there on
        ("0111110010", "0000110000"),  # four and one
        ("1010010101", "0000010000"),
        ("110111011", "000011000"),  # odd: fastMRI's window lies one to the right of the middle
        ("1111111111", "1111111111"),
    ],
)
def test_center_of_columns(mask: str, center: str) -> None:
    n = len(mask)
    kspace = torch.zeros(1, 1, 6, n)
    found = low_frequencies(run(mask), kspace)
    assert torch.equal(found.expand(1, 1, 6, n)[0, 0, 0], run(center))
    by_rows = low_frequencies(run(mask)[:, None].expand(n, 6), torch.zeros(1, 1, n, 6))
    assert torch.equal(by_rows.expand(1, 1, n, 6)[0, 0, :, 0], run(center))


def test_center_of_the_plane() -> None:
    mask = torch.rand(2, 1, 20, 24, generator=torch.Generator().manual_seed(0)) < 0.3
    mask[:, :, :, 12] = False  # no whole column or row
    mask[:, :, 10] = False
    mask[0, :, 7:13, 9:15] = True
    found = low_frequencies(mask, torch.zeros(2, 3, 20, 24)).expand(2, 1, 20, 24)
    expected = torch.zeros(20, 24, dtype=torch.bool)
    expected[7:13, 9:15] = True
    assert torch.equal(found[0, 0], expected)
    assert int(found[1].sum()) == 1


@pytest.mark.parametrize("plane", [False, True])
def test_the_centre_follows_the_echo_of_each_slice(plane: bool) -> None:
    kspace = torch.full((3, 2, 20, 24), 0.01, dtype=torch.complex64)
    mask = torch.zeros(3, 1, 20, 24, dtype=torch.bool)
    rows = slice(6, 14) if plane else slice(None)
    for i, shift in enumerate((0, 5, 1)):
        kspace[i, :, 10, 12 + shift] = 1
        mask[i, :, rows, 12 + shift - 4 : 12 + shift + 4] = True
    mask[2] = mask[0]  # the echo one beside the middle of its columns
    measured = kspace * mask
    found = low_frequencies(mask, measured, around_echo=True)
    assert torch.equal(found.expand(3, 1, 20, 24), mask)
    assert int(low_frequencies(mask, measured).expand(3, 1, 20, 24)[1].sum()) < int(mask[1].sum())


def test_it_says_that_it_needs_no_sensitivities() -> None:
    assert not E2EVarNet.needs_sens_maps
    assert networks.create("modl", stages=1).needs_sens_maps
