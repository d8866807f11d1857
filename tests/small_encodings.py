"""Small random k-space, sensitivities and masks, for the tests of what encodes."""

from __future__ import annotations

import torch
from torch import Tensor

BATCH, COILS, NY, NX = 2, 3, 9, 12
WIDE = torch.complex128


def noise(*shape: int, dtype: torch.dtype = WIDE, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def maps(dtype: torch.dtype = WIDE) -> Tensor:
    raw = noise(BATCH, COILS, NY, NX, dtype=dtype, seed=1)
    return raw / raw.abs().square().sum(1, keepdim=True).sqrt()


def mask_of(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(2)) < 0.5
