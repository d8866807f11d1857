"""`ReconstructionTask`: loss, validation and optimizer of one network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from torch.utils.checkpoint import checkpoint

from csmri_ext.data.measurement import Sample
from csmri_ext.errors import InputError
from csmri_ext.models.own_terms import with_own_terms
from csmri_ext.training.recipes import Recipe

SSIM_WINDOW = 7


def l1(image: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of real and imaginary part, ``mean |x - x*|``; complex ``(batch, ny, nx)``."""
    return (torch.view_as_real(image) - torch.view_as_real(target)).abs().mean()


def mse(image: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of real and imaginary part."""
    return (torch.view_as_real(image) - torch.view_as_real(target)).square().mean()


def ssim_loss(image: Tensor, target: Tensor) -> Tensor:
    """``1 - SSIM`` of the magnitudes as `csmri_ext.metrics.ssim` has it: window 7 x 7, data range 1."""
    x, y = image.abs()[:, None], target.abs()[:, None]
    n = 49 / 48  # sample covariance, as scikit-image
    mean_x, mean_y = avg_pool2d(x, 7, 1), avg_pool2d(y, 7, 1)
    var_x = n * (avg_pool2d(x * x, 7, 1) - mean_x * mean_x)
    var_y = n * (avg_pool2d(y * y, 7, 1) - mean_y * mean_y)
    covariance = n * (avg_pool2d(x * y, 7, 1) - mean_x * mean_y)
    c1, c2 = 0.01**2, 0.03**2
    ssim = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    ssim = ssim / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return 1 - ssim.mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1,
    "mse": mse,
    "ssim": ssim_loss,
    "l1+ssim": lambda image, target: l1(image, target) + 0.1 * ssim_loss(image, target),
}
"""Losses by name; images have a maximum magnitude of 1."""


class ReconstructionTask(lightning.LightningModule):
    """A network that learns to reconstruct.

    Parameters
    ----------
    network
        ``network(kspace, mask, sens_maps) -> image``, see `csmri_ext.nn.Reconstructor`.
    recipe
        Loss, optimizer, schedule.
    settings
        What rebuilds the network, kept in the checkpoint.
    recompute
        Recompute the network in the backward pass instead of keeping its activations: less memory, a third more time.
    """

    def __init__(
        self, network: nn.Module, recipe: Recipe, settings: dict[str, Any] | None = None, *, recompute: bool = False
    ) -> None:
        super().__init__()
        self.network, self.recipe, self.recompute = network, recipe, recompute
        self.save_hyperparameters({"settings": settings or {}})

    def forward(self, batch: Any) -> Tensor:
        """Reconstruct a batch."""
        mask = batch.mask if batch.sens_maps is None else batch.mask[:, None]
        data = (batch.kspace, mask, batch.sens_maps)
        if self.recompute and torch.is_grad_enabled():
            image: Tensor = checkpoint(self.network, *data, use_reentrant=False)
        else:
            image = self.network(*data)
        return image

    def loss_of(self, batch: Any) -> Tensor:
        """Loss of one batch, without the terms of the network."""
        return LOSSES[self.recipe.loss](self(batch), batch.target)

    def training_step(self, batch: Any, _: int) -> Tensor:
        """Loss of one batch; InputError where it is not finite, for nothing after it would be."""
        loss = self.loss_of(batch)
        loss = with_own_terms(loss, self.network)
        self._stop_unless(bool(loss.detach().isfinite()), "the loss is not a finite number")
        self.log("loss", loss, prog_bar=True, on_step=True, on_epoch=True, batch_size=len(batch.target), sync_dist=True)
        return loss

    def on_train_epoch_end(self) -> None:
        """Look at the weights before they become a checkpoint: a finite loss may have infinite gradients."""
        finite = all(bool(value.isfinite().all()) for value in self.network.state_dict().values())
        self._stop_unless(finite, "some weights are not finite numbers")

    def _stop_unless(self, finite: bool, what: str) -> None:
        if not self.trainer.strategy.reduce_boolean_decision(finite, all=True):  # else the other processes would wait
            raise InputError(
                f"{what} after step {self.global_step} of {self.recipe.steps}: the training stops and its checkpoints "
                f"stay as they were; a learning rate below {self.recipe.learning_rate:g} may help"
            )

    def validation_step(self, batch: Sample, _: int) -> None:
        """PSNR and SSIM of each slice, data range = maximum of its target."""
        image = self(batch)
        error = (image.abs() - batch.target.abs()).square().mean((-2, -1))
        peak = batch.target.abs().amax((-2, -1))
        psnr = 10 * torch.log10(peak.square() / error)
        self.log("val_psnr", psnr.mean(), prog_bar=True, batch_size=len(psnr), sync_dist=True)
        if min(image.shape[-2:]) >= SSIM_WINDOW:
            scale = peak[:, None, None]
            ssim = 1 - ssim_loss(image / scale, batch.target / scale)
            self.log("val_ssim", ssim, batch_size=len(psnr), sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Adam with the recipe's schedule, stepped with every batch."""
        optimizer = torch.optim.Adam(self.network.parameters(), self.recipe.learning_rate)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(self.recipe, step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def rate(recipe: Recipe, step: int) -> float:
    """Learning rate of a step relative to the recipe's.

    Parameters
    ----------
    recipe
        Its `schedule`, `warmup`, `decay` and `steps` count.
    step
        Number of the step, from 0.
    """
    if recipe.schedule == "step":
        return 1.0 if 2 * step < recipe.steps else 0.1
    if recipe.schedule == "decay":
        left = (recipe.steps - step) / max(recipe.decay * recipe.steps, 1)
        return min(1.0, (step + 1) / max(recipe.warmup, 1), max(left, 0.0))
    return 1.0
