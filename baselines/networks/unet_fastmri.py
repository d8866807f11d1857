"""The U-net of the GA-HQS paper: fastMRI's current one, with instance normalization and transposed convolutions.

The attributes carry fastMRI's names, so that its state dicts load as they are; see `baselines.networks.checkpoints`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks.base import PostProcessing
from csmri_ext.nn import as_complex
from csmri_ext.physics import Encoding


class UNetFastMRI(PostProcessing):
    """fastMRI's U-net on the zero-filled image; 7,756,097 parameters with one channel, 7,756,418 with two.

    Parameters
    ----------
    in_chans, peak
        As in `csmri_ext.nn.Reconstructor`.
    chans
        Features of the first level; they double from level to level.
    pools
        Number of down-samplings by 2.
    drop_prob
        Probability of dropping a feature map during training.
    magnitude
        Work as fastMRI's published weights expect: on the magnitude of the zero-filled image, reduced to mean 0 and
        standard deviation 1 and clipped to [-6, 6]. Needs one channel.
    """

    channels_last: ClassVar[bool] = False

    def __init__(
        self,
        in_chans: int = 2,
        chans: int = 32,
        pools: int = 4,
        drop_prob: float = 0.0,
        magnitude: bool = False,
        peak: float | None = 1.0,
    ) -> None:
        super().__init__(in_chans, UNetFastMRILayers(in_chans, in_chans, chans, pools, drop_prob), peak)
        if magnitude and in_chans != 1:
            raise ValueError(f"unet_fastmri: the magnitude is one channel, but in_chans is {in_chans}")
        self.magnitude = magnitude

    def reconstruct(self, encoding: Encoding, image: Tensor) -> Tensor:
        """Apply the layers."""
        if not self.magnitude:
            return super().reconstruct(encoding, image)
        x = image.abs().unsqueeze(1)
        deviation, mean = torch.std_mean(x, dim=(-2, -1), keepdim=True)
        normalized = ((x - mean) / (deviation + 1e-11)).clamp(-6, 6)
        return as_complex(self.layers(normalized) * deviation + mean)


class UNetFastMRILayers(nn.Module):
    """The layers of `UNetFastMRI`: ``(batch, in_chans, ny, nx)`` to ``(batch, out_chans, ny, nx)``.

    Any size for which two rows and columns are left at the lowest level; odd levels are completed by reflection.

    Parameters
    ----------
    in_chans, out_chans
        Channels in and out.
    chans, pools, drop_prob
        As in `UNetFastMRI`.
    """

    def __init__(self, in_chans: int, out_chans: int, chans: int, pools: int, drop_prob: float) -> None:
        super().__init__()
        features = [chans * 2**level for level in range(pools)]
        self.down_sample_layers = nn.ModuleList(
            ConvBlock(before, after, drop_prob)
            for before, after in zip([in_chans, *features[:-1]], features, strict=True)
        )
        self.conv = ConvBlock(features[-1], 2 * features[-1], drop_prob)
        self.up_transpose_conv = nn.ModuleList(TransposeConvBlock(2 * after, after) for after in features[::-1])
        blocks: list[nn.Module] = [ConvBlock(2 * after, after, drop_prob) for after in features[::-1]]
        blocks[-1] = nn.Sequential(blocks[-1], nn.Conv2d(chans, out_chans, 1))
        self.up_conv = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers."""
        skips = []
        for block in self.down_sample_layers:
            x = block(x)
            skips.append(x)
            x = functional.avg_pool2d(x, 2)
        x = self.conv(x)
        for enlarge, block, skip in zip(self.up_transpose_conv, self.up_conv, reversed(skips), strict=True):
            x = enlarge(x)
            missing = (0, skip.shape[-1] - x.shape[-1], 0, skip.shape[-2] - x.shape[-2])
            if any(missing):
                x = functional.pad(x, missing, "reflect")
            x = block(torch.cat([x, skip], dim=1))
        return x


class ConvBlock(nn.Module):
    """Twice: 3x3 convolution, instance normalization, leaky ReLU, dropout.

    Parameters
    ----------
    in_chans, out_chans
        Channels in and out.
    drop_prob
        Probability of dropping a feature map.
    """

    def __init__(self, in_chans: int, out_chans: int, drop_prob: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before in (in_chans, out_chans):
            layers += [
                nn.Conv2d(before, out_chans, 3, padding=1, bias=False),
                nn.InstanceNorm2d(out_chans),
                nn.LeakyReLU(0.2, inplace=True),
                nn.Dropout2d(drop_prob),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, in_chans, ny, nx)`` to ``(batch, out_chans, ny, nx)``."""
        return self.layers(x)


class TransposeConvBlock(nn.Module):
    """Transposed 2x2 convolution of stride 2, instance normalization, leaky ReLU.

    Parameters
    ----------
    in_chans, out_chans
        Channels in and out.
    """

    def __init__(self, in_chans: int, out_chans: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(in_chans, out_chans, 2, stride=2, bias=False),
            nn.InstanceNorm2d(out_chans),
            nn.LeakyReLU(0.2, inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, in_chans, ny, nx)`` to ``(batch, out_chans, 2 ny, 2 nx)``."""
        return self.layers(x)
