"""Single learned numbers: parameters with one element and one axis, as sharding (FSDP2) takes them.

Weights that were written when such numbers had no axis load as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def learned_number(value: float | Tensor) -> nn.Parameter:
    """Return a parameter of shape ``(1,)``.

    Parameters
    ----------
    value
        Where it starts.
    """
    return nn.Parameter(torch.as_tensor(value, dtype=torch.get_default_dtype()).reshape(1))


def load_numbers_without_axis(module: nn.Module) -> None:
    """Let ``module.load_state_dict`` take numbers without an axis for its parameters of shape ``(1,)``.

    Parameters
    ----------
    module
        The parameters may belong to modules inside it.
    """
    module.register_load_state_dict_pre_hook(_give_axes)


def with_axes_of(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `found` with an axis for each number that has none where `expected` has the shape ``(1,)``.

    Parameters
    ----------
    expected, found
        Tensors by name.
    """
    return {
        name: tensor.reshape(1) if tensor.ndim == 0 and name in expected and expected[name].shape == (1,) else tensor
        for name, tensor in found.items()
    }


def _give_axes(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, parameter in module.named_parameters():
        stored = state.get(prefix + name)
        if isinstance(stored, Tensor) and stored.ndim == 0 and parameter.shape == (1,):
            state[prefix + name] = stored.reshape(1)
