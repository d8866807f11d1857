"""`MSST`, the denoiser of GA-HQS: split depth-wise convolution, position code and a U of attention blocks (`HSAU`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from csmri_ext.nn.cse import CSE
from csmri_ext.nn.hsab import HSAB
from csmri_ext.nn.layer_input import require_input
from csmri_ext.nn.memory_order import channels_last
from csmri_ext.nn.padding import pad_to_multiple
from csmri_ext.nn.pixel_products import DoublingConvTranspose2d, PointwiseConv2d
from csmri_ext.nn.split_depthwise import SplitDepthwiseConv

HEAD_WIDTH = 32
TEMPERATURE = 1e4


class HSAU(nn.Module):
    """Encoder and decoder of `HSAB`, two halvings, `CSE` after each block of the decoder (GA-HQS, section on MSST).

    Parameters
    ----------
    channels
        Channels in and out.
    width
        Channels at full resolution, a multiple of 32 (the width of a head) or one head's width itself; default
        `channels`.
    reduction
        Ratio of the channel attention, at most the width.

    Raises
    ------
    ValueError
        A width that the heads or the channel attention do not fit.
    """

    def __init__(self, channels: int, width: int | None = None, reduction: int = 8) -> None:
        super().__init__()
        w = channels if width is None else width
        if w < reduction:
            raise ValueError(f"a width of {w} is less than the ratio of the channel attention, {reduction}")
        heads = max(w // HEAD_WIDTH, 1)
        self.embed = nn.Conv2d(channels, w, 3, padding=1, bias=False)
        self.encode1 = HSAB(w, heads)
        self.down1 = nn.Conv2d(w, 2 * w, 3, stride=2, padding=1, bias=False)
        self.encode2 = HSAB(2 * w, 2 * heads)
        self.down2 = nn.Conv2d(2 * w, 4 * w, 3, stride=2, padding=1, bias=False)
        self.bottleneck = HSAB(4 * w, 4 * heads)
        self.up2 = DoublingConvTranspose2d(4 * w, 2 * w)
        self.join2 = PointwiseConv2d(4 * w, 2 * w)
        self.decode2 = nn.Sequential(HSAB(2 * w, 2 * heads), CSE(2 * w, reduction))
        self.up1 = DoublingConvTranspose2d(2 * w, w)
        self.join1 = PointwiseConv2d(2 * w, w)
        self.decode1 = nn.Sequential(HSAB(w, heads), CSE(w, reduction))
        self.map = nn.Conv2d(w, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, ny, nx)`` to the same shape, any size (reflected to 32); channels_last in and out."""
        require_input("HSAU", x, self.embed.weight, self.embed.in_channels)
        ny, nx = x.shape[-2:]
        x = channels_last(pad_to_multiple(x, 32))
        full = self.encode1(self.embed(x))
        half = self.encode2(self.down1(full))
        half_up = self.up2(self.bottleneck(self.down2(half)))
        half = self.decode2(self.join2(half_up, half))
        full = self.decode1(self.join1(self.up1(half), full))
        result: Tensor = self.map(full)
        return result[..., :ny, :nx]


class MSST(nn.Module):
    """Multi-scale split transformer, ``x + HSAU(LN(SDC(x) + position))`` (GA-HQS, eq. 12 and the denoiser of eq. 7b).

    SDC is `SplitDepthwiseConv` in four groups; the position code is fixed (`position_code`), so any image size works;
    LN normalises over channels.

    Parameters
    ----------
    channels
        Channels in and out, a multiple of 4.
    width
        As in `HSAU`.
    """

    def __init__(self, channels: int, width: int | None = None) -> None:
        super().__init__()
        self.split_depthwise = SplitDepthwiseConv(channels, splits=4)
        self.norm = nn.LayerNorm(channels)
        self.hsau = HSAU(channels, width)

    @property
    def last(self) -> nn.Conv2d:
        """The convolution whose output is added to the input; MSST is the identity where it is zero."""
        return self.hsau.map

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, ny, nx)`` to the same shape, contiguous."""
        require_input("MSST", x, self.norm.weight, self.norm.weight.numel())
        pixels = self.split_depthwise(x).permute(0, 2, 3, 1)
        normalized = self.norm(pixels + position_code(x)).permute(0, 3, 1, 2)  # the copy that makes channels last
        return x.contiguous() + self.hsau(normalized)


def position_code(x: Tensor) -> Tensor:
    """Sine and cosine of the pixel's row in the first half of the channels, of its column in the second.

    With C channels and ``w_j = 10000^(-4 j / C)``, j = 0 ... C/4 - 1: ``sin(w_j y), cos(w_j y), sin(w_j x),
    cos(w_j x)``, C/4 channels each.

    Parameters
    ----------
    x
        real ``(batch, C, ny, nx)``, C a multiple of 4: gives sizes, dtype and device.

    Returns
    -------
        ``(ny, nx, C)``.
    """
    channels, ny, nx = x.shape[1:]
    exponent = torch.arange(channels // 4, device=x.device, dtype=x.dtype) * (-4 / channels)

    def code(n: int) -> Tensor:
        angle = torch.arange(n, device=x.device, dtype=x.dtype)[:, None] * TEMPERATURE**exponent
        return torch.cat([angle.sin(), angle.cos()], dim=1)

    rows, columns = code(ny)[:, None], code(nx)[None]
    return torch.cat([rows.expand(-1, nx, -1), columns.expand(ny, -1, -1)], dim=-1)
