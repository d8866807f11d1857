"""Names of weights in files: what wrappers of a network put around them goes, what does not fit is said in one line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from torch import Tensor

from csmri_ext.nn.learned_number import with_axes_of

_INSIDE = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Parts of a name that torch.compile, FSDP and checkpointing add, anywhere."""
_AVERAGED = "n_averaged"  # that of torch.optim.swa_utils.AveragedModel counts, and is no weight

SHOWN = 4  # names of a kind in a message


def named_as(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights by the names that a network has, without what stands before all of them.

    Where no name is one of the network's, the beginning goes with which most of them are: ``model.``, ``module.``,
    ``network.module.``. What has another one keeps its name, and so has no place in the network.

    Parameters
    ----------
    expected
        State dict of the network.
    found
        That of a file, in which a single number may lack its axis.
    """
    state = {_without_wrappers(name): tensor for name, tensor in found.items()}
    if expected.keys() & state.keys():
        return with_axes_of(expected, state)
    state.pop(_AVERAGED, None)
    beginnings = Counter(
        name[:place]
        for name in state
        for place in (dot.end() for dot in re.finditer(r"\.", name))
        if name[place:] in expected
    )
    (beginning, count), *_ = [*beginnings.most_common(1), ("", 0)]
    if 2 * count < min(len(expected), len(state)):
        return with_axes_of(expected, found)
    return with_axes_of(expected, {name.removeprefix(beginning): tensor for name, tensor in state.items()})


def differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Say in one line which weights are missing, of another shape or too many; nothing where all fit.

    Parameters
    ----------
    expected
        State dict of the network.
    found
        Weights by the names of the network, see `named_as`.
    """
    missing = [f"{name} {tuple(tensor.shape)}" for name, tensor in expected.items() if name not in found]
    other = [
        f"{name} has shape {tuple(found[name].shape)}, the model's has {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    more = [f"{name} {tuple(tensor.shape)}" for name, tensor in found.items() if name not in expected]
    told = [
        _listed(missing) + (" are missing" if len(missing) > 1 else " is missing") if missing else "",
        _listed(other),
        _listed(more) + (" are not in the model" if len(more) > 1 else " is not in the model") if more else "",
    ]
    return "; ".join(text for text in told if text)


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - SHOWN
    return ", ".join(texts[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _INSIDE)
