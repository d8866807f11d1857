"""How networks are trained: the papers' recipes, and ours for the phantom. Data, not code."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """Everything about a training but the network and the images.

    Attributes
    ----------
    steps
        Optimiser steps.
    batch_size
        Slices per step, over all processes.
    learning_rate
        Of Adam.
    schedule
        ``constant``; ``step``: a tenth after half of the steps; ``decay``: linear warm-up over `warmup` steps,
        constant, then linear to zero over the last `decay` of the steps, so that a longer run shares its beginning.
    warmup, decay
        See `schedule`.
    loss
        A name in `csmri_ext.training.LOSSES`; or ``kspace``, the prediction of samples that were held back.
    masks, accelerations
        Mask settings; each slice draws one of all combinations.
    sizes
        Rows and columns of the training images, one per epoch in turn; 0: the images as they are. Without a reference
        scans keep their size, and 0 means an epoch without strips.
    strip
        Rows of the training images under masks of whole columns, which are then as wide as the image: such a mask mixes
        pixels of one row only, so a strip is an exact problem at a part of the cost. 0: they have `sizes` too, as all
        have in epochs of whole images.
    resolution, mirror, magnitude
        Of `csmri_ext.data.Augmentation`.
    target, coils, true_maps, cropped_maps, phase, echo_shift, noise
        Of `csmri_ext.data.Measurement`. `coils` is for images without a coil axis; files of several coils keep theirs
        unless all entries are 1.
    loss_share, splits
        Of `csmri_ext.data.scans.HeldBackSamples`, where the loss is ``kspace``: training without a reference.
    ema
        Decay per step of the exponential moving average of the weights that is validated and saved; 0: the weights
        themselves.
    clip
        Largest norm of the gradient; 0: no limit.
    source
        Where the numbers are from.
    """

    steps: int
    batch_size: int = 2
    learning_rate: float = 1e-3
    schedule: str = "constant"
    warmup: int = 0
    decay: float = 0.3
    loss: str = "l1"
    masks: tuple[str, ...] = ("random",)
    accelerations: tuple[float, ...] = (4.0, 8.0)
    sizes: tuple[int, ...] = (0,)
    resolution: tuple[float, float] = (1.0, 1.0)
    mirror: bool = False
    magnitude: float = 0.0
    strip: int = 0
    target: str = "combined"
    coils: tuple[int, ...] = (1,)
    true_maps: float = 0.2
    cropped_maps: float = 0.0
    phase: float = 0.0
    echo_shift: float = 0.0
    noise: tuple[float, float] = (0.0, 0.0)
    loss_share: float = 0.4
    splits: int = 0
    ema: float = 0.0
    clip: float = 0.0
    source: str = ""


_PHANTOM = Recipe(
    steps=16_000,
    batch_size=1,
    learning_rate=1.5e-3,
    schedule="decay",
    warmup=300,
    loss="l1+ssim",
    masks=("random", "equispaced_fraction", "radial_golden", "radial_golden"),  # radial: small errors, small loss
    sizes=(*7 * (160,), 256, 320),
    resolution=(0.5, 1.0),
    mirror=True,
    magnitude=0.6,
    ema=0.999,
    clip=1.0,
    source="ours, for the weights that come with the package",
)

RECIPES: dict[str, Recipe] = {
    "nasn": Recipe(
        steps=113_160,  # 80 epochs of 2829 slices
        learning_rate=1e-3,
        schedule="step",
        source="NasN: Adam, 1e-3 for 40 epochs, then 1e-4 for 40; batch 2; L1; random masks, 4x and 8x alike",
    ),
    "ga-hqs": Recipe(
        steps=60_000,
        learning_rate=1e-4,
        masks=("random", "equispaced_fraction", "radial_golden"),
        source="GA-HQS: Adam, 1e-4, batch 2, 30 epochs; loss and steps are ours, the paper has one mask a run",
    ),
    "phantom": _PHANTOM,
    "measured": replace(
        _PHANTOM,
        masks=("random", "equispaced_fraction", "equispaced", "radial_golden", "radial_golden", "poisson"),
        sizes=(*8 * (160,), 256, 0),
        magnitude=0.3,
        strip=64,
        coils=(1, 1, 1, 4, 8, 12),
        cropped_maps=0.25,
        phase=0.7,
        echo_shift=4.0,
        noise=(0.001, 0.03),
        source="ours: data as they are measured, with one coil and with several, phase, shifted echoes and noise",
    ),
    "self-supervised": Recipe(
        loss="kspace",
        steps=8_000,
        batch_size=1,
        learning_rate=5e-4,
        schedule="decay",
        warmup=100,
        strip=64,
        sizes=(*9 * (1,), 0),
        ema=0.999,
        clip=1.0,
        source="SSDU: 40 % of the samples as loss, normalised l1 + l2 in k-space; steps, rate and strips are ours",
    ),
}
