from __future__ import annotations

import numpy as np
import pytest
import torch

from csmri_ext.data import Sample
from csmri_ext.data.scans import HeldBackSample
from csmri_ext.metrics import slice_ssim
from csmri_ext.models import build
from csmri_ext.physics import fft2c
from csmri_ext.training import LOSSES, RECIPES, Recipe, ReconstructionData, ReconstructionTask
from csmri_ext.training.module import rate
from csmri_ext.training.self_supervised import SelfSupervisedTask


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image, target = (torch.randn(2, 20, 24, dtype=torch.complex64, generator=generator) for _ in range(2))
    return image, target / target.abs().amax((-2, -1), keepdim=True)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    image, target = pair()
    image.requires_grad_()
    assert LOSSES[name](target, target) == pytest.approx(0, abs=1e-6)
    loss = LOSSES[name](image, target)
    assert loss > 0.01
    loss.backward()
    assert image.grad is not None
    assert image.grad.abs().max() > 0


def test_values_of_the_losses() -> None:
    image, target = pair()
    error = (image - target).numpy()
    assert LOSSES["l1"](image, target).item() == pytest.approx((np.abs(error.real) + np.abs(error.imag)).mean() / 2)
    assert LOSSES["mse"](image, target).item() == pytest.approx((np.abs(error) ** 2).mean() / 2, rel=1e-5)
    ssim = np.mean(
        [slice_ssim(t, x, maxval=1.0) for t, x in zip(target.abs().numpy(), image.abs().numpy(), strict=True)]
    )
    assert 1 - LOSSES["ssim"](image, target).item() == pytest.approx(ssim, abs=1e-5)


def test_schedules() -> None:
    step = Recipe(steps=100, schedule="step")
    assert [rate(step, i) for i in (0, 49, 50, 99)] == [1, 1, 0.1, 0.1]
    decay = Recipe(steps=100, schedule="decay", warmup=10, decay=0.2)
    assert [rate(decay, i) for i in (0, 9, 79, 90, 100)] == pytest.approx([0.1, 1, 1, 0.5, 0])
    assert rate(Recipe(steps=100), 70) == 1


def test_recipes_of_the_papers() -> None:
    nasn, ga_hqs = RECIPES["nasn"], RECIPES["ga-hqs"]
    assert (nasn.batch_size, nasn.learning_rate, nasn.loss, nasn.schedule, nasn.masks) == (
        2,
        1e-3,
        "l1",
        "step",
        ("random",),
    )
    assert nasn.steps == 80 * 2829 // 2
    assert (ga_hqs.batch_size, ga_hqs.learning_rate, ga_hqs.schedule) == (2, 1e-4, "constant")


def test_terms_of_the_network_join_the_loss() -> None:
    """ISTA-Net's transforms shall undo each other: its authors add 0.01 times the symmetry term to the loss."""
    torch.manual_seed(0)
    network = build("ista_net", {"stages": 2, "chans": 4}).train()
    task = ReconstructionTask(network, Recipe(steps=1, loss="mse"))
    task.log = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    task._stop_unless = lambda *_: None  # type: ignore[method-assign]
    target = torch.randn(1, 12, 12, dtype=torch.complex64)
    mask = torch.rand(1, 12, 12) < 0.5
    sample = Sample(fft2c(target) * mask, mask, target)
    loss = task.training_step(sample, 0)
    image = network(sample.kspace, sample.mask)
    symmetry = network.symmetry_loss()  # type: ignore[operator]
    assert symmetry > 0.01
    torch.testing.assert_close(loss, LOSSES["mse"](image, target) + 0.01 * symmetry)
    assert network.eval()(sample.kspace, sample.mask) is not None
    assert network.extra_loss() is None  # type: ignore[operator]


def test_epochs_have_other_samples() -> None:
    generator = np.random.default_rng(0)
    images = [generator.normal(size=(20, 20)).astype(np.complex64) for _ in range(2)]
    data = ReconstructionData(images, images, Recipe(steps=4, sizes=(16,)), steps_per_epoch=2)  # type: ignore[arg-type]
    first, again, second = (data.training_set(epoch)[0] for epoch in (0, 0, 1))
    assert torch.equal(first.target, again.target)
    assert not torch.equal(first.target, second.target)


def test_the_loss_without_a_reference_is_the_papers() -> None:
    """Half the sum of the relative l2 and l1 errors of the samples held back, real and imaginary parts apart."""
    generator = torch.Generator().manual_seed(0)
    image, kspace = (torch.randn(1, 12, 16, dtype=torch.complex64, generator=generator) for _ in range(2))
    judged = torch.rand(1, 12, 16, generator=generator) < 0.3
    task = SelfSupervisedTask(torch.nn.Identity(), RECIPES["self-supervised"])
    task.forward = lambda _: image  # type: ignore[method-assign,assignment]
    error, measured = (torch.view_as_real(x[judged]).flatten() for x in (fft2c(image) - kspace, kspace))
    expected = (error.norm() / measured.norm() + error.abs().sum() / measured.abs().sum()) / 2
    torch.testing.assert_close(task.loss_of(HeldBackSample(kspace, ~judged, judged, None)), expected)
