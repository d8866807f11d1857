"""Images and k-space to train with: files by volume, drawn phantoms, undersampled sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csmri_ext.data.images import Images, ImageVolume, evenly_spaced, open_images, split_by_volume
from csmri_ext.data.shards import PhantomSettings, phantom_shards
from csmri_ext.data.transforms import Augmentation

if TYPE_CHECKING:
    from csmri_ext.data.dataset import Masks, UndersampledImages
    from csmri_ext.data.measurement import Measurement, Sample, stacked

__all__ = [
    "Augmentation",
    "ImageVolume",
    "Images",
    "Masks",
    "Measurement",
    "PhantomSettings",
    "Sample",
    "UndersampledImages",
    "evenly_spaced",
    "open_images",
    "phantom_shards",
    "split_by_volume",
    "stacked",
]


def __getattr__(name: str) -> Any:
    # the sets of samples need torch, which the phantom and the files do without
    if name in ("Masks", "UndersampledImages"):
        from csmri_ext.data import dataset

        return getattr(dataset, name)
    if name in ("Measurement", "Sample", "stacked"):
        from csmri_ext.data import measurement

        return getattr(measurement, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
