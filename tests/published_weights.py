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
