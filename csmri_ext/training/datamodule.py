"""`ReconstructionData`: training and validation sets of one recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lightning
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, DistributedSampler

from csmri_ext.data.dataset import Masks, UndersampledImages
from csmri_ext.data.images import Images
from csmri_ext.data.measurement import Measurement, stacked
from csmri_ext.data.transforms import Augmentation
from csmri_ext.errors import InputError
from csmri_ext.training.recipes import Recipe


class ReconstructionData(lightning.LightningDataModule):
    """Undersampled slices; each epoch has new sections, masks and order, all determined by the seed.

    Parameters
    ----------
    train, validation
        Images of different subjects.
    recipe
        Masks, sizes, augmentation, batch size.
    steps_per_epoch
        Optimiser steps of an epoch, which is what a kill can cost at most.
    seed
        Seed.
    workers
        Processes that read ahead.
    """

    collate: Callable[[list[Any]], Any] = staticmethod(stacked)

    def __init__(
        self,
        train: Images,
        validation: Sequence[NDArray[np.complex64]],
        recipe: Recipe,
        *,
        steps_per_epoch: int,
        seed: int = 0,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.images, self.validation_images, self.recipe = train, validation, recipe
        self.steps_per_epoch, self.seed, self.workers = steps_per_epoch, seed, workers

    @property
    def masks(self) -> Masks:
        """Mask settings of both sets."""
        return Masks(self.recipe.masks, self.recipe.accelerations)

    @property
    def measurement(self) -> Measurement:
        """Coils, phase and noise of both sets."""
        return Measurement.of(self.recipe)

    def training_set(self, epoch: int) -> Any:
        """Return the samples of one epoch."""
        recipe = self.recipe
        size = recipe.sizes[epoch % len(recipe.sizes)]
        return UndersampledImages(
            self.images,
            self.masks,
            size=size or None,
            augmentation=Augmentation(recipe.resolution, recipe.mirror, recipe.magnitude),
            measurement=self.measurement,
            strip=recipe.strip if size else 0,
            length=self.steps_per_epoch * recipe.batch_size,
            batch_size=recipe.batch_size,
            seed=self.seed,
            epoch=epoch,
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Open the set of the current epoch."""
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        processes = self.trainer.world_size if self.trainer is not None else 1
        recipe = self.recipe
        if recipe.batch_size % processes:
            raise InputError(f"a batch of {recipe.batch_size} slices cannot be shared by {processes} processes")
        samples = self.training_set(epoch)
        # Lightning would add a sampler that shuffles, and other slices would meet in a batch than on one process.
        rank = self.trainer.global_rank if self.trainer is not None else 0
        share: DistributedSampler[Any] | None = None
        if processes > 1:
            share = DistributedSampler(samples, processes, rank, shuffle=False)
        return DataLoader(
            samples,
            recipe.batch_size // processes,
            sampler=share,
            num_workers=self.workers,
            collate_fn=self.collate,
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Open every validation slice whole, with a mask that stays."""
        samples = UndersampledImages(self.validation_images, self.masks, measurement=self.measurement, seed=self.seed)
        return DataLoader(samples, num_workers=self.workers, collate_fn=self.collate)
