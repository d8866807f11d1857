"""`Clock`: how long a run has trained and how well, over all of its starts; without a progress bar it tells so."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from csmri_ext.progress import INTERVAL, log, remaining


class Clock(Callback):
    """Count seconds of training, and print a line after each epoch, and every few seconds, where stderr is no terminal.

    Parameters
    ----------
    steps
        Steps of the whole run.

    Attributes
    ----------
    seconds
        Time spent so far; kept in the checkpoint.
    val_psnr
        Of the last validation; kept in the checkpoint. None before the first, and without a reference.
    val_residual
        The same for training without a reference: the relative error of samples that were held back.
    """

    def __init__(self, steps: int) -> None:
        self.steps, self.seconds = steps, 0.0
        self.val_psnr: float | None = None
        self.val_residual: float | None = None
        self._last = self._told = time.perf_counter()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Start to count."""
        self._last = self._told = time.perf_counter()

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Tell the step after some seconds of silence."""
        loss = trainer.callback_metrics.get("loss_step", trainer.callback_metrics.get("loss"))
        self._tell_when_silent(trainer, "" if loss is None else f"  loss {float(loss):.4g}")

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Tell the slice after some seconds of silence."""
        count = trainer.num_val_batches
        self._tell_when_silent(trainer, f"  validating slice {batch_idx + 1} of {sum(count)}")

    def _tell_when_silent(self, trainer: lightning.Trainer, text: str) -> None:
        now = time.perf_counter()
        if now - self._told < INTERVAL or not trainer.is_global_zero or sys.stderr.isatty():
            return
        self._told = now
        _tell(f"step {trainer.global_step}/{self.steps}{text}{self._left(trainer, now - self._last)}")

    def _left(self, trainer: lightning.Trainer, unfinished: float = 0.0) -> str:
        """Time that the other steps will take, at the pace of all so far."""
        if not trainer.global_step:
            return ""
        return f"  {remaining(self.seconds + unfinished, trainer.global_step, self.steps)} left"

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Add up and tell."""
        now = time.perf_counter()
        took, self._last = now - self._last, now
        self.seconds += took
        for name in ("val_psnr", "val_residual"):
            if name in trainer.callback_metrics:
                setattr(self, name, float(trainer.callback_metrics[name]))
        if not trainer.is_global_zero or sys.stderr.isatty():
            return
        metrics = trainer.callback_metrics
        told = [f"{name} {float(metrics[key]):.4g}" for name, key in _TOLD.items() if key in metrics]
        self._told = now
        _tell(f"step {trainer.global_step}/{self.steps}  {'  '.join(told)}{self._left(trainer)}")

    @property
    def validation(self) -> dict[str, float]:
        """What the last validation found, where it is a number, rounded for the record."""
        found = {"val_psnr": (self.val_psnr, 4), "val_residual": (self.val_residual, 5)}
        return {
            name: round(value, digits)
            for name, (value, digits) in found.items()
            if value is not None and math.isfinite(value)
        }

    def state_dict(self) -> dict[str, Any]:
        """Time and quality so far."""
        return {"seconds": self.seconds, "val_psnr": self.val_psnr, "val_residual": self.val_residual}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.seconds = float(state_dict["seconds"])
        self.val_psnr, self.val_residual = state_dict.get("val_psnr"), state_dict.get("val_residual")


_TOLD = {"loss": "loss_epoch", "validation PSNR": "val_psnr", "held-back residual": "val_residual"}


def _tell(text: str) -> None:
    log().print(text, markup=False, highlight=False, soft_wrap=True)
