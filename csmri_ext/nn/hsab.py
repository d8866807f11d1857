"""`HSAB`: half-shuffle attention block, local windows for half of the heads and the whole image for the others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from csmri_ext.nn.layer_input import require_input
from csmri_ext.nn.padding import pad_to_multiple
from csmri_ext.ops import (
    attention_of_torch,
    half_shuffle_attention,
    half_shuffle_attention_is_faster,
    hsab_feed_forward,
    hsab_feed_forward_is_faster,
)

WINDOW = 8


class HSAB(nn.Module):
    """Attention and a convolutional feed-forward layer, each added to its input (GA-HQS, HSAU).

        ``x = x + MSA(LN(x))``,  ``x = x + FFN(LN(x))``

    MSA works in windows of 8 x 8 pixels. The first half of the heads (or the only one) attends inside each window; for
    the last half the pixels at the same place of all windows attend to each other. FFN is 1x1 convolution to four times
    the channels, GELU, depth-wise 3x3 convolution, GELU, 1x1 convolution.

    Both halves run in kernels, `csmri_ext.ops.half_shuffle_attention` and `csmri_ext.ops.hsab_feed_forward`, forward
    and backward, for float32 on a CPU with AVX2 or AVX-512, where they were measured to beat torch. Elsewhere the layer
    is composed of torch's operations: in float64, 16 bits or under autocast; without AVX2; on a GPU, which no
    measurement covers. The ops themselves run on every instruction set in float32 and float64, and on CUDA also in
    bfloat16 and float16, there by kernels but for the backward pass of the attention half, which is composed of torch's
    operations.

    Parameters
    ----------
    channels
        Channels in and out, a multiple of `heads`.
    heads
        1 or an even number.

    Raises
    ------
    ValueError
        Another number of heads; in the forward pass, another number of channels.
    TypeError
        In the forward pass: no tensor, or one of another dtype than the weights.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or (heads > 1 and heads % 2) or channels % heads:
            raise ValueError(f"HSAB: {heads} heads on {channels} channels; expected 1 or an even divisor")
        self.channels, self.heads = channels, heads
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.q = nn.Linear(channels, channels, bias=False)
        self.kv = nn.Linear(channels, 2 * channels, bias=False)
        self.out = nn.Linear(channels, channels)
        self.expand = nn.Linear(channels, 4 * channels, bias=False)
        self.depthwise = nn.Conv2d(4 * channels, 4 * channels, 3, padding=1, groups=4 * channels, bias=False)
        self.contract = nn.Linear(4 * channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, ny, nx)`` to the same shape, any size (reflected to eights); channels_last is fast."""
        require_input("HSAB", x, self.q.weight, self.channels)
        ny, nx = x.shape[-2:]
        pixels = self.attention(pad_to_multiple(x, WINDOW))
        pixels = pixels + self.feed_forward(self.norm2(pixels))
        return pixels.permute(0, 3, 1, 2)[..., :ny, :nx]

    def attention(self, x: Tensor) -> Tensor:
        """``x + MSA(LN(x))``; ``(batch, channels, ny, nx)``, whole windows, to ``(batch, ny, nx, channels)``."""
        if half_shuffle_attention_is_faster(x):
            weights = self.q.weight, self.kv.weight, self.out.weight, self.out.bias
            norm = self.norm1
            return half_shuffle_attention(
                x, norm.weight, norm.bias, *weights, heads=self.heads, epsilon=norm.eps
            ).permute(0, 2, 3, 1)
        pixels = x.permute(0, 2, 3, 1)  # channels last from here on: a view if memory is
        return pixels + self._attention_of_torch(pixels)

    def _attention_of_torch(self, pixels: Tensor) -> Tensor:
        batch, ny, nx, channels = pixels.shape
        down, across = ny // WINDOW, nx // WINDOW
        # one copy into the order of windows, so that attention reads queries, keys and values in place
        windows = pixels.reshape(batch, down, WINDOW, across, WINDOW, channels).transpose(2, 3)
        tokens = self.norm1(windows.reshape(batch * down * across, WINDOW * WINDOW, channels))
        q, (k, v) = self.q(tokens), self.kv(tokens).chunk(2, dim=-1)
        split = channels if self.heads == 1 else channels // 2
        attended = self._attend(q[..., :split], k[..., :split], v[..., :split])
        if split < channels:
            shuffled = [self._shuffle(x[..., split:], batch, down * across) for x in (q, k, v)]
            everywhere = self._attend(*shuffled).unflatten(0, (batch, WINDOW * WINDOW)).transpose(1, 2)
            attended = torch.cat([attended, everywhere.flatten(0, 1)], dim=-1)
        windows = self.out(attended).reshape(batch, down, across, WINDOW, WINDOW, channels)
        return windows.transpose(2, 3).reshape(pixels.shape)

    def feed_forward(self, pixels: Tensor) -> Tensor:
        """FFN; ``(batch, ny, nx, channels)`` to the same shape."""
        if hsab_feed_forward_is_faster(pixels):
            weights = self.expand.weight, self.depthwise.weight.squeeze(1), self.contract.weight
            return hsab_feed_forward(pixels.permute(0, 3, 1, 2), *weights).permute(0, 2, 3, 1)
        hidden = nn.functional.gelu(self.expand(pixels)).permute(0, 3, 1, 2)
        hidden = nn.functional.gelu(self.depthwise(hidden)).permute(0, 2, 3, 1)
        result: Tensor = self.contract(hidden)
        return result

    def _attend(self, *qkv: Tensor) -> Tensor:
        """Attention among tokens, ``(groups, tokens, width)``, with ``width / 32`` heads of this layer's head width."""
        head_width = self.channels // self.heads
        heads = [x.unflatten(-1, (-1, head_width)).transpose(1, 2) for x in qkv]
        return attention_of_torch(*heads).transpose(1, 2).flatten(-2)

    @staticmethod
    def _shuffle(x: Tensor, batch: int, windows: int) -> Tensor:
        """``(batch windows, 64, width)`` to ``(batch 64, windows, width)``."""
        return x.unflatten(0, (batch, windows)).transpose(1, 2).flatten(0, 1)

    def extra_repr(self) -> str:
        """Describe the layer in one line."""
        return f"{self.channels}, heads={self.heads}"
