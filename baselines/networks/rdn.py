"""RDN: a cascade of recursive dilated networks, as compared in the NasN paper.

Sun et al., "Compressed sensing MRI using a recursive dilated network" (2018).
"""

from __future__ import annotations

from torch import Tensor, nn

from baselines.networks.cascade import Cascade


class RDN(Cascade):
    """Three cascades of one dilated block that runs several times; 86,790 parameters for any number of recursions.

    Parameters
    ----------
    recursions
        How often the block runs.
    cascades
        Number of cascades.
    chans
        Features.
    in_chans, peak, mu, trainable_mu
        As in `baselines.networks.cascade.Cascade`.
    """

    def __init__(
        self,
        in_chans: int = 2,
        recursions: int = 3,
        cascades: int = 3,
        chans: int = 32,
        peak: float | None = 6.0,
        mu: float | None = None,
        trainable_mu: bool = False,
    ) -> None:
        networks = (RecursiveDilated(in_chans, recursions, chans) for _ in range(cascades))
        super().__init__(in_chans, networks, 1, peak, mu, trainable_mu)


class RecursiveDilated(nn.Module):
    """``h <- B(h) + h_0`` with one block B of 3x3 convolutions of dilation 1, 2, 3, each followed by a ReLU.

    Parameters
    ----------
    in_chans
        Channels in and out.
    recursions
        How often B runs.
    chans
        Features.
    """

    def __init__(self, in_chans: int, recursions: int, chans: int) -> None:
        super().__init__()
        self.recursions = recursions
        self.first = nn.Sequential(nn.Conv2d(in_chans, chans, 3, padding=1), nn.ReLU(inplace=True))
        layers: list[nn.Module] = []
        for dilation in (1, 2, 3):
            layers += [nn.Conv2d(chans, chans, 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True)]
        self.block = nn.Sequential(*layers)
        self.last = nn.Conv2d(chans, in_chans, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, in_chans, ny, nx)`` to the same shape."""
        start = h = self.first(x)
        for _ in range(self.recursions):
            h = self.block(h) + start
        return self.last(h)
