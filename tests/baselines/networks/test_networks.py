"""What every published network must do: any size, coils, masks and units; data consistency; gradients; training."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from properties import assert_adjoint
from tolerance import relative_error
from torch import Tensor

import csmri_ext
from baselines import networks
from baselines.networks.ista_net import Stage
from csmri_ext.physics import Encoding, fft2c, make_mask

NAMES = networks.names()
CONSISTENT = [name for name in NAMES if networks.ENTRIES[name].data_consistent]
FEWER = {  # the same networks with less of what repeats, where depth is not the point
    "unet": {"chans": 4},
    "unet_fastmri": {"chans": 4},
    "dccnn11": {"cascades": 2, "blocks": 4},
    "modl11": {"cascades": 2, "blocks": 4},
    "modl": {"stages": 2, "chans": 8},
    "rdn8": {"cascades": 2},
    "ista_net": {"stages": 2, "chans": 8},
    "ista_net_plus": {"stages": 2, "chans": 8},
    "miccan": {"cascades": 2, "chans": 8},
    "hqs_net": {"stages": 2, "chans": 8},
    "admm_csnet": {"stages": 2, "chans": 8},
    "e2e_varnet": {"cascades": 2, "chans": 4, "sens_chans": 4, "pools": 2, "sens_pools": 2},
}


pytestmark = pytest.mark.usefixtures("one_thread")


def small(name: str, in_chans: int = 2) -> csmri_ext.nn.Reconstructor:
    torch.manual_seed(0)
    return networks.create(name, in_chans, **FEWER.get(name, {})).eval()


def head(ny: int, nx: int, batch: int = 1, real: bool = False) -> Tensor:
    """Ellipses of different sizes with a smooth phase, ``(batch, ny, nx)``."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, ny), torch.linspace(-1, 1, nx), indexing="ij")
    size = torch.linspace(0.8, 0.9, batch)[:, None, None]
    image = 0.6 * (((x / size) ** 2 + (y / 0.9) ** 2 < 1) + (((x - 0.2) ** 2 + (y + 0.1) ** 2 < 0.15) * 0.5))
    return image.to(torch.complex64) if real else torch.polar(image, (0.5 * x + 0.3 * y).expand_as(image))


def coil_maps(coils: int, ny: int, nx: int) -> Tensor:
    """Smooth sensitivities with ``sum |S|^2 = 1``, ``(coils, ny, nx)``."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, ny), torch.linspace(-1, 1, nx), indexing="ij")
    angles = torch.arange(coils) * (2 * torch.pi / coils)
    far = (x - angles.cos()[:, None, None]) ** 2 + (y - angles.sin()[:, None, None]) ** 2
    maps = torch.polar(torch.exp(-far / 2), angles[:, None, None] + x)
    return maps / torch.linalg.vector_norm(maps, dim=0)


def columns(nx: int, batch: int | None = None) -> Tensor:
    """A third of the columns; with `batch` another third for each slice, ``(batch, 1, nx)``."""
    if batch is None:
        return make_mask("equispaced_fraction", (nx,), 3, 0.1, seed=0)
    return torch.stack([make_mask("random", (nx,), 3, 0.1, seed=i) for i in range(batch)])[:, None]


@pytest.mark.parametrize("in_chans", [1, 2])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_any_size_units_and_masks(name: str, in_chans: int) -> None:
    """Odd sizes; each slice with its own mask as if alone; the image in the units of k-space."""
    model, mask = small(name, in_chans), columns(37, 2)
    kspace = fft2c(head(35, 37, 2, real=in_chans == 1)) * mask
    image = model(kspace, mask)
    assert image.shape == (2, 35, 37)
    assert image.dtype == torch.complex64
    assert in_chans == 2 or not image.imag.any()
    torch.testing.assert_close(model(kspace[1:], mask[1:]), image[1:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(1e-6 * kspace, mask), 1e-6 * image, rtol=1e-3, atol=1e-10)


@pytest.mark.parametrize("coils", [1, 4])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_unit_and_constant_phase_mean_nothing(name: str, coils: int) -> None:
    ny, nx = (
        (64, 48) if name in ("unet_fastmri", "e2e_varnet") else (32, 24)
    )  # it normalizes over few pixels at its lowest level
    model, mask, image = small(name), columns(nx), head(ny, nx)
    maps = coil_maps(coils, ny, nx) if coils > 1 else None
    kspace = fft2c(image if maps is None else maps * image[:, None]) * mask
    expected = model(kspace, mask, maps)
    for size, turns in ((1.0, 0.25), (1e-7, 0.5), (3e5, -0.1), (1.0, 0.377)):
        factor = size * complex(math.cos(2 * math.pi * turns), math.sin(2 * math.pi * turns))
        assert relative_error(model(factor * kspace, mask, maps) / factor, expected) < 1e-5


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_nothing_where_no_coil_sees(name: str) -> None:
    model, mask, maps = small(name), columns(24), coil_maps(4, 32, 24)
    maps[:, :5], maps[:, :, -3:] = 0, 0
    image = model(fft2c(maps * head(32, 24)[:, None]) * mask, mask, maps)
    assert not image[:, :5].any()
    assert not image[:, :, -3:].any()
    assert image[:, 5:, :-3].all()


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_one_coil_of_sensitivity_one_is_no_coil(name: str) -> None:
    model, mask = small(name), columns(24)
    kspace = fft2c(head(32, 24)) * mask
    expected = model(kspace, mask)
    torch.testing.assert_close(model(kspace[:, None], mask), expected)
    with_maps = model(kspace[:, None], mask, torch.ones(1, 32, 24, dtype=torch.complex64))
    torch.testing.assert_close(with_maps, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", CONSISTENT)
@torch.no_grad()
def test_complete_data_give_the_image(name: str) -> None:
    """Whatever the weights, where the last step is data consistency; else with weights that leave its result alone."""
    model, everything = small(name), torch.ones(24, dtype=torch.bool)
    if name == "ista_net":
        for stage in model.stages:
            make_identity(stage)
    elif name in ("ista_net_plus", "hqs_net"):
        for layer in (
            [stage.project for stage in model.stages]
            if name == "ista_net_plus"
            else [network[-1] for network in model.networks]
        ):
            for parameter in layer.parameters():
                parameter.zero_()
    elif name == "modl":
        model.log_lambda.fill_(-20)
    if hasattr(model, "data_steps"):
        model.data_steps.log_mu.fill_(-20)
    target = head(32, 24)
    torch.testing.assert_close(model(fft2c(target), everything), target, rtol=1e-4, atol=1e-4)
    maps = coil_maps(3, 32, 24)
    recon = model(fft2c(maps * target[:, None]), everything, maps)
    torch.testing.assert_close(recon, target, rtol=1e-3, atol=1e-3)


def make_identity(stage: Stage) -> None:
    """Both transforms of ISTA-Net pass re, -re, im, -im through their ReLUs, and nothing is shrunk."""
    stage.threshold.zero_()
    layers = [stage.transform[0], stage.transform[2], stage.inverse[0], stage.inverse[2]]
    apart = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    for layer, mixing in zip(layers, (apart, torch.eye(4), torch.eye(4), apart.T), strict=True):
        layer.weight.zero_()
        layer.weight[: mixing.shape[0], : mixing.shape[1], 1, 1] = mixing


@pytest.mark.parametrize("coils", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_fused_equals_reference(name: str, coils: int) -> None:
    """Image and gradients by the fused ops, as close to float64 as by plain PyTorch on data rounded a little otherwise.

    Rounding noise that reaches a normalization over few pixels grows there, whoever made it; several roundings of the
    data show how much of it is usual.
    """
    maps = coil_maps(coils, 33, 24) if coils > 1 else None
    target, mask = head(33, 24), columns(24)
    kspace = (fft2c(target) if maps is None else fft2c(maps * target[:, None])) * mask

    def run(kspace: Tensor) -> tuple[Tensor, Tensor]:
        model = small(name).to(kspace.real.dtype)
        image = model(kspace, mask, None if maps is None else maps.to(kspace.dtype))
        (image - target).abs().square().sum().backward()
        gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        return image.detach(), torch.cat(gradients)

    fused = run(kspace)
    with csmri_ext.reference_ops():
        truth = run(kspace.to(torch.complex128))
        noise = [1 + torch.finfo(torch.float32).eps * torch.randn(kspace.shape) for _ in range(3)]
        twins = [run(kspace * factor) for factor in noise]
    for i, what in enumerate(("image", "gradient")):
        error = relative_error(fused[i], truth[i])
        usual = max(relative_error(twin[i], truth[i]) for twin in twins)
        assert error <= 2 * usual + 4 * torch.finfo(torch.float32).eps, f"{what}: {error:.1e}, the twin's {usual:.1e}"


def test_multi_coil_normal_operator_is_self_adjoint() -> None:
    """The step that the networks share, against the encoding operator: <A x, y> = <x, A^H y>."""
    maps, mask = coil_maps(4, 21, 18), columns(18)
    x, y = torch.randn(1, 21, 18, dtype=torch.complex64), torch.randn(1, 4, 21, 18, dtype=torch.complex64)
    operator = Encoding(None, mask, maps)
    assert_adjoint(operator.forward, lambda k: Encoding(k, mask, maps).zero_filled, x, y)
    encoding = Encoding(y, mask, maps)
    assert_adjoint(encoding.normal, encoding.normal, x, torch.randn_like(x))


TRAINING_STEPS = {"unet": 100, "hqs_net": 100}  # deep, without normalization, no data consistency at the end


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_loss_fivefold(name: str) -> None:
    """The networks as published, 50 steps of Adam on one slice (two need 100)."""
    torch.manual_seed(0)
    model, target = networks.create(name), head(32, 40)
    mask = columns(40)
    kspace = fft2c(target) * mask
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(TRAINING_STEPS.get(name, 50)):
        loss = (model(kspace, mask) - target).abs().square().mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert min(losses[-3:]) < losses[0] / 5
    unused = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not unused


@pytest.mark.parametrize("name", ["ista_net", "ista_net_plus"])
def test_symmetry_loss(name: str) -> None:
    model, mask = small(name).train(), columns(24)
    kspace = fft2c(head(32, 24)) * mask
    with pytest.raises(RuntimeError, match=r"run model\.train"):
        model.symmetry_loss()
    model(kspace, mask)
    copy.deepcopy(model)  # an average of weights copies the model between forward and backward
    loss = model.symmetry_loss()
    loss.backward()
    assert loss.detach() > 0
    assert model.stages[0].inverse[0].weight.grad is not None
    model.eval()(kspace, mask)
    with pytest.raises(RuntimeError, match=r"run model\.train"):
        model.symmetry_loss()


@pytest.mark.parametrize("name", ["dccnn3", "modl", "ista_net_plus", "admm_csnet"])
@torch.no_grad()
def test_compiled(name: str) -> None:
    model, mask = small(name), columns(24)
    kspace = fft2c(head(32, 24)) * mask
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(kspace, mask), model(kspace, mask), rtol=1e-4, atol=1e-5)
