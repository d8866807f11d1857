"""`Cascade`: networks that correct the image, with data consistency after each (NasN paper, eq. 6 and 7)."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from baselines.networks.base import ChannelNetwork
from csmri_ext.nn import as_complex
from csmri_ext.physics import Encoding


class Cascade(ChannelNetwork):
    """``x <- DC(x + R_i(x))`` for each network R_i in turn, from the zero-filled image.

    DC replaces the acquired samples (the paper's lambda is infinite: noiseless data). With several coils it replaces
    them in the k-space of each coil and combines the coils again, which is the step ``x + A^H (y - A x)``.

    Parameters
    ----------
    in_chans
        Channels of the image, 1 or 2.
    networks
        One per cascade.
    repeats
        Run through all of them this many times, with the same weights.
    peak
        As in `csmri_ext.nn.Reconstructor`.
    """

    def __init__(self, in_chans: int, networks: Iterable[nn.Module], repeats: int, peak: float | None) -> None:
        super().__init__(in_chans=in_chans, peak=peak)
        self.networks = nn.ModuleList(networks)
        self.repeats = repeats

    def reconstruct(self, encoding: Encoding, image: Tensor) -> Tensor:
        """Run the cascades."""
        x = self.channels(image)
        for _ in range(self.repeats):
            for network in self.networks:
                x = self.consistent(encoding, x + network(x), 1.0)
        return as_complex(x)
