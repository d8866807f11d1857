"""The U-net of the NasN paper: that of fastMRI's first release, without normalization, on the zero-filled image."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks.base import PostProcessing


class UNet(PostProcessing):
    """Ronneberger's U-net in the form of fastMRI's first release (max-pooling, bilinear up-sampling, biases).

    Parameters
    ----------
    in_chans
        Channels of the image, 1 or 2; 2 has 3,348,536 parameters.
    chans
        Features of the first level; they double from level to level.
    pools
        Number of down-samplings by 2. The level below the last one keeps its number of features.
    normalize
        Put an instance normalization, which has no parameters, before every ReLU. The NasN paper uses none.
    peak
        As in `csmri_ext.nn.Reconstructor`.
    """

    def __init__(
        self, in_chans: int = 2, chans: int = 32, pools: int = 4, normalize: bool = False, peak: float | None = 6.0
    ) -> None:
        super().__init__(in_chans, UNetLayers(in_chans, in_chans, chans, pools, normalize), peak)


class UNetLayers(nn.Module):
    """The layers of `UNet`: ``(batch, in_chans, ny, nx)`` to ``(batch, out_chans, ny, nx)``, any size.

    Parameters
    ----------
    in_chans, out_chans
        Channels in and out.
    chans, pools, normalize
        As in `UNet`.
    """

    def __init__(self, in_chans: int, out_chans: int, chans: int, pools: int, normalize: bool) -> None:
        super().__init__()
        features = [chans * 2**level for level in range(pools)]
        self.down = nn.ModuleList(
            ConvBlock(before, after, normalize)
            for before, after in zip([in_chans, *features[:-1]], features, strict=True)
        )
        self.bottom = ConvBlock(features[-1], features[-1], normalize)
        self.up = nn.ModuleList(
            ConvBlock(2 * before, after, normalize)
            for before, after in zip(features[::-1], [*features[-2::-1], chans], strict=True)
        )
        self.head = nn.Sequential(
            nn.Conv2d(chans, chans // 2, 1), nn.Conv2d(chans // 2, out_chans, 1), nn.Conv2d(out_chans, out_chans, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers; odd sizes are rounded up on the way down, and cropped on the way up."""
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = functional.max_pool2d(x, 2, ceil_mode=True)
        x = self.bottom(x)
        for block, skip in zip(self.up, reversed(skips), strict=True):
            x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = block(torch.cat([x[..., : skip.shape[-2], : skip.shape[-1]], skip], dim=1))
        return self.head(x)


class ConvBlock(nn.Sequential):
    """Twice: 3x3 convolution with bias, instance normalization if wanted, ReLU.

    Parameters
    ----------
    in_chans, out_chans
        Channels in and out.
    normalize
        Whether to normalize.
    """

    def __init__(self, in_chans: int, out_chans: int, normalize: bool) -> None:
        def layers(before: int) -> Iterator[nn.Module]:
            yield nn.Conv2d(before, out_chans, 3, padding=1)
            if normalize:
                yield nn.InstanceNorm2d(out_chans)
            yield nn.ReLU(inplace=True)

        super().__init__(*layers(in_chans), *layers(out_chans))
