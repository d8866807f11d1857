"""GA-HQS: generalized accelerated half-quadratic splitting, and the baselines of its ablation study."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from csmri_ext.models.hqs import HQS
from csmri_ext.nn import CSE, PGSA
from csmri_ext.physics import Encoding


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

    def forward(self, parts: Sequence[Tensor], scales: Tensor) -> Tensor:
        """Parts ``(batch, channels_p, ny, nx)`` with one factor each to ``(batch, out_channels, ny, nx)``."""
        scaled = [scale * part for scale, part in zip(scales.unbind(), parts, strict=True)]
        result: Tensor = self.attend(self.mix(torch.cat(scaled, 1)))
        return result


FUSIONS: dict[str, Callable[[int, int], nn.Module]] = {"pgsa": PGSA, "cse": ChannelFusion}


class GAHQS(HQS):
    """A-HQS whose sums are learned: the terms of each step are concatenated and fused (GA-HQS, eq. 7).

    On m complex replicas of the image, C = 2 m channels::

        X_{k+1}    = Fuse([zhat_k, eta_k F_u^H y, -eta_k F_u^H F_u zhat_k])       eq. 7a, 3 C -> C
        Z_{k+1}    = D_k(X_{k+1})                                                 eq. 7b
        Zhat_{k+1} = Fuse([(1 + beta_k) Z_{k+1}, -beta_k Z_k])                    eq. 7c, 2 C -> C

    The last data step from the mean of the replicas is ``x + eta_K F_u^H (y - F_u x)``; with several coils all of these
    are gradient steps. No concatenation is made: `PGSA` reads the terms where they are.

    Parameters
    ----------
    fusion
        ``"pgsa"``, or ``"cse"`` (baseline-2).
    denoiser, stages, replicas, accelerated, final_step, checkpointing, in_chans, peak
        As in `HQS`. Without `accelerated`, Zhat = Z (baseline-1); with ``denoiser="unet"`` baseline-3. The channels,
        ``in_chans * replicas``, must suit the fusion: multiples of 32 for PGSA's four branches of 1, 2, 4, 8 groups.
    """

    def __init__(
        self,
        denoiser: str | Callable[[int], nn.Module] = "msst",
        *,
        fusion: str = "pgsa",
        stages: int = 8,
        replicas: int = 16,
        accelerated: bool = True,
        final_step: bool = True,
        checkpointing: bool = False,
        in_chans: int = 2,
        peak: float | None = 1.0,
    ) -> None:
        super().__init__(
            denoiser, stages=stages, replicas=replicas, accelerated=accelerated, final_step=final_step,
            checkpointing=checkpointing, in_chans=in_chans, peak=peak,
        )  # fmt: skip
        if fusion not in FUSIONS:
            raise ValueError(f"fusion is {fusion!r}, expected one of {', '.join(FUSIONS)}")
        make, c = FUSIONS[fusion], self.channels
        self.fuse_data = nn.ModuleList(make(3 * c, c) for _ in range(stages))
        self.fuse_momentum = nn.ModuleList(make(2 * c, c) for _ in range(self.extrapolations))

    def stage(self, k: int, z: Tensor, zhat: Tensor, zero_filled: Tensor, encoding: Encoding) -> tuple[Tensor, Tensor]:
        """Return ``Z_{k+1}`` and ``Zhat_{k+1}``, real ``(batch, channels, ny, nx)`` each."""
        eta = torch.sigmoid(self.theta[k])
        normal = self.on_replicas(encoding.normal, zhat)
        x = self.fuse_data[k]((zhat, zero_filled, normal), torch.stack([torch.ones_like(eta), eta, -eta]))
        following = self.denoisers[k](x)
        if self.beta is None or k >= self.extrapolations:
            return following, following
        beta = self.beta[k]
        return following, self.fuse_momentum[k]((following, z), torch.stack([1 + beta, -beta]))

    def _last_step(self, image: Tensor, encoding: Encoding) -> Tensor:
        return encoding.step(image, torch.sigmoid(self.theta[-1]))
