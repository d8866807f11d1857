"""Every network by name, with inputs, for `end_to_end` and `gpu_all`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor, nn

SIDE = 320
ACCELERATION = 4.0


def constructors() -> dict[str, Callable[[], nn.Module]]:
    """Names of `csmri_ext.models` and `baselines.networks`, and how to build each, untrained."""
    found: dict[str, Callable[[], nn.Module]] = {}
    for room in ("csmri_ext.models", "baselines.networks"):
        if find_spec(room) is None:
            continue
        module = import_module(room)
        for name in module.names():
            found[name] = lambda module=module, name=name: module.create(name)
    return found


def build(name: str) -> nn.Module:
    """Build a network for inference: by name with reproducible random weights, or from a file of weights."""
    if name.endswith(".safetensors"):
        from csmri_ext.models import load

        return load(name)
    torch.manual_seed(0)
    return constructors()[name]().eval()


def measurement(batch: int, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Phantom k-space ``(batch, ny, nx)`` and a column mask ``(nx,)``; the network is called with both."""
    from csmri_ext.phantom import phantom_acquisition
    from csmri_ext.physics import make_mask

    acquisition = phantom_acquisition(n_slices=1, size=side, seed=0)
    kspace = torch.from_numpy(acquisition.kspace[0]).to(torch.complex64).reshape(1, side, side)
    mask = make_mask("equispaced_fraction", (side, side), ACCELERATION, seed=0)
    return (kspace * mask).expand(batch, -1, -1).contiguous(), mask
