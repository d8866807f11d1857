"""Undersampled k-space with its image: what a reconstruction network is trained and tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from csmri_ext.data.transforms import Augmentation
from csmri_ext.physics import fft2c, make_mask, mask_kinds


class Sample(NamedTuple):
    """One slice, or a batch of equal sizes with a leading axis.

    Attributes
    ----------
    kspace
        complex64 (ny, nx), zero where nothing was acquired.
    mask
        bool (ny, nx).
    target
        complex64 (ny, nx), the image, maximum magnitude 1.
    """

    kspace: Tensor
    mask: Tensor
    target: Tensor


@dataclass(frozen=True)
class Masks:
    """The mask settings of a training or test set; every combination is as likely.

    Attributes
    ----------
    kinds
        Names of `csmri_ext.physics.mask_kinds`.
    accelerations
        Nominal undersampling factors. The centre is ``0.32 / R`` of the columns, fastMRI's 0.08 at 4x, 0.04 at 8x.
    """

    kinds: tuple[str, ...] = ("random",)
    accelerations: tuple[float, ...] = (4.0, 8.0)

    def __post_init__(self) -> None:
        unknown = set(self.kinds) - set(mask_kinds())
        if unknown or not self.kinds or not self.accelerations or min(self.accelerations) < 1:
            raise ValueError(
                f"masks {', '.join(self.kinds)} at {', '.join(f'{r:g}' for r in self.accelerations)}: "
                f"expected kinds among {', '.join(mask_kinds())} and accelerations of at least 1"
            )

    def __len__(self) -> int:
        return len(self.kinds) * len(self.accelerations)

    def setting(self, number: int) -> tuple[str, float]:
        """Kind and acceleration of setting `number`, counted round."""
        number %= len(self)
        return self.kinds[number % len(self.kinds)], self.accelerations[number // len(self.kinds)]

    def draw(self, number: int, shape: tuple[int, int], seed: int | str) -> Tensor:
        """Mask of setting `number` for images of `shape`, bool (ny, nx)."""
        kind, acceleration = self.setting(number)
        return make_mask(kind, shape, acceleration, seed=seed).expand(shape)


class UndersampledImages(Dataset[Sample]):
    """Images under masks, reproducible: sample i of an epoch depends on the seed, the epoch and i alone.

    Parameters
    ----------
    images
        complex64 (ny, nx) each, see `csmri_ext.data.Images`.
    masks
        Settings to draw from.
    size
        Rows and columns of the samples; None: those of each image.
    augmentation
        Random changes of the images; None: none.
    length
        Samples of an epoch, drawn from all images at random; None: every image once, in order, mask settings in turn,
        masks that do not change from epoch to epoch (a test set).
    seed, epoch
        Of the random numbers.
    """

    def __init__(
        self,
        images: Sequence[NDArray[np.complex64]],
        masks: Masks,
        *,
        size: int | None = None,
        augmentation: Augmentation | None = None,
        length: int | None = None,
        seed: int = 0,
        epoch: int = 0,
    ) -> None:
        if not len(images):
            raise ValueError("a set without images")
        self.images, self.masks, self.size = images, masks, size
        self.augmentation = augmentation or Augmentation()
        self.length, self.seed, self.epoch = length, seed, epoch

    def __len__(self) -> int:
        return len(self.images) if self.length is None else self.length

    def __getitem__(self, i: int) -> Sample:
        if not 0 <= i < len(self):
            raise IndexError(i)  # ends a for loop over the set
        rng = np.random.default_rng([self.seed, 7, self.epoch if self.length else 0, i])
        chosen, setting = (
            (i, i) if self.length is None else (int(rng.integers(len(self.images))), int(rng.integers(720)))
        )
        image = self.augmentation(self.images[chosen], self.size, rng)
        peak = np.abs(image).max()
        target = torch.from_numpy(image / peak if peak > 0 else image)
        mask = self.masks.draw(setting, image.shape, int(rng.integers(2**31)))
        return Sample(fft2c(target) * mask, mask, target)
