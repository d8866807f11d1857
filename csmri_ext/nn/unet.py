"""`UNet`: the two-level U-net of MICCAN, with or without channel attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from csmri_ext.nn.cse import CSE
from csmri_ext.nn.layer_input import require_input
from csmri_ext.nn.padding import pad_to_multiple


class UNet(nn.Module):
    """U-net with two poolings, batch normalisation and bilinear upsampling (the block of MICCAN; GA-HQS, baseline-3).

    ``in -> D(w) -> pool -> D(2w) -> pool -> D(4w) -> up, join -> D(2w) -> up, join -> D(w) -> 1x1 -> out`` with D two
    times 3x3 convolution, batch normalisation, ReLU. With `reduction` a `CSE` follows the lower three D.

    Parameters
    ----------
    in_channels, out_channels
        Channels in and out.
    width
        w, channels at full resolution.
    reduction
        Ratio of the channel attention, 8 in MICCAN; None leaves it out.
    """

    def __init__(self, in_channels: int, out_channels: int, width: int = 32, reduction: int | None = None) -> None:
        super().__init__()

        def attend(channels: int) -> list[nn.Module]:
            return [] if reduction is None else [CSE(channels, reduction)]

        self.down1 = _double(in_channels, width)
        self.down2 = nn.Sequential(nn.MaxPool2d(2), _double(width, 2 * width))
        self.bottom = nn.Sequential(nn.MaxPool2d(2), _double(2 * width, 4 * width), *attend(4 * width))
        self.up2 = _up(4 * width)
        self.join2 = nn.Sequential(_double(4 * width, 2 * width), *attend(2 * width))
        self.up1 = _up(2 * width)
        self.join1 = nn.Sequential(_double(2 * width, width), *attend(width))
        self.last = nn.Conv2d(width, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, in_channels, ny, nx)`` to ``(batch, out_channels, ny, nx)``, any size (reflected to fours)."""
        require_input("UNet", x, self.last.weight)
        ny, nx = x.shape[-2:]
        full = self.down1(pad_to_multiple(x, 4))
        half = self.down2(full)
        half = self.join2(torch.cat([half, self.up2(self.bottom(half))], 1))
        result: Tensor = self.last(self.join1(torch.cat([full, self.up1(half)], 1)))
        return result[..., :ny, :nx]


def _double(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def _up(channels: int) -> nn.Sequential:
    upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    return nn.Sequential(upsample, nn.Conv2d(channels, channels // 2, 3, padding=1))
