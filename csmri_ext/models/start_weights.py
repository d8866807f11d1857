"""What a training takes over from a file of weights: what fits, and mu of the data steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from torch import Tensor, nn

from csmri_ext.errors import InputError
from csmri_ext.models.description import read_description
from csmri_ext.models.stored_names import named_as
from csmri_ext.models.weight_files import LOG_MU, learned_mu, read_weights
from csmri_ext.plugins import plugins

SHOWN = 6  # layers in a line


@dataclass(frozen=True)
class Start:
    """Weights of a file for a model.

    Attributes
    ----------
    weights
        Those that fit, by the names of the model.
    misfits
        One text for each layer of the model that stays as it is, and each of the file that has no place.
    """

    weights: dict[str, Tensor]
    misfits: list[str]

    def told(self, path: str | PathLike[str], of_mu: str = "") -> str:
        """Say in one line what of a file is taken over and what is not; nothing where all of it is.

        Parameters
        ----------
        path
            The file.
        of_mu
            What is said of mu, see `mu_of`; the parameters that have it are then no misfits.
        """
        misfits = [text for text in self.misfits if not (of_mu and LOG_MU in text)]
        more = len(misfits) - SHOWN
        rest = "; ".join(misfits[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
        texts = [of_mu] if of_mu else []
        texts += [f"all but these fit: {rest}"] if misfits else []
        return f"note: {path}: {'; '.join(texts)}" if texts else ""


def start_weights(model: nn.Module, path: str | PathLike[str], name: str = "") -> Start:
    """Read a file, and find what of it fits a model.

    Parameters
    ----------
    model
        Stays as it is; of its weights the names and shapes count, so that it may be on the device ``meta``.
    path
        ``.safetensors`` file, or a state dict or checkpoint of ``torch.save``.
    name
        Of the model: a file of which nothing fits may be one that its authors published.

    Raises
    ------
    InputError
        A file that is damaged, or of which nothing fits.
    OSError
        A file that does not exist or cannot be read.
    """
    own = model.state_dict()
    state = named_as(own, read_weights(path))
    plugin = plugins().get(name)
    if not own.keys() & state.keys() and plugin is not None and plugin.read is not None:
        state = plugin.read(path).state_dict()
    fitting = {key: state[key] for key, tensor in own.items() if key in state and state[key].shape == tensor.shape}
    other = [key for key in own if key in state and key not in fitting]
    misfits = [
        *(f"{each} is not in the file" for each in _layers([key for key in own if key not in state], own)),
        *(f"{key} is {tuple(state[key].shape)} in the file, {tuple(own[key].shape)} in the model" for key in other),
        *(f"{each} is not in the model" for each in _layers([key for key in state if key not in own], state)),
    ]
    found = Start(fitting, misfits)
    if not fitting:
        raise InputError(f"{path}: none of its weights fits {name or 'the model'}; {'; '.join(misfits[:SHOWN])}")
    return found


def load_fitting_weights(model: nn.Module, path: str | PathLike[str], name: str = "") -> list[str]:
    """Load what fits of a file into a model, to go on from there with what does not.

    Parameters
    ----------
    model
        Changed in place; weights that the file lacks, or has in another shape, stay as they are.
    path, name
        As in `start_weights`.

    Returns
    -------
        One text for each layer of the model that stays as it is, and each of the file that has no place.

    Raises
    ------
    InputError, OSError
        As `start_weights`; the model is then unchanged.
    """
    found = start_weights(model, path, name)
    model.load_state_dict(model.state_dict() | found.weights)
    return found.misfits


def mu_of(path: str | PathLike[str], *, learns: bool) -> tuple[Any, str]:
    """Find the option ``mu`` that gives a network the data steps with which the weights of a file were trained.

    A file has mu as an option or, where it was learned, as a parameter; and the new network learns it or does not.
    Learned numbers that follow the noise of the data, as all do that did not start at one number, are the same as
    constants, one for each step (`csmri_ext.nn.ProximalSteps`).

    Parameters
    ----------
    path
        File of weights.
    learns
        Whether the new network does (``trainable_mu``).

    Returns
    -------
        ``mu``, None where the file has none to take over; and what to tell the user, perhaps nothing.

    Raises
    ------
    InputError, OSError
        A file that cannot be read.
    """
    mu = read_description(path).overrides.get("mu")
    learned = list(learned_mu(read_weights(path)).values())
    if not learned:
        how = "where its learning starts" if learns else "as constants"
        return mu, "" if mu is None else f"mu {_written(mu)} of the file, {how}"
    if learns:
        return mu, ""
    if isinstance(mu, (int, float)):
        return None, "the mu that it learned, the same for any noise, is left out: --set trainable_mu=true keeps it"
    found = [round(float(each), 7) for each in learned[0].double().exp().reshape(-1)]
    return found, f"mu {_written(found)}, as the file learned it, as constants"


def _written(mu: float | Sequence[float]) -> str:
    return ",".join(f"{each:.4g}" for each in ([mu] if isinstance(mu, (int, float)) else mu))


def _layers(names: Sequence[str], whole: Mapping[str, Tensor]) -> list[str]:
    """Say which weights these are: those of a layer that is among them as a whole by its name alone."""
    chosen, found = set(names), dict[str, None]()
    for name in names:
        parts = name.split(".")
        parents = [".".join(parts[:n]) for n in range(1, len(parts))]
        inside = {parent: {key for key in whole if key.startswith(f"{parent}.")} for parent in parents}
        layers = [parent for parent, keys in inside.items() if len(keys) > 1 and keys <= chosen]
        found[layers[0] if layers else f"{name} {tuple(whole[name].shape)}"] = None
    return list(found)
