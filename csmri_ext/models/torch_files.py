"""State dicts in files of ``torch.save``, read without running what is in them.

``torch.load(weights_only=True)`` builds tensors and plain containers and nothing else; a file that wants more is
refused, not unpickled.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from csmri_ext.errors import InputError
from csmri_ext.models.foreign_files import what_it_is

_CONTAINERS = ("state_dict", "model_state_dict", "model")


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read names and tensors of a file of ``torch.save``.

    Parameters
    ----------
    path
        A state dict, or a dictionary that has one as "state_dict", "model" or "model_state_dict".

    Raises
    ------
    InputError
        If the file is damaged, contains other objects than tensors, or no state dict.
    """
    content = read_objects(path)
    for key in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path}: no state dict, which maps names to tensors")
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a checkpoint of `csmri_ext.training`, or any state dict.

    Returns
    -------
        What rebuilds the network, ``{"name": ..., **overrides}``, empty where the file does not say; and its weights.

    Raises
    ------
    InputError
        As `read_state_dict`.
    """
    state = read_state_dict(path)
    prefix = "network."
    if all(name.startswith(prefix) for name in state):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    content = read_objects(path)
    settings = content.get("hyper_parameters", {}) if isinstance(content, Mapping) else {}
    settings = settings.get("settings", {}) if isinstance(settings, Mapping) else {}
    return dict(settings) if isinstance(settings, Mapping) else {}, state


def read_objects(path: str | os.PathLike[str], what: str = "weights") -> Any:
    """Read a file of ``torch.save``: tensors, numbers, text and plain containers of them.

    Parameters
    ----------
    path
        The file.
    what
        What it should hold, for the message.

    Raises
    ------
    InputError
        The file is damaged, or contains other objects.
    OSError
        It does not exist or cannot be read.
    """
    with Path(path).open("rb") as file, warnings.catch_warnings():  # a missing file keeps its own error
        warnings.simplefilter("ignore")  # about the pickle protocol of files that are refused anyway
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception as error:  # a damaged pickle can make any opcode fail in any way
            refused = "Unsupported" in str(error) or "WeightsUnpickler" in str(error)
            known = what_it_is(path)
            if known or not refused:
                raise InputError(
                    f"{path}: cannot read {what}, it is truncated or no file of torch.save{known}"
                ) from error
            raise InputError(
                f"{path}: cannot read {what}, it contains objects other than tensors, which could run code: where it "
                "was made, torch.save(network.state_dict(), FILE) writes the weights alone"
            ) from error
