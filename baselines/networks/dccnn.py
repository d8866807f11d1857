"""DCCNN: a cascade of residual networks with data consistency between them, as compared in the NasN paper.

Schlemper et al., "A deep cascade of convolutional neural networks for dynamic MR image reconstruction" (2018).
"""

from __future__ import annotations

from torch import Tensor, nn

from baselines.networks.cascade import Cascade


class DCCNN(Cascade):
    """Three cascades of residual blocks; 170,022 parameters with 3 blocks, 613,926 with 11 (two channels).

    Parameters
    ----------
    blocks
        Residual blocks of each cascade.
    cascades
        Number of cascades.
    chans
        Features.
    shared
        Use the same weights in all cascades: the NasN paper's MoDL, 56,674 and 204,642 parameters.
    in_chans, peak, mu, trainable_mu
        As in `baselines.networks.cascade.Cascade`.
    """

    def __init__(
        self,
        in_chans: int = 2,
        blocks: int = 3,
        cascades: int = 3,
        chans: int = 32,
        shared: bool = False,
        peak: float | None = 6.0,
        mu: float | None = None,
        trainable_mu: bool = False,
    ) -> None:
        own, repeats = (1, cascades) if shared else (cascades, 1)
        super().__init__(
            in_chans, (residual_network(in_chans, blocks, chans) for _ in range(own)), repeats, peak, mu, trainable_mu
        )


def residual_network(in_chans: int, blocks: int, chans: int) -> nn.Sequential:
    """Build 3x3 convolutions with bias: in, residual blocks, out. No activation follows the first one.

    Parameters
    ----------
    in_chans
        Channels in and out.
    blocks
        Residual blocks.
    chans
        Features.
    """
    return nn.Sequential(
        nn.Conv2d(in_chans, chans, 3, padding=1),
        *(ResidualBlock(chans) for _ in range(blocks)),
        nn.Conv2d(chans, in_chans, 3, padding=1),
    )


class ResidualBlock(nn.Module):
    """``h + conv(ReLU(conv(h)))``, 3x3 with bias.

    Parameters
    ----------
    chans
        Features.
    """

    def __init__(self, chans: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(chans, chans, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(chans, chans, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        """``(batch, chans, ny, nx)`` to the same shape."""
        return h + self.second(self.relu(self.first(h)))
