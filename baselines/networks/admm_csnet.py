"""ADMM-CSNet: the alternating direction method of multipliers with a learned filter and shrinkage function.

Yang, Sun, Li, Xu, "ADMM-CSNet: A deep learning approach for image compressive sensing" (2020).
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks.base import ChannelNetwork, one_channel_last
from csmri_ext.nn import ProximalSteps, as_complex
from csmri_ext.nn.learned_number import learned_number
from csmri_ext.physics import Encoding

KNOTS = 101  # of the shrinkage functions, evenly over [-1, 1]


class ADMMCSNet(ChannelNetwork):
    """Data step, filtering and update of the multiplier b in turn.

    ``x = argmin ||A x - y||^2 + rho ||x - z + b||^2``, ``v = x + b``, ``z = v - C_2 S(C_1 v)``, ``b += gamma (x - z)``.
    Starts from z = b = 0, ends with a data step of its own and the replacement of the acquired samples. Real and
    imaginary part pass the same filters. 19,459 parameters with one channel or two.

    Parameters
    ----------
    in_chans, peak
        As in `csmri_ext.nn.Reconstructor`.
    stages
        Number of iterations.
    chans
        Filters.
    shared
        Use the same weights in all iterations, as the published code does.
    mu, trainable_mu
        Of the last data step, see `csmri_ext.nn.ProximalSteps`.
    """

    def __init__(
        self,
        in_chans: int = 2,
        stages: int = 10,
        chans: int = 128,
        shared: bool = True,
        peak: float | None = 1.0,
        mu: float | None = None,
        trainable_mu: bool = False,
    ) -> None:
        super().__init__(in_chans=in_chans, peak=peak)
        own, self.repeats = (1, stages) if shared else (stages, 1)
        self.stages = nn.ModuleList(Stage(chans) for _ in range(own))
        self.data_steps = ProximalSteps(1, mu, trainable=trainable_mu)

    def reconstruct(self, encoding: Encoding, image: Tensor) -> Tensor:
        """Run the iterations."""
        stages = cast("list[Stage]", list(self.stages))
        z = b = torch.zeros_like(self.channels(image))
        for _ in range(self.repeats):
            for stage in stages:
                x = self.proximal(encoding, z - b, stage.rho)
                z = stage(x + b)
                b = b + stage.gamma * (x - z)
        x = self.proximal(encoding, z - b, stages[-1].rho)
        return as_complex(self.consistent(encoding, x, self.data_steps, 0))


class Stage(nn.Module):
    """The regularizing step ``v - C_2 S(C_1 v)``, and the scalars of an iteration.

    Parameters
    ----------
    chans
        Filters.
    """

    def __init__(self, chans: int) -> None:
        super().__init__()
        self.raw_rho = learned_number(math.log(math.expm1(0.1)))  # softplus keeps rho, which starts at 0.1, positive
        self.gamma = learned_number(1.0)
        self.analysis = nn.Conv2d(1, chans, 5, padding=2)
        self.shrinkage = PiecewiseLinear(chans)
        self.synthesis = nn.Conv2d(chans, 1, 5, padding=2)
        nn.init.normal_(self.analysis.weight, 0, 0.025)
        nn.init.normal_(self.synthesis.weight, 0, 0.025)

    @property
    def rho(self) -> Tensor:
        """Weight of the quadratic penalty."""
        return functional.softplus(self.raw_rho)

    def forward(self, v: Tensor) -> Tensor:
        """``(batch, in_chans, ny, nx)`` to the same shape, each channel on its own."""
        parts = one_channel_last(v.flatten(0, 1))
        return v - self.synthesis(self.shrinkage(self.analysis(parts))).view_as(v)


class PiecewiseLinear(nn.Module):
    """One piecewise linear function per channel, given by its values at `KNOTS`; starts as the identity.

    Beyond the knots the first and the last piece go on.

    Parameters
    ----------
    chans
        Number of functions.
    """

    def __init__(self, chans: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.linspace(-1, 1, KNOTS).repeat(chans, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, chans, ny, nx)`` to the same shape."""
        pieces = KNOTS - 1
        position = (x + 1) * (pieces / 2)
        piece = position.detach().floor().clamp(0, pieces - 1)
        first = torch.arange(len(self.values), device=x.device).view(-1, 1, 1) * KNOTS
        index = piece.long() + first
        values = self.values.flatten()
        left = values[index]
        return left + (position - piece) * (values[index + 1] - left)
