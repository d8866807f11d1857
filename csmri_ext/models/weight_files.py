"""Weights in safetensors files: numbers only, nothing in them is ever executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from csmri_ext.errors import InputError
from csmri_ext.models.description import read_description
from csmri_ext.models.foreign_files import what_it_is
from csmri_ext.models.stored_names import differences, named_as
from csmri_ext.models.torch_files import read_checkpoint

LOG_MU = "log_mu"  # last part of the name of a learned mu


def save_weights(model: nn.Module, path: str | PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Write parameters and buffers of a model; equal weights and metadata give equal bytes.

    Parameters
    ----------
    model
        Any module. Parameters that share memory are not supported; each network here owns its own.
    path
        ``.safetensors`` file.
    metadata
        Names and values to store along, strings.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    Path(path).write_bytes(_with_sorted_metadata(save(state, dict(metadata or {}))))


def load_weights(model: nn.Module, path: str | PathLike[str]) -> None:
    """Load what `save_weights` wrote into a model of the same structure.

    Parameters
    ----------
    model
        Changed in place, where everything fits; unchanged otherwise.
    path
        ``.safetensors`` file.

    Raises
    ------
    InputError
        A file that is not whole or not safetensors; or weights of another model: what is missing, has another shape,
        or is too much is named.
    OSError
        A file that does not exist or cannot be read.
    """
    assign(model, _read(path), path)


def assign(model: nn.Module, state: Mapping[str, Tensor], path: str | PathLike[str], name: str = "") -> None:
    """Load the weights of a file into a model, all of them or none.

    Parameters
    ----------
    model
        Changed in place, where everything fits; unchanged otherwise.
    state
        Weights by their names, before which wrappers of the network may have put something (`named_as`).
    path, name
        Of the file and of the model, for messages.

    Raises
    ------
    InputError
        Weights of another model: those that are missing, of another shape, or too many.
    """
    own = model.state_dict()
    state = named_as(own, state)
    told = differences(own, state)
    if told:
        raise InputError(f"{path}: weights of another model{f' than {name}' if name else ''}: {told}")
    model.load_state_dict(state)


def read_weights(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Read names and tensors of a ``.safetensors`` file, or of a state dict or checkpoint of ``torch.save``.

    Raises
    ------
    InputError
        A file that is damaged or holds no weights.
    OSError
        A file that does not exist or cannot be read.
    """
    return _read(path) if Path(path).suffix == ".safetensors" else read_checkpoint(path)[1]


def load_shipped_weights(model: nn.Module, name: str) -> None:
    """Load the weights that come with the package, ``csmri_ext/weights/NAME.safetensors``.

    Parameters
    ----------
    model
        Changed in place. Where mu of its data steps is learned and a constant of the weights, it stays as it is.
    name
        Of the model.

    Raises
    ------
    InputError
        If none come with this version, or they do not fit the model.
    """
    with as_file(_shipped(name)) as path:
        assign(model, {**learned_mu(model.state_dict()), **_read(path)}, path)


def learned_mu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Find mu of data steps among weights, by its names; none where it is a constant (`csmri_ext.nn.ProximalSteps`)."""
    return {key: tensor for key, tensor in state.items() if key.rpartition(".")[2] == LOG_MU}


def shipped_settings(name: str) -> dict[str, Any]:
    """Read how the model of shipped weights differs from the paper's: the overrides that its training recorded.

    Parameters
    ----------
    name
        Of the model.

    Raises
    ------
    InputError
        If none come with this version.
    """
    with as_file(_shipped(name)) as path:
        return read_description(path).overrides


def shipped_remark(name: str) -> str:
    """Say behind a name in a list whether weights come with the package: ``" (has weights)"`` or not."""
    return " (has weights)" if _place(name).is_file() else " (no weights)"


def _place(name: str) -> Traversable:
    return files("csmri_ext").joinpath("weights", f"{name}.safetensors")


def _shipped(name: str) -> Traversable:
    weights = _place(name)
    if not weights.is_file():
        raise InputError(f"no weights for {name} come with this version; create({name!r}) has random ones")
    return weights


def _read(path: str | PathLike[str]) -> dict[str, Tensor]:
    with Path(path).open("rb"):  # a missing file or a folder keeps its own error
        pass
    try:
        state: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}){what_it_is(path)}") from error
    return state


def _with_sorted_metadata(content: bytes) -> bytes:
    """Order the metadata of a safetensors file by name: the library's own order differs from run to run.

    A file is the length of its header in 8 bytes, the header in JSON, padded to eights, and the numbers.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]
