"""`Cascade`: networks that correct the image, with data consistency after each (NasN paper, eq. 6 and 7)."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from baselines.networks.base import ChannelNetwork
from csmri_ext.nn import ProximalSteps, as_complex
from csmri_ext.physics import Encoding


class Cascade(ChannelNetwork):
    """``x <- DC(x + R_i(x))`` for each network R_i in turn, from the zero-filled image.

    DC replaces the acquired samples (the paper's lambda is infinite: noiseless data). With several coils it is the
    proximal step; see `csmri_ext.nn.ProximalSteps`.

    Parameters
    ----------
    in_chans, peak
        As in `csmri_ext.nn.Reconstructor`.
    networks
        One per cascade.
    repeats
        Run through all of them this many times, with the same weights.
    mu, trainable_mu
        Of the data steps, one per cascade and repeat; see `csmri_ext.nn.ProximalSteps`.
    """

    def __init__(
        self,
        in_chans: int,
        networks: Iterable[nn.Module],
        repeats: int,
        peak: float | None,
        mu: float | None = None,
        trainable_mu: bool = False,
    ) -> None:
        super().__init__(in_chans=in_chans, peak=peak)
        self.networks = nn.ModuleList(networks)
        self.repeats = repeats
        self.data_steps = ProximalSteps(len(self.networks) * repeats, mu, trainable=trainable_mu)

    def reconstruct(self, encoding: Encoding, image: Tensor) -> Tensor:
        """Run the cascades."""
        x = self.channels(image)
        for k, network in enumerate(self.repeats * list(self.networks)):
            x = self.consistent(encoding, x + network(x), self.data_steps, k)
        return as_complex(x)
