"""Fusion of the terms of GA-HQS's equations, and a start in which it is the plain sum that it generalises."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from csmri_ext.nn import CSE, PGSA

ORDERS = ("replicas", "terms")


class ChannelFusion(nn.Module):
    """1x1 convolution and `CSE` over a scaled concatenation: what `PGSA` replaces (GA-HQS, baseline-2).

    Parameters
    ----------
    in_channels, out_channels
        Channels in (of all parts together) and out.
    reduction
        Ratio of the channel attention.
    """

    def __init__(self, in_channels: int, out_channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.mix = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.attend = CSE(out_channels, reduction)

    def forward(self, x: Tensor | Sequence[Tensor], scales: Tensor | None = None) -> Tensor:
        """Parts ``(batch, channels_p, ny, nx)`` with one factor each to ``(batch, out_channels, ny, nx)``."""
        parts = [x] if isinstance(x, Tensor) else x
        if scales is not None:
            parts = [scale * part for scale, part in zip(scales.unbind(), parts, strict=True)]
        result: Tensor = self.attend(self.mix(torch.cat(list(parts), 1)))
        return result


def replica_major(terms: Sequence[Tensor], scales: Tensor, in_chans: int, replicas: int) -> Tensor:
    """Concatenate scaled terms replica by replica: all terms, real and imaginary, of the first replica come first.

    Parameters
    ----------
    terms
        real ``(batch, in_chans * replicas, ny, nx)`` each, all real parts first.
    scales
        ``(n_terms,)``.
    in_chans, replicas
        As in `csmri_ext.models.HQS`.

    Returns
    -------
        ``(batch, replicas * n_terms * in_chans, ny, nx)``, contiguous.
    """
    scaled = [scale * term for scale, term in zip(scales.unbind(), terms, strict=True)]
    return torch.stack([x.unflatten(1, (in_chans, replicas)).transpose(1, 2) for x in scaled], 2).flatten(1, 3)


def fuse_with_shared(
    fusion: PGSA, terms: Sequence[Tensor], scales: Tensor, shared: int, in_chans: int, replicas: int
) -> Tensor:
    """Return ``fusion(replica_major(...))`` for less: one term is the same in all replicas.

    Equal inputs of a convolution are one input with the sum of their weights. The finest groups, which all coarser ones
    consist of, see the shared term once each instead of once for each of their replicas: of 16 replicas of three terms
    in at most 8 groups 80 channels remain of 96.

    Parameters
    ----------
    fusion
        Its groups divide each other and the replicas.
    terms, scales, in_chans, replicas
        As in `replica_major`.
    shared
        Which of the terms has equal replicas.

    Returns
    -------
        What `fusion` returns, to rounding.
    """
    finest, n_terms = max(fusion.groups), len(terms)
    seen = replicas // finest
    others = [k for k in range(n_terms) if k != shared]
    own = replica_major([terms[k] for k in others], scales[others], in_chans, replicas).unflatten(1, (finest, -1))
    once = scales[shared] * terms[shared].unflatten(1, (in_chans, replicas))[:, None, :, 0]
    x = torch.cat([own, once.expand(-1, finest, -1, -1, -1)], 2).flatten(1, 2)
    weights = []
    for weight, group in zip(fusion.weights, fusion.groups, strict=True):
        taps = weight.unflatten(1, (finest // group, seen, n_terms, in_chans))
        of_others = taps[:, :, :, others].flatten(2, 4)
        weights.append(torch.cat([of_others, taps[:, :, :, shared].sum(2)], 2).flatten(1, 2))
    result: Tensor = fusion(x, weights=weights)
    return result


def can_share(fusion: nn.Module, replicas: int) -> bool:
    """Whether `fuse_with_shared` applies and has fewer channels to convolve."""
    if not isinstance(fusion, PGSA):
        return False
    finest = max(fusion.groups)
    return replicas % finest == 0 and replicas > finest and all(finest % group == 0 for group in fusion.groups)


@torch.no_grad()
def start_as_sum(fusion: nn.Module, n_terms: int, in_chans: int, replicas: int, order: str) -> None:
    """Make a fresh fusion the plain sum of its terms for replicas that are equal, as they are at the first stage.

    Every output channel takes one replica of its own part (real or imaginary) of each term, its own replica where its
    group of the convolution has it. The gate, a sigmoid, starts at 1/2 exactly and the deltas at 2, so that the gate
    learns at once, which it would not near 1. The random weights stay, less their mean over the replicas: they add
    nothing to equal replicas and let the replicas part in training.

    Parameters
    ----------
    fusion
        `PGSA` or `ChannelFusion`, changed in place.
    n_terms
        Number of terms.
    in_chans, replicas
        As in `csmri_ext.models.HQS`.
    order
        Of the input channels, one of `ORDERS`.

    Raises
    ------
    ValueError
        Groups that do not see every term of a replica.
    """
    gates: list[nn.Module]
    if isinstance(fusion, ChannelFusion):
        weights, groups, gates = [fusion.mix.weight], [1], [fusion.attend.excite]
    elif isinstance(fusion, PGSA):
        weights, groups = list(fusion.weights), list(fusion.groups)
        gates = [fusion.squeeze_mean[-1], fusion.squeeze_maximum[-1]]
    else:
        raise TypeError(f"{type(fusion).__name__} has no start as a sum")
    if order == "terms" and max(groups) > 1:
        raise ValueError(
            f"groups {tuple(groups)} see only some of the terms in order 'terms' and cannot start as their sum: "
            "order 'replicas', or start 'literal'"
        )
    if any(replicas % group for group in groups):
        raise ValueError(
            f"{replicas} replicas cannot be shared by groups {tuple(groups)}, as start 'identity' needs: "
            "groups that divide the replicas, or start 'literal'"
        )
    first = 0
    for weight, group in zip(weights, groups, strict=True):
        seen = replicas // group  # by each group
        shape = (seen, n_terms, in_chans) if order == "replicas" else (n_terms, in_chans, seen)
        taps = weight.unflatten(1, shape)
        if order == "terms":
            taps = taps.movedim(3, 1)  # (outputs, replicas, terms, parts, k, k), a view in both orders
        taps -= taps.mean(1, keepdim=True)
        centre, outputs = weight.shape[-1] // 2, weight.shape[0]
        for j in range(outputs):
            part, replica = divmod(first + j, replicas)
            taps[j, replica % seen, :, part, centre, centre] += 2
        first += outputs
    for gate in gates:
        assert isinstance(gate, nn.Linear)
        nn.init.zeros_(gate.weight)
        nn.init.zeros_(gate.bias)
