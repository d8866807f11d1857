"""One training run in one folder: started, killed, resumed, finished."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from torch import nn

from csmri_ext.bridge.atomic import clear_leftovers, replacing
from csmri_ext.bridge.file_marks import what_changed
from csmri_ext.bridge.folder_lock import working_alone
from csmri_ext.bridge.mask_file import is_mask_file, read_mask
from csmri_ext.data.images import Images
from csmri_ext.data.reading_words import same_reading
from csmri_ext.errors import InputError, one_line
from csmri_ext.models import Description, save_weights
from csmri_ext.models.stored_names import differences, named_as
from csmri_ext.models.torch_files import read_objects
from csmri_ext.outputs import require_free
from csmri_ext.physics import describe_mask
from csmri_ext.progress import is_silent
from csmri_ext.training.clock import Clock
from csmri_ext.training.curves import draw_curves
from csmri_ext.training.datamodule import ReconstructionData
from csmri_ext.training.module import ReconstructionTask
from csmri_ext.training.recipes import Recipe
from csmri_ext.training.run_files import CHECKPOINT, MARKS, PREVIOUS, RUN, SUMMARY, WRITTEN, weights_name
from csmri_ext.training.self_supervised import LOSS, SelfSupervisedData, SelfSupervisedTask


@dataclass(frozen=True)
class Run:
    """Where and how a network is trained.

    Attributes
    ----------
    folder
        Holds everything of the run: ``run.json``, ``last.ckpt`` and the one before it, ``previous.ckpt``, ``csv`` and
        ``tensorboard`` logs, ``curves.png``, at the end ``NAME.safetensors``. A run that is there already with the same
        settings goes on from its checkpoint; a finished one gets the same weights again.
    name
        Of the network.
    recipe
        The recipe; a resumed run may have another number of steps.
    seed
        Of weights, images and masks.
    data
        Where the images are from, in words, for the record.
    reading
        The options that say how their files are read, and which slices; for the record.
    files
        Which files they are, see `csmri_ext.bridge.file_marks`; none for phantoms.
    steps_per_epoch
        Steps between checkpoints.
    validate_every
        Epochs between validations.
    accelerator, devices, nodes, precision
        As in `lightning.Trainer`; several devices train with DDP.
    recompute
        As in `ReconstructionTask`.
    workers
        Processes per device that read ahead.
    """

    folder: Path
    name: str
    recipe: Recipe
    seed: int = 0
    data: str = ""
    reading: str = ""
    files: dict[str, str] = field(default_factory=dict)
    steps_per_epoch: int = 200
    validate_every: int = 5
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: str = "32-true"
    recompute: bool = False
    workers: int = 0
    overrides: dict[str, Any] = field(default_factory=dict)


class _WholeFiles(TorchCheckpointIO):
    """Checkpoints that replace the last one only when they are complete, and keep it as the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            super().save_checkpoint(checkpoint, temporary, storage_options)
            if Path(path).is_file():
                Path(path).replace(Path(path).with_name(PREVIOUS))


def fit(create: Callable[[], nn.Module], train: Images, validation: Sequence[NDArray[np.complex64]], run: Run) -> Path:
    """Train, or go on training, a network.

    Parameters
    ----------
    create
        Makes the network; called after the generators are seeded.
    train, validation
        Images of different subjects; for a recipe without a reference (its loss is ``kspace``) scans, see
        `csmri_ext.data.scans`.
    run
        Everything else.

    Returns
    -------
        The file of weights.

    Raises
    ------
    InputError
        The folder holds a run with other settings or of other files, the first one that differs is named; or it holds
        what no run of ours has made and this one would replace. Or the loss or the weights are not finite: the
        checkpoints of before are kept.
    OSError
        Another process trains in the folder, or it cannot be written.
    ValueError
        A batch that the devices cannot share.
    """
    first = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # the others are of the same training
    if first:
        require_free(run.folder, WRITTEN, MARKS)
    with working_alone(run.folder) if first else nullcontext():
        clear_leftovers(run.folder)
        return _fit(create, train, validation, run)


def _fit(create: Callable[[], nn.Module], train: Images, validation: Sequence[NDArray[np.complex64]], run: Run) -> Path:
    run.folder.mkdir(parents=True, exist_ok=True)
    _claim(run)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    lightning.seed_everything(run.seed, verbose=False)
    network = create()
    frozen = {name: value.detach().clone() for name, value in network.named_parameters() if not value.requires_grad}
    settings = {"name": run.name, **run.overrides}
    without_reference = run.recipe.loss == LOSS
    make_task = SelfSupervisedTask if without_reference else ReconstructionTask
    make_data = SelfSupervisedData if without_reference else ReconstructionData
    task = make_task(network, run.recipe, settings, recompute=run.recompute)
    data = make_data(
        train, validation, run.recipe, steps_per_epoch=run.steps_per_epoch, seed=run.seed, workers=run.workers
    )
    clock = Clock(run.recipe.steps)
    weights = run.folder / weights_name(run.name)
    checkpoint = _checkpoint(run.folder)
    found = None if checkpoint is None else _read_checkpoint(checkpoint, network)
    done = _finished(found, run.recipe.steps)
    if done is not None:
        # Lightning would skip the end of the training, where the average replaces the weights of the last step.
        _restore(network, done)
        network.load_state_dict(frozen, strict=False)
        clock.load_state_dict(done["callbacks"].get(clock.state_key, clock.state_dict()))
        rank_zero_only(_write)(network, weights, run, clock, done["global_step"])
        return weights
    part = f"part_{len(list((run.folder / 'csv').glob('part_*'))):03d}"
    with warnings.catch_warnings():
        # Advice of Lightning's that does not fit: reading a slice takes a tenth of a step.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*srun.*command is available.*")
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*is deprecated")
        trainer = lightning.Trainer(
            max_steps=run.recipe.steps,
            max_epochs=-1,
            accelerator=run.accelerator,
            devices=run.devices,
            num_nodes=run.nodes,
            strategy="ddp" if run.devices * run.nodes > 1 else "auto",
            precision=run.precision,  # type: ignore[arg-type]
            gradient_clip_val=run.recipe.clip or None,
            callbacks=_callbacks(run, clock),
            plugins=[_WholeFiles()],
            logger=[
                CSVLogger(run.folder, name="csv", version=part, flush_logs_every_n_steps=1),  # a kill loses no row
                TensorBoardLogger(run.folder, name="tensorboard", version=part),
            ],
            log_every_n_steps=min(50, run.steps_per_epoch),
            check_val_every_n_epoch=run.validate_every,
            num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
            enable_model_summary=False,
            enable_progress_bar=sys.stderr.isatty() and not is_silent(),
        )
        trainer.fit(task, data, ckpt_path=checkpoint, weights_only=True)
    if trainer.is_global_zero:
        network.load_state_dict(frozen, strict=False)  # the average of equal numbers is not quite equal to them
        _write(network, weights, run, clock, trainer.global_step)
    return weights


def _checkpoint(folder: Path) -> Path | None:
    """Find the last checkpoint; a kill between the two renames of a save leaves only the one before."""
    return next((path for path in (folder / CHECKPOINT, folder / PREVIOUS) if path.is_file()), None)


def _finished(checkpoint: dict[str, Any] | None, steps: int) -> dict[str, Any] | None:
    """Return a checkpoint of the last step or beyond; None where there is still something to train."""
    return checkpoint if checkpoint is not None and checkpoint["global_step"] >= steps else None


def _read_checkpoint(path: Path, network: nn.Module) -> dict[str, Any]:
    """Read a checkpoint, which is whole and of this network.

    Raises
    ------
    InputError
        It is not; says what can be done about it.
    """
    other = path.with_name(PREVIOUS)
    rest = f"goes on from {other}" if path != other and other.is_file() else "begins anew"
    advice = f": move it away, and the same command {rest}; or choose another folder"
    try:
        state = read_objects(path, "a checkpoint")
    except InputError as error:
        raise InputError(f"{error}{advice}") from error
    kinds = {"global_step": int, "state_dict": dict, "optimizer_states": list, "lr_schedulers": list, "callbacks": dict}
    if not isinstance(state, dict) or any(not isinstance(state.get(key), kind) for key, kind in kinds.items()):
        raise InputError(f"{path} is not the checkpoint of a training{advice}")
    weights = _weights_in(state)
    if not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise InputError(f"{path} is not the checkpoint of a training{advice}")
    own = network.state_dict()
    difference = differences(own, named_as(own, weights))
    if difference:
        raise InputError(f"{path} is the checkpoint of another network ({difference}){advice}")
    found: dict[str, Any] = state
    return found


def _restore(network: nn.Module, checkpoint: dict[str, Any]) -> None:
    """Load what the run validates and saves: with an average of the weights, that average."""
    network.load_state_dict(_weights_in(checkpoint))


def _weights_in(checkpoint: dict[str, Any]) -> dict[str, Any]:
    prefix = "network."
    return {key.removeprefix(prefix): x for key, x in checkpoint["state_dict"].items() if key.startswith(prefix)}


def _write(network: nn.Module, weights: Path, run: Run, clock: Clock, steps: int) -> None:
    with replacing(weights) as temporary:
        save_weights(network, temporary, _description(network, run, steps, clock).metadata())
    draw_curves(run.folder)
    _write_summary(run, clock, steps)


def _description(network: nn.Module, run: Run, steps: int, clock: Clock) -> Description:
    """Describe the result such that the file alone rebuilds the network, and says how it came about."""
    described = _described(run)
    known: dict[str, Any] = {
        key: described[key] for key in ("seed", "steps_per_epoch", "precision", "mask_files") if key in described
    }
    known |= {"steps": steps, **clock.validation}
    return Description.of(
        network, run.name, described["overrides"], recipe=described["recipe"], data=run.data, run=known
    )


def _callbacks(run: Run, clock: Clock) -> list[Callback]:
    found: list[Callback] = [
        clock,
        ModelCheckpoint(
            dirpath=run.folder,
            filename=CHECKPOINT.removesuffix(".ckpt"),
            enable_version_counter=False,
            every_n_epochs=1,
            save_on_train_epoch_end=True,
        ),
    ]
    if run.recipe.ema:
        found.append(EMAWeightAveraging(decay=run.recipe.ema))
    if sys.stderr.isatty() and not is_silent():
        found.append(RichProgressBar())
    return found


def _described(run: Run) -> dict[str, Any]:
    """Collect what decides the result, as JSON has it."""
    recipe = {key: value for key, value in asdict(run.recipe).items() if key != "source"}
    described = {
        "name": run.name,
        "overrides": run.overrides,
        "data": run.data,
        "reading": run.reading,
        "files": run.files,
        "seed": run.seed,
        "steps_per_epoch": run.steps_per_epoch,
        "precision": run.precision,
        "recipe": recipe,
    }
    files = {kind: describe_mask(read_mask(kind))["hash"] for kind in run.recipe.masks if is_mask_file(kind)}
    if files:
        described["mask_files"] = files
    found: dict[str, Any] = json.loads(json.dumps(described))
    return found


def _claim(run: Run) -> None:
    """Write the settings of a new run, or compare those of the old one; only the number of steps may change."""
    path, wanted = run.folder / RUN, _described(run)
    if path.is_file():
        record = _record(path)
        # An older version did not say how files are read nor which they are, and had in a recipe what is usual now.
        usual = json.loads(json.dumps(asdict(Recipe(steps=0))))
        before = {"reading": wanted["reading"], "files": wanted["files"], **record, **usual, **record["recipe"]}
        changed = what_changed(before["files"], wanted["files"])
        if changed and before["data"] == wanted["data"]:
            raise InputError(f"{run.folder} holds a run on other data of this name ({changed}): choose another folder")
        if same_reading(before["reading"], wanted["reading"]):
            before["reading"] = wanted["reading"]
        for key, value in {**wanted, **wanted["recipe"]}.items():
            old = before.get(key)
            if key not in ("recipe", "steps", "files") and old != value:
                raise InputError(f"{run.folder} holds a run with {key} {old!r}, not {value!r}: choose another folder")
    elif (weights := run.folder / weights_name(run.name)).exists():
        raise InputError(f"{weights} is there, and not of a run in this folder: choose another folder for the run")
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(wanted, indent=1) + "\n")


def _record(path: Path) -> dict[str, Any]:
    """Read the settings of an earlier run.

    Raises
    ------
    InputError
        The file is damaged, or of another program.
    """
    try:
        found = json.loads(path.read_text())
        if not isinstance(found["recipe"], dict):
            raise TypeError("its recipe is no mapping")
        if not isinstance(found.get("files", {}), dict):
            raise TypeError("its files are no mapping")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(
            f"{path} is not the record of a training ({one_line(error)}): choose another folder, or move the file "
            "away, and the same command goes on"
        ) from error
    record: dict[str, Any] = found
    return record


def _write_summary(run: Run, clock: Clock, steps: int) -> None:
    summary = {
        "steps": steps,
        "seconds": round(clock.seconds),
        "threads": torch.get_num_threads(),
        "val_psnr": None,
        **clock.validation,
    }
    with replacing(run.folder / SUMMARY) as temporary:
        temporary.write_text(json.dumps(summary, indent=1) + "\n")
