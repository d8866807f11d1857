"""A published table as data: which networks learn what from which images, and the published numbers beside.

Packages bring experiments through entry points of the group ``csmri_ext.experiments``: mappings of names to
`Experiment`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One condition of training and test; with several accelerations, each slice and each test volume has one.

    Attributes
    ----------
    mask
        Kind of mask, or name of the file of one.
    accelerations
        Nominal undersampling factors; test volumes take them in turn.
    path
        Where the file of the mask is.
    """

    mask: str
    accelerations: tuple[float, ...]
    path: str | None = None

    @property
    def title(self) -> str:
        """For example ``random 4x and 8x``."""
        return f"{self.mask} {' and '.join(f'{r:g}x' for r in self.accelerations)}"

    @property
    def stem(self) -> str:
        """For names of files: ``random_R4_R8``."""
        return f"{self.mask}_{'_'.join(f'R{r:g}' for r in self.accelerations)}"


@dataclass(frozen=True)
class Published:
    """What a paper prints about one network; what our notes lack is left out.

    Attributes
    ----------
    parameters, flops
        As printed; FLOPs per slice of `FLOPS_SIZE`.
    psnr, ssim
        By the title of the setting.
    """

    parameters: str = ""
    flops: str = ""
    psnr: Mapping[str, float] = field(default_factory=dict)
    ssim: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """One table of a paper.

    Attributes
    ----------
    title
        What the table shows.
    networks
        Names for `csmri_ext.models.build`, each with the published numbers.
    recipe
        A name in `csmri_ext.training.RECIPES`; its masks and accelerations are replaced by those of the setting.
    settings
        Every network is trained and tested once per setting.
    images
        The images of the paper.
    split
        Shares of training, validation and test patients.
    n_volumes
        Patients of the paper's experiment; None: all there are.
    methods
        Methods of the comparison that need no training.
    magnitude
        Whether images become real, with zero phase.
    one_channel
        Networks that the paper built for real images: they have one channel where the images are real.
    scores_for
        Format of the images for which the published scores hold, ``"NIfTI"`` or ``"fastMRI HDF5"``.
    notes
        Known inconsistencies of the published table; see also docs/reproduce.md.
    """

    title: str
    networks: Mapping[str, Published]
    recipe: str
    settings: tuple[Setting, ...]
    images: str
    split: tuple[float, float, float]
    n_volumes: int | None = None
    methods: tuple[str, ...] = ("zero-filled",)
    magnitude: bool = False
    one_channel: tuple[str, ...] = ()
    scores_for: str = ""
    notes: tuple[str, ...] = ()

    def overrides(self, network: str, *, real: bool) -> dict[str, Any]:
        """Give what differs from the network's own settings; `real` says whether the images have no phase."""
        return {"in_chans": 1} if real and network in self.one_channel else {}


SIZES = {"fastMRI HDF5": 320, "NIfTI": 256}
"""Rows and columns of the papers' images, by format: fastMRI's are cut to it, IXI's cut or padded with zeros."""

FLOPS_SIZE = 320
"""Rows and columns for which the NasN paper counts operations."""


@cache
def experiments() -> Mapping[str, Experiment]:
    """All experiments by the name that ``csmri reproduce`` takes."""
    return {
        name: found for entry in entry_points(group="csmri_ext.experiments") for name, found in entry.load().items()
    }
