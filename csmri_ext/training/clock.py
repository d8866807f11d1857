"""`Clock`: how long a run has trained and how well, over all of its starts; without a progress bar it tells so."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback


class Clock(Callback):
    """Count seconds of training, and print a line after each epoch where stderr is not a terminal.

    Parameters
    ----------
    steps
        Steps of the whole run.

    Attributes
    ----------
    seconds
        Time spent so far; kept in the checkpoint.
    val_psnr
        Of the last validation; kept in the checkpoint. None before the first.
    """

    def __init__(self, steps: int) -> None:
        self.steps, self.seconds = steps, 0.0
        self.val_psnr: float | None = None
        self._last = time.perf_counter()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Start to count."""
        self._last = time.perf_counter()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Add up and tell."""
        now = time.perf_counter()
        took, self._last = now - self._last, now
        self.seconds += took
        if "val_psnr" in trainer.callback_metrics:
            self.val_psnr = float(trainer.callback_metrics["val_psnr"])
        if not trainer.is_global_zero or sys.stderr.isatty():
            return
        metrics = trainer.callback_metrics
        told = [f"{name} {float(metrics[key]):.4g}" for name, key in _TOLD.items() if key in metrics]
        left = timedelta(seconds=round(self.seconds / trainer.global_step * (self.steps - trainer.global_step)))
        sys.stderr.write(f"step {trainer.global_step}/{self.steps}  {'  '.join(told)}  {left} left\n")

    def state_dict(self) -> dict[str, Any]:
        """Time and quality so far."""
        return {"seconds": self.seconds, "val_psnr": self.val_psnr}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.seconds, self.val_psnr = float(state_dict["seconds"]), state_dict.get("val_psnr")


_TOLD = {"loss": "loss_epoch", "validation PSNR": "val_psnr"}
