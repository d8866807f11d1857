"""State dicts as the authors of networks publish them, of random numbers."""

from __future__ import annotations

import torch
from torch import Tensor

STAGE_SHAPES = {
    "lambda_step": (1,),
    "soft_thr": (1,),
    "conv_D": (4, 1, 3, 3),
    "conv1_forward": (4, 4, 3, 3),
    "conv2_forward": (4, 4, 3, 3),
    "conv1_backward": (4, 4, 3, 3),
    "conv2_backward": (4, 4, 3, 3),
    "conv_G": (1, 4, 3, 3),
}


def ista_state(stages: int = 2) -> dict[str, Tensor]:
    """ISTA-Net+ for MRI: small, with the names of the public repository."""
    generator = torch.Generator().manual_seed(0)
    return {
        f"module.fcs.{stage}.{name}": 0.3 * torch.randn(shape, generator=generator)
        for stage in range(stages)
        for name, shape in STAGE_SHAPES.items()
    }


def varnet_state(cascades: int = 2, pools: int = 2) -> dict[str, Tensor]:
    """fastMRI's end-to-end VarNet: small, with the names of the public repository."""
    generator = torch.Generator().manual_seed(0)

    def unet(prefix: str, chans: int) -> dict[str, Tensor]:
        shapes: dict[str, tuple[int, ...]] = {}
        before = 2
        for level in range(pools):
            width = chans * 2**level
            shapes[f"down_sample_layers.{level}.layers.0.weight"] = (width, before, 3, 3)
            shapes[f"down_sample_layers.{level}.layers.4.weight"] = (width, width, 3, 3)
            before = width
        shapes["conv.layers.0.weight"] = (2 * before, before, 3, 3)
        shapes["conv.layers.4.weight"] = (2 * before, 2 * before, 3, 3)
        for i in range(pools):
            width = chans * 2 ** (pools - 1 - i)
            block = f"up_conv.{i}.0" if i == pools - 1 else f"up_conv.{i}"
            shapes[f"up_transpose_conv.{i}.layers.0.weight"] = (2 * width, width, 2, 2)
            shapes[f"{block}.layers.0.weight"] = (width, 2 * width, 3, 3)
            shapes[f"{block}.layers.4.weight"] = (width, width, 3, 3)
        shapes |= {f"up_conv.{pools - 1}.1.weight": (2, chans, 1, 1), f"up_conv.{pools - 1}.1.bias": (2,)}
        return {f"{prefix}{name}": 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}

    state = unet("sens_net.norm_unet.unet.", 4)
    for i in range(cascades):
        state[f"cascades.{i}.dc_weight"] = torch.tensor([0.7 + 0.6 * i])
        state |= unet(f"cascades.{i}.model.unet.", 6)
    return state
