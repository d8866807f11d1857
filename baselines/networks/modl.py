"""MoDL: a residual denoiser and an exact data step, alternating.

Aggarwal, Mani, Jacob, "MoDL: Model-based deep learning architecture for inverse problems" (2019). The GA-HQS paper's
parameter count, 1.137 million, fits ten stages that do not share their weights, as the original's do.

The published recipe: Adam with learning rate 1e-3 and the mean squared error; first one stage alone, then all of them
from its weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor, nn

from baselines.networks.base import ChannelNetwork, chain_of_convolutions
from csmri_ext.nn import as_complex
from csmri_ext.nn.learned_number import learned_number
from csmri_ext.physics import Encoding


class MoDL(ChannelNetwork):
    """``z = x + D(x)``, ``x <- argmin ||A x - y||^2 + lambda ||x - z||^2``, in turn, from the zero-filled image.

    The data step has a closed form with one coil and runs conjugate gradients with several. 1,136,700 parameters with
    two channels, and lambda.

    Parameters
    ----------
    in_chans, peak
        As in `csmri_ext.nn.Reconstructor`.
    stages
        How often the two alternate.
    chans
        Features.
    depth
        Convolutions of D.
    shared
        Use the same weights in all stages, as the original does.
    """

    def __init__(
        self,
        in_chans: int = 2,
        stages: int = 10,
        chans: int = 64,
        depth: int = 5,
        shared: bool = False,
        peak: float | None = 1.0,
    ) -> None:
        super().__init__(in_chans=in_chans, peak=peak)
        own, self.repeats = (1, stages) if shared else (stages, 1)
        self.denoisers = nn.ModuleList(denoiser(in_chans, chans, depth) for _ in range(own))
        self.log_lambda = learned_number(math.log(0.05))  # the logarithm keeps lambda positive

    def reconstruct(self, encoding: Encoding, image: Tensor) -> Tensor:
        """Alternate denoiser and data step."""
        x, weight = self.channels(image), self.log_lambda.exp()
        for _ in range(self.repeats):
            for network in self.denoisers:
                x = self.proximal(encoding, x + network(x), weight)
        return as_complex(x)


def denoiser(in_chans: int, chans: int, depth: int) -> nn.Sequential:
    """Build 3x3 convolutions with bias, each with batch normalization, and ReLU but after the last.

    Parameters
    ----------
    in_chans
        Channels in and out.
    chans
        Features.
    depth
        Number of convolutions, at least 2.
    """

    def after(channels: int, last: bool) -> Iterator[nn.Module]:
        yield nn.BatchNorm2d(channels)
        if not last:
            yield nn.ReLU(inplace=True)

    return chain_of_convolutions([in_chans, *[chans] * (depth - 1), in_chans], after)
