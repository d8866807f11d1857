"""MICCAN: a cascade of U-nets with channel attention and a long residual connection.

Huang et al., "MRI reconstruction via cascaded channel-wise attention network" (2019).

The published recipe: Adam with learning rate 1e-5, batches of 16, 50 epochs, the rate halved after 5, 20 and 35; L1 and
a perceptual loss, of which L1 remains where no pretrained classifier is at hand.
"""

from __future__ import annotations

from torch import Tensor, nn

from baselines.networks.base import ChannelNetwork
from csmri_ext.nn import ProximalSteps, UNet, as_complex
from csmri_ext.physics import Encoding


class MICCAN(ChannelNetwork):
    """``x <- DC(x + U_i(x))`` and, for the last U-net, ``DC(x_zf + U_n(x))``; DC replaces the acquired samples.

    2,620,305 parameters with one channel, 2,621,910 with two. Several coils as in `baselines.networks.cascade.Cascade`.

    Parameters
    ----------
    cascades
        Number of U-nets.
    chans
        Features of the first level.
    reduction
        Ratio of the bottlenecks of the channel attention.
    in_chans, peak, mu, trainable_mu
        As in `baselines.networks.cascade.Cascade`.
    """

    def __init__(
        self,
        in_chans: int = 2,
        cascades: int = 5,
        chans: int = 32,
        reduction: int = 8,
        peak: float | None = 1.0,
        mu: float | None = None,
        trainable_mu: bool = False,
    ) -> None:
        super().__init__(in_chans=in_chans, peak=peak)
        self.unets = nn.ModuleList(UNet(in_chans, in_chans, chans, reduction) for _ in range(cascades))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0, 0.02)
        self.data_steps = ProximalSteps(cascades, mu, trainable=trainable_mu)

    def reconstruct(self, encoding: Encoding, image: Tensor) -> Tensor:
        """Run the cascades."""
        x = zero_filled = self.channels(image)
        for k, unet in enumerate(self.unets):
            start = zero_filled if k == len(self.unets) - 1 else x
            x = self.consistent(encoding, start + unet(x), self.data_steps, k)
        return as_complex(x)
