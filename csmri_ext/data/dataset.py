"""Undersampled k-space with its image: what a reconstruction network is trained and tested on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from csmri_ext.bridge import FileFormatError
from csmri_ext.bridge.mask_file import fit_mask, is_mask_file, read_mask
from csmri_ext.data.images import first_filled
from csmri_ext.data.measurement import Measurement, Sample
from csmri_ext.data.transforms import Augmentation, Size, lower_size, section
from csmri_ext.errors import InputError
from csmri_ext.physics import make_mask, mask_kinds
from csmri_ext.physics.masks.columns import COLUMN_RULES

_MOST_TRIES = 20


@dataclass(frozen=True)
class Masks:
    """The mask settings of a training or test set; every combination is as likely.

    Attributes
    ----------
    kinds
        Names of `csmri_ext.physics.mask_kinds`, or files of masks (`bridge.mask_file`), which fit the size of the
        images and have no acceleration but their own.
    accelerations
        Nominal undersampling factors. The centre is ``0.32 / R`` of the columns, fastMRI's 0.08 at 4x, 0.04 at 8x.
    """

    kinds: tuple[str, ...] = ("random",)
    accelerations: tuple[float, ...] = (4.0, 8.0)

    def __post_init__(self) -> None:
        files = {kind for kind in self.kinds if kind not in mask_kinds() and is_mask_file(kind)}
        for file in files:
            _mask_of_file(file)
        unknown = set(self.kinds) - set(mask_kinds()) - files
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

    def parts(self) -> list[Masks]:
        """Split into the kinds of whole columns and those of the plane; a part without kinds is left out."""
        split = [tuple(kind for kind in self.kinds if _of_columns(kind) == whole) for whole in (True, False)]
        return [Masks(kinds, self.accelerations) for kinds in split if kinds]

    @property
    def of_columns(self) -> bool:
        """Whether every kind acquires whole columns."""
        return all(_of_columns(kind) for kind in self.kinds)

    def require_fit(self, sizes: Sequence[int], *, strips: bool) -> None:
        """Refuse masks of files that do not fit images of these rows and columns; 0 is any size.

        Parameters
        ----------
        sizes
            Of `Recipe`.
        strips
            Masks of whole columns see strips as wide as the image, whatever `sizes` says.

        Raises
        ------
        ValueError
            Names the mask and the size.
        """
        for kind in dict.fromkeys(self.kinds):
            if kind in mask_kinds() or (strips and _of_columns(kind)):
                continue
            for size in dict.fromkeys(n for n in sizes if n):
                try:
                    fit_mask(_mask_of_file(kind), (size, size))
                except ValueError:
                    extents = " x ".join(map(str, _mask_of_file(kind).shape))
                    raise ValueError(
                        f"mask {kind} ({extents}) does not fit training images of {size} x {size}: --size 0 trains on "
                        "whole images"
                    ) from None

    def require_drawable(self, shapes: Iterable[tuple[int, int]], sizes: Sequence[int], strip: int) -> None:
        """Refuse settings that cannot be drawn: an acceleration that leaves nothing of so small an image.

        Parameters
        ----------
        shapes
            (ny, nx) of images.
        sizes, strip
            Of `Recipe`; 0 is that of the images.

        Raises
        ------
        InputError
            Names the mask and the shape.
        """
        drawn = [kind for kind in dict.fromkeys(self.kinds) if kind in mask_kinds()]
        for (ny, nx), size, kind in product(shapes, dict.fromkeys(sizes), drawn):
            in_strips = strip and size and _of_columns(kind)
            shape = (strip, nx) if in_strips else (size or ny, size or nx)
            for acceleration in self.accelerations:
                Masks((kind,), (acceleration,)).draw(0, shape, 0)

    def draw(self, number: int, shape: tuple[int, int], seed: int | str) -> Tensor:
        """Mask of setting `number` for images of `shape`, bool (ny, nx)."""
        kind, acceleration = self.setting(number)
        if kind not in mask_kinds():
            try:
                return torch.from_numpy(fit_mask(_mask_of_file(kind), shape)[0]).expand(shape)
            except ValueError as error:
                raise FileFormatError(f"{kind}: {error}") from error
        try:
            return make_mask(kind, shape, acceleration, seed=seed).expand(shape)
        except ValueError as error:
            ny, nx = shape
            raise InputError(f"mask {kind} {acceleration:g}x for images of {ny} x {nx}: {error}") from error


@lru_cache(maxsize=64)
def _mask_of_file(path: str) -> NDArray[np.bool_]:
    return read_mask(path)


def _of_columns(kind: str) -> bool:
    """Whether a kind, or the mask of a file, acquires whole columns."""
    if kind in mask_kinds():
        return kind in COLUMN_RULES
    mask = _mask_of_file(kind)
    return mask.ndim == 1 or bool((mask == mask[0]).all())


class _Form(NamedTuple):
    """What all samples of a batch share: kinds of masks, coils, size, resolution (None: each its own), and strips."""

    masks: Masks
    n_coils: int
    size: Size
    fraction: float | None
    rows: int | None


class UndersampledImages(Dataset[Sample]):
    """Images under masks, reproducible: sample i of an epoch depends on the seed, the epoch and i alone.

    Samples ``k batch_size ... (k + 1) batch_size - 1`` have one shape and one number of coils: images of another size
    are cut or lie amid zeros, so that any files can be mixed.

    Parameters
    ----------
    images
        complex64 (ny, nx) each, or (coils, ny, nx) where they were measured with several coils, see
        `csmri_ext.data.Images`.
    masks
        Settings to draw from.
    size
        Rows and columns of the samples; None: those of each image.
    augmentation
        Random changes of the images; None: none.
    measurement
        Coils, phase and noise; None: one coil, the image as it is.
    strip
        Rows of the samples under masks of whole columns, which are then as wide as the image; 0: they have `size` too.
    length
        Samples of an epoch, drawn from all images at random; None: every image once, in order, mask settings in turn,
        masks that do not change from epoch to epoch (a test set).
    batch_size
        See above; a test set has batches of one.
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
        measurement: Measurement | None = None,
        strip: int = 0,
        length: int | None = None,
        batch_size: int = 1,
        seed: int = 0,
        epoch: int = 0,
    ) -> None:
        if not len(images):
            raise ValueError("a set without images")
        self.images, self.masks, self.size, self.strip = images, masks, size, strip
        self.augmentation, self.measurement = augmentation or Augmentation(), measurement or Measurement()
        self.length, self.batch_size, self.seed, self.epoch = length, batch_size, seed, epoch

    def __len__(self) -> int:
        return len(self.images) if self.length is None else self.length

    def __getitem__(self, i: int) -> Sample:
        if not 0 <= i < len(self):
            raise IndexError(i)  # ends a for loop over the set
        rng = np.random.default_rng([self.seed, 7, self._epoch, i])
        setting = i if self.length is None else int(rng.integers(720))
        form, image = self._form(i)
        if i % self.batch_size:
            image = self._alike(image, rng)
        image = self.augmentation(image, form.size, rng, form.fraction)
        if form.rows is not None and image.shape[-2] < form.rows:
            image = section(image, (form.rows, None), rng)
        peak = (np.linalg.norm(image, axis=0) if image.ndim == 3 else np.abs(image)).max()
        mask = form.masks.draw(setting, (image.shape[-2], image.shape[-1]), int(rng.integers(2**31)))
        return self.measurement(image / peak if peak > 0 else image, mask, form.n_coils, rng, form.rows)

    @property
    def _epoch(self) -> int:
        return 0 if self.length is None else self.epoch

    def _form(self, i: int) -> tuple[_Form, NDArray[np.complex64]]:
        """Draw what the batch of sample i shares, and its first image, which has a say in it."""
        rng = np.random.default_rng([self.seed, 11, self._epoch, i // self.batch_size])
        image = self.images[i] if self.length is None else self._drawn(rng)
        n_coils = int(rng.choice(self.measurement.coils))
        masks, rows, size = self.masks, None, (self.size, self.size)
        if self.strip:
            parts = self.masks.parts()
            masks = parts[int(rng.choice(len(parts), p=[len(part) / len(self.masks) for part in parts]))]
            if masks.of_columns:
                rows, size = self.strip, (None, None)
        fraction = None
        if self.batch_size > 1 and None in size:
            fraction = float(rng.uniform(*self.augmentation.resolution))
            size = lower_size(image.shape, fraction)
        return _Form(masks, n_coils, size, fraction, rows), image

    def _drawn(self, rng: np.random.Generator) -> NDArray[np.complex64]:
        """Draw an image; one that is zero everywhere is drawn again."""
        return first_filled(self.images, (int(rng.integers(len(self.images))) for _ in range(_MOST_TRIES)))[1]

    def _alike(self, first: NDArray[np.complex64], rng: np.random.Generator) -> NDArray[np.complex64]:
        """Draw an image with as many coils as the first of the batch; after some misses that one serves again."""
        for _ in range(_MOST_TRIES):
            image = self._drawn(rng)
            if image.shape[:-2] == first.shape[:-2]:
                return image
        return first
