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
from csmri_ext.models.torch_files import read_checkpoint
from csmri_ext.nn.learned_number import with_axes_of
from csmri_ext.plugins import plugins


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
        A file that is not whole or not safetensors; or weights of another model: the first name that differs is given
        with both shapes.
    OSError
        A file that does not exist or cannot be read.
    """
    state = _read(path)
    difference = first_difference(model.state_dict(), state)
    if difference:
        raise InputError(f"{path}: weights of another model: {difference}")
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


def load_fitting_weights(model: nn.Module, path: str | PathLike[str], name: str = "") -> list[str]:
    """Load what fits of a file into a model, to go on from there with what does not.

    Parameters
    ----------
    model
        Changed in place; weights that the file lacks, or has in another shape, stay as they are.
    path
        ``.safetensors`` file, or a state dict or checkpoint of ``torch.save``.
    name
        Of the model: a file of which nothing fits may be one that its authors published.

    Returns
    -------
        One text for each weight of the model that stays as it is, and each of the file that has no place.

    Raises
    ------
    InputError
        A file that is damaged, or of which nothing fits.
    OSError
        A file that does not exist or cannot be read.
    """
    own, misfits = model.state_dict(), []
    state = read_weights(path)
    plugin = plugins().get(name)
    foreign = Path(path).suffix != ".safetensors" and not own.keys() & state.keys()
    if foreign and plugin is not None and plugin.read is not None:
        state = plugin.read(path).state_dict()
    state = with_axes_of(own, state)
    for name, tensor in own.items():
        if name not in state:
            misfits.append(f"{name} {tuple(tensor.shape)} is not in the file")
        elif state[name].shape != tensor.shape:
            misfits.append(f"{name} is {tuple(state[name].shape)} in the file, {tuple(tensor.shape)} in the model")
    fitting = {name: state[name] for name in own if name in state and state[name].shape == own[name].shape}
    if not fitting:
        raise InputError(f"{path}: none of its weights fits the model; {misfits[0]}")
    misfits += [f"{name} {tuple(state[name].shape)} is not in the model" for name in state if name not in own]
    model.load_state_dict(own | fitting)
    return misfits


def load_shipped_weights(model: nn.Module, name: str) -> None:
    """Load the weights that come with the package, ``csmri_ext/weights/NAME.safetensors``.

    Parameters
    ----------
    model
        Changed in place.
    name
        Of the model.

    Raises
    ------
    InputError
        If none come with this version, or they do not fit the model.
    """
    with as_file(_shipped(name)) as path:
        load_weights(model, path)


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
        raise InputError(f"{path}: not a whole safetensors file ({error})") from error
    return state


def first_difference(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """Describe the first name, in the order of the model, whose shape differs; None where all agree.

    Parameters
    ----------
    expected, found
        State dicts of the model and of the file, in which a single number may lack its axis.
    """
    found = with_axes_of(expected, found)
    for name, tensor in expected.items():
        if name not in found:
            return f"{name} {tuple(tensor.shape)} is missing"
        if found[name].shape != tensor.shape:
            return f"{name} has shape {tuple(found[name].shape)}, the model's has {tuple(tensor.shape)}"
    for name, tensor in found.items():
        if name not in expected:
            return f"{name} {tuple(tensor.shape)} is not in the model"
    return None


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
