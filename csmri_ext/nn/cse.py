"""`CSE`: squeeze-and-excitation over channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from csmri_ext.nn.layer_input import require_input


class CSE(nn.Module):
    """Scale each channel by what the means of all channels say (GA-HQS and MICCAN, "channel-wise attention").

    ``x * sigmoid(W_2 relu(W_1 mean(x) + b_1) + b_2)``, the mean over all pixels, W_1 of shape ``(channels / reduction,
    channels)``.

    Parameters
    ----------
    channels
        Channels in and out.
    reduction
        Ratio of the bottleneck.

    Raises
    ------
    ValueError
        If `reduction` leaves no channel.
    TypeError
        In the forward pass: no tensor, or one of another dtype than the weights.
    """

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        if not 1 <= reduction <= channels:
            raise ValueError(f"CSE: reduction {reduction} of {channels} channels leaves none")
        hidden = channels // reduction
        self.squeeze, self.rectify, self.excite = nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, ny, nx)`` to the same shape and memory format."""
        require_input("CSE", x, self.squeeze.weight)
        scale = torch.sigmoid(self.excite(self.rectify(self.squeeze(x.mean((-2, -1))))))
        return x * scale[..., None, None]
