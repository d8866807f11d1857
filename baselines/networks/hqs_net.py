"""HQS-Net: half-quadratic splitting with a buffer of images between the stages.

Xin et al., "Learned half-quadratic splitting network for MR image reconstruction" (2022). The published recipe: Adam
with learning rate 1e-3, batches of one slice, L1 and multi-scale SSIM.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from baselines.networks.base import ChannelNetwork, chain_of_convolutions
from csmri_ext.nn import as_complex
from csmri_ext.nn.learned_number import learned_number
from csmri_ext.nn.memory_order import channels_last
from csmri_ext.physics import Encoding


class HQSNet(ChannelNetwork):
    """``u = f_1 + mu A^H (y - A f_1)``, ``f <- f + N_i([f, u])`` for a buffer f of images; the first is the result.

    1,232,937 parameters with one channel, 1,283,665 with two.

    Parameters
    ----------
    stages
        Number of stages.
    buffer
        Images in the buffer; all start as the zero-filled one.
    chans
        Features.
    depth
        Convolutions of each network.
    in_chans, peak
        As in `csmri_ext.nn.Reconstructor`.
    """

    def __init__(
        self,
        in_chans: int = 2,
        stages: int = 8,
        buffer: int = 5,
        chans: int = 64,
        depth: int = 6,
        peak: float | None = 1.0,
    ) -> None:
        super().__init__(in_chans=in_chans, peak=peak)
        self.buffer = buffer
        inputs, outputs = in_chans * (buffer + 1), in_chans * buffer
        self.networks = nn.ModuleList(plain_network(inputs, outputs, chans, depth) for _ in range(stages))
        self.mu = learned_number(0.5)  # a step, what GA-HQS calls eta

    def reconstruct(self, encoding: Encoding, image: Tensor) -> Tensor:
        """Run the stages."""
        f = channels_last(self.channels(image).repeat(1, self.buffer, 1, 1))
        for network in self.networks:
            u = self.step(encoding, f[:, : self.in_chans], self.mu)
            f = f + network(torch.cat([f, u], dim=1))
        return as_complex(f[:, : self.in_chans])


def plain_network(inputs: int, outputs: int, chans: int, depth: int) -> nn.Sequential:
    """Build 3x3 convolutions with bias and leaky ReLUs between them.

    Parameters
    ----------
    inputs, outputs
        Channels in and out.
    chans
        Features.
    depth
        Number of convolutions, at least 2.
    """

    def after(channels: int, last: bool) -> Iterator[nn.Module]:  # noqa: ARG001
        if not last:
            yield nn.LeakyReLU(0.2, inplace=True)

    return chain_of_convolutions([inputs, *[chans] * (depth - 1), outputs], after)
