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

from csmri_ext.experiments.published import Score, Scores


@dataclass(frozen=True)
class ExperimentSetting:
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
    """What a paper prints about the size of one network; empty where it does not.

    Attributes
    ----------
    parameters, flops
        As printed, with a question mark behind where the number contradicts others; FLOPs per slice of `FLOPS_SIZE`.
    relu
        Whether the paper's count has one operation per output of a ReLU.
    """

    parameters: str = ""
    flops: str = ""
    relu: bool = False


@dataclass(frozen=True)
class Variant:
    """A network of a table that has another name, or other settings, than a model of the package.

    Attributes
    ----------
    model
        Name for `csmri_ext.models.build`.
    overrides
        Settings that differ from the model's own.
    count
        What a sweep counts: its cascades, or its cells.
    """

    model: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    count: int = 0


@dataclass(frozen=True)
class Experiment:
    """One table, or one figure, of a paper.

    Attributes
    ----------
    title
        What the table shows.
    networks
        Names for `csmri_ext.models.build`, or of `variants`, each with the published counts.
    recipe
        A name in `csmri_ext.training.RECIPES`; its masks and accelerations are replaced by those of the setting.
    settings
        Every network is trained and tested once per setting.
    images
        The images of the paper.
    split
        Shares of training, validation and test patients; with `n_volumes` scans of each part.
    epochs
        Of the paper.
    n_volumes
        Scans of the paper's experiment; None: all there are.
    acquisitions
        What fastMRI's files call the scans of the paper, ``CORPDFS_FBK`` or ``AXT2``; empty: all.
    methods
        Methods of the comparison that need no training.
    magnitude
        Whether images become real, with zero phase.
    one_channel
        Networks that the paper built for real images: they have one channel where the images are real.
    scores
        What the paper prints, by the format of the images, ``"NIfTI"`` or ``"fastMRI HDF5"``, and by the title of the
        setting.
    variants
        Networks with other settings, by name.
    sweep
        What the networks differ in, ``cascades`` or ``cells``: quality and cost are drawn over its number.
    notes
        Known inconsistencies of the published table; see also docs/reproduce.md.
    """

    title: str
    networks: Mapping[str, Published]
    recipe: str
    settings: tuple[ExperimentSetting, ...]
    images: str
    split: tuple[float, float, float]
    epochs: int
    n_volumes: int | None = None
    acquisitions: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("zero-filled",)
    magnitude: bool = False
    one_channel: tuple[str, ...] = ()
    scores: Mapping[str, Mapping[str, Scores]] = field(default_factory=dict)
    variants: Mapping[str, Variant] = field(default_factory=dict)
    sweep: str = ""
    notes: tuple[str, ...] = ()

    def model(self, network: str) -> str:
        """Name of the model behind a network of the table."""
        return self.variants[network].model if network in self.variants else network

    def overrides(self, network: str, *, real: bool) -> dict[str, Any]:
        """Give what differs from the model's own settings; `real` says whether the images have no phase."""
        own = dict(self.variants[network].overrides) if network in self.variants else {}
        return own | ({"in_chans": 1} if real and network in self.one_channel else {})

    def score(self, images: str, setting: ExperimentSetting, name: str, metric: str) -> Score | None:
        """Find what the paper prints for a network or method; None where it does not."""
        return self.scores.get(images, {}).get(setting.title, {}).get(name, {}).get(metric)


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
