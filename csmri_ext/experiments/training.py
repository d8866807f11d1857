"""Networks of an experiment: trained where they are not yet, then methods like those of the comparison."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from csmri_ext.data import evenly_spaced
from csmri_ext.experiments.experiment import Experiment, ExperimentSetting
from csmri_ext.experiments.images import Prepared
from csmri_ext.recon.methods import Method, as_method
from csmri_ext.recon.network_method import Network
from csmri_ext.training.run_files import weights_name

if TYPE_CHECKING:
    from torch import nn

    from csmri_ext.training import Recipe

VALIDATED_SLICES = 18


@dataclass(frozen=True)
class Training:
    """How the networks of an experiment are trained.

    Attributes
    ----------
    folder
        Holds one folder of a run per setting and network.
    recipe
        The experiment's, with the number of steps wanted; the setting replaces its masks.
    seed, accelerator, workers
        As in `csmri_ext.training.Run`.
    steps_per_epoch
        Steps between checkpoints.
    """

    folder: Path
    recipe: Recipe
    seed: int
    accelerator: str
    workers: int
    steps_per_epoch: int

    def run_folder(self, setting: ExperimentSetting, network: str) -> Path:
        """Folder of one run."""
        return self.folder / setting.stem / network

    def weights(self, experiment: Experiment, setting: ExperimentSetting, network: str) -> Path:
        """File that a finished run leaves."""
        return self.run_folder(setting, network) / weights_name(experiment.model(network))


def train(
    training: Training, experiment: Experiment, setting: ExperimentSetting, name: str, images: Prepared
) -> Method:
    """Train a network at one setting, or go on, or take it as it is where it is ready.

    Parameters
    ----------
    training, experiment, setting, name
        What is trained, and how.
    images
        The images.

    Returns
    -------
        The network as a method called `name`.

    Raises
    ------
    InputError
        The folder of the run holds a run with other settings.
    """
    from csmri_ext.models import build
    from csmri_ext.training import Run, fit

    overrides = experiment.overrides(name, real=images.real)
    recipe = replace(training.recipe, masks=(setting.path or setting.mask,), accelerations=setting.accelerations)
    folder = training.run_folder(setting, name)
    model = experiment.model(name)
    file = training.weights(experiment, setting, name)
    if not file.is_file():  # written when the last step is done
        run = Run(
            folder,
            model,
            recipe,
            seed=training.seed,
            files={part.name: images.files[part.name] for part in images.train.parts if part.name in images.files},
            data=f"{experiment.title}; {len(images.train.parts)} volumes, {images.format}",
            steps_per_epoch=min(training.steps_per_epoch, recipe.steps),
            validate_every=1,
            accelerator=training.accelerator,
            workers=training.workers,
            overrides=overrides,
        )
        validation = evenly_spaced(images.validation, VALIDATED_SLICES)
        fit(partial(build, model, overrides), images.train, validation, run)

    def with_weights(_: str, pretrained: bool = False) -> nn.Module:
        from csmri_ext.models import build, load_weights

        module = build(model, overrides)
        if pretrained:
            load_weights(module, file)
        return module

    return as_method(Network(name, with_weights, file), f"trained at {setting.title}")
