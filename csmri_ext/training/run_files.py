"""The files of a training in its folder: their names, which of them say that a run of ours was there, their removal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from csmri_ext.bridge.folder_lock import LOCK_FILE
from csmri_ext.outputs import existing

RUN, CHECKPOINT, PREVIOUS, SUMMARY = "run.json", "last.ckpt", "previous.ckpt", "summary.json"
CURVES, LOGS = "curves.png", ("csv", "tensorboard")
MARKS = (RUN, CHECKPOINT, PREVIOUS, LOCK_FILE)
WRITTEN = (RUN, CHECKPOINT, PREVIOUS, SUMMARY, CURVES, *(f"{folder}/part_*" for folder in LOGS))
"""As `csmri_ext.outputs.existing` takes them; the weights are called as the network, see `weights_name`."""


def weights_name(network: str) -> str:
    """Name the file of a network's weights."""
    return f"{network}.safetensors"


def discard_run(folder: Path) -> None:
    """Remove the files of a run, and its folder if nothing else is there."""
    try:
        weights = [weights_name(json.loads((folder / RUN).read_text())["name"])]
    except (OSError, ValueError, TypeError, KeyError):
        weights = []
    for path in existing(folder, (*weights, *WRITTEN, LOCK_FILE)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for path in (*(folder / name for name in LOGS), folder):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
