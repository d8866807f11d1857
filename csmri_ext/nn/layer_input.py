"""Whether an input fits the weights of a layer: one line that names both, before torch fails deep inside."""

from __future__ import annotations

import torch
from torch import Tensor

from csmri_ext.physics.fitting import require_tensor


def require_input(layer: str, x: Tensor, weight: Tensor, channels: int | None = None, name: str = "x") -> None:
    """Raise TypeError unless `x` is a tensor of the dtype of the weights, ValueError where its channels are others.

    Under autocast, which converts it, any real floating-point input will do.

    Parameters
    ----------
    layer
        Name of the layer, for the message.
    x, weight
        Its input, and the first of its weights.
    channels
        That ``(batch, channels, ny, nx)`` must have; None: the layer takes other shapes too.
    name
        Of the input.
    """
    require_tensor(f"{layer}: {name}", x)
    device = x.device.type
    converted = x.is_floating_point() and device != "meta" and torch.is_autocast_enabled(device)
    if x.dtype != weight.dtype and not converted:
        raise TypeError(
            f"{layer}: {name} is {x.dtype}, but the weights are {weight.dtype}: pass {name}.to({weight.dtype}), "
            "or convert the layer"
        )
    if channels is not None and (x.ndim != 4 or x.shape[1] != channels):
        raise ValueError(f"{layer}: {name} {tuple(x.shape)}, expected (batch, {channels}, ny, nx)")
