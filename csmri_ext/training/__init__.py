"""Train reconstruction networks with Lightning: needs ``pip install csmri_ext[train]``."""

from __future__ import annotations

from csmri_ext.training.datamodule import ReconstructionData
from csmri_ext.training.fit import Run, fit
from csmri_ext.training.module import LOSSES, ReconstructionTask
from csmri_ext.training.recipes import RECIPES, Recipe

__all__ = ["LOSSES", "RECIPES", "Recipe", "ReconstructionData", "ReconstructionTask", "Run", "fit"]
