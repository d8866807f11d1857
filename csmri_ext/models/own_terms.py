"""What a network adds to the loss of whoever trains it."""

from __future__ import annotations

from torch import Tensor, nn


def with_own_terms(loss: Tensor, network: nn.Module) -> Tensor:
    """Add the terms that a network has of its own, ``network.extra_loss()``; it may have none, or no such method."""
    own: Tensor | None = getattr(network, "extra_loss", lambda: None)()
    return loss if own is None else loss + own
