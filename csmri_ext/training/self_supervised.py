"""Training from undersampled scans alone: samples held back take the place of a reference (SSDU).

Yaman et al., "Self-supervised learning of physics-guided reconstruction neural networks without fully sampled reference
data" (2020); with several splits of a slice "Multi-mask self-supervised learning for physics-guided neural networks in
highly accelerated magnetic resonance imaging" (2022).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from csmri_ext.data.scans import HeldBackSamples, stacked_scans
from csmri_ext.physics.held_back import kspace_error
from csmri_ext.training.datamodule import ReconstructionData
from csmri_ext.training.module import ReconstructionTask

LOSS = "kspace"
"""Name of the loss in recipes: half the sum of the relative l2 and l1 errors of the samples held back."""


class SelfSupervisedTask(ReconstructionTask):
    """A network that learns to predict samples that it was not given."""

    def loss_of(self, batch: Any) -> Tensor:
        """Half the sum of relative l2 and l1 error in k-space."""
        l2, l1 = _errors(self(batch), batch)
        return (l2 + l1) / 2

    def validation_step(self, batch: Any, _: int) -> None:
        """Relative l2 error of the samples held back, ``val_residual``: no reference, no PSNR."""
        self.log("val_residual", _errors(self(batch), batch)[0], prog_bar=True, batch_size=1, sync_dist=True)


class SelfSupervisedData(ReconstructionData):
    """Scans in place of images, see `ReconstructionData`."""

    collate: Callable[[list[Any]], Any] = staticmethod(stacked_scans)

    def training_set(self, epoch: int) -> Any:
        """Return the splits of one epoch."""
        recipe = self.recipe
        return HeldBackSamples(
            self.images,  # type: ignore[arg-type]
            self.masks,
            share=recipe.loss_share,
            splits=recipe.splits,
            strip=recipe.strip if recipe.sizes[epoch % len(recipe.sizes)] else 0,
            length=self.steps_per_epoch * recipe.batch_size,
            batch_size=recipe.batch_size,
            seed=self.seed,
            epoch=epoch,
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Open every validation scan whole, with a split that stays."""
        samples = HeldBackSamples(self.validation_images, self.masks, seed=self.seed)  # type: ignore[arg-type]
        return DataLoader(samples, num_workers=self.workers, collate_fn=self.collate)


def _errors(image: Tensor, batch: Any) -> tuple[Tensor, Tensor]:
    judged: torch.Tensor = batch.target if batch.sens_maps is None else batch.target[:, None]
    return kspace_error(image, batch.kspace, judged, batch.sens_maps)
