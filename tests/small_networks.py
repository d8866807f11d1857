"""Every network with less of what repeats, and what they take, for tests that go through all of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from baselines import networks
from csmri_ext import models
from csmri_ext.nn import Reconstructor
from csmri_ext.physics import fft2c

SMALLER: dict[str, dict[str, Any]] = {  # the same code with less of what repeats
    **{name: {"stages": 1} for name in models.names()},
    **{name: {"cascades": 1, "cells": 2, "channels": 8} for name in models.names() if name.startswith("nasn")},
    **{name: {"chans": 8} for name in networks.names()},
    **{name: {"chans": 8, "stages": 2} for name in ("admm_csnet", "hqs_net", "ista_net", "ista_net_plus", "modl")},
    "e2e_varnet": {"chans": 8, "cascades": 2, "sens_chans": 4, "pools": 2, "sens_pools": 2},
    **{name: {"chans": 8, "cascades": 2} for name in ("dccnn11", "miccan", "modl11", "rdn8")},
}
NAMES = [*models.names(), *networks.names()]
# one of each kind of network, for what takes long
KINDS = ["ga_hqs", "ga_hqs_baseline3", "a_hqs", "nasn_knee", "unet", "unet_fastmri", "dccnn3", "modl", "ista_net",
         "miccan", "hqs_net", "admm_csnet", "e2e_varnet"]  # fmt: skip


def small(name: str) -> Reconstructor:
    torch.manual_seed(0)
    create = models.create if name in models.names() else networks.create
    return create(name, **SMALLER[name])


def problem(coils: int = 0, batch: int = 1, ny: int = 32, nx: int = 35) -> tuple[tuple[Tensor, ...], Tensor]:
    """What a network takes, and the image."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(batch, ny, nx, generator=generator, dtype=torch.complex64)
    mask = torch.rand(batch, 1, nx, generator=generator) < 0.5
    if not coils:
        return (fft2c(image) * mask, mask), image
    maps = torch.randn(coils, ny, nx, generator=generator, dtype=torch.complex64)
    maps = maps / maps.abs().square().sum(0).sqrt()
    return (fft2c(maps * image[:, None]) * mask[:, None], mask[:, None], maps), image
