"""GA-HQS: generalized accelerated half-quadratic splitting, and the baselines of its ablation study."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from csmri_ext.models.fusion import (
    ORDERS,
    ChannelFusion,
    can_share,
    fuse_with_shared,
    replica_major,
    start_as_sum,
)
from csmri_ext.models.hqs import HQS
from csmri_ext.nn import PGSA
from csmri_ext.nn.proximal_steps import learned_noise_factor
from csmri_ext.physics import Encoding

FUSIONS = ("pgsa", "cse")
GROUPS = (1, 2, 4, 8)
SEVERAL = 3.0
"""How much less several coils are trusted than one: to unfold amplifies the noise."""


class GAHQS(HQS):
    """A-HQS whose sums are learned: the terms of each step are concatenated and fused (GA-HQS, eq. 7).

    On m complex replicas of the image, C = 2 m channels::

        X_{k+1}    = Fuse([zhat_k, eta_k F_u^H y, -eta_k F_u^H F_u zhat_k])       eq. 7a, 3 C -> C
        Z_{k+1}    = D_k(X_{k+1})                                                 eq. 7b
        Zhat_{k+1} = Fuse([(1 + beta_k) Z_{k+1}, -beta_k Z_k])                    eq. 7c, 2 C -> C

    The last data step from the mean of the replicas is ``x + eta_K F_u^H (y - F_u x)``. With several coils F_u F_u^H is
    not the identity, and the sum of eq. 7a is a gradient step; a few of those are far from convergence. So the steps
    are proximal there (`Encoding.proximal`, of one image each), which with one coil is the same as above: Z_0, the last
    step, and in each stage the mean m_k of the replicas, for which the second term of eq. 7a, the same on all of them,
    becomes ``prox(m_k) - m_k + eta_k F_u^H F_u m_k``. In the stages and in the last step of several coils mu is
    `SEVERAL` times ``exp(-theta_k)`` at a certain noise, and follows the noise of each slice
    (`csmri_ext.nn.proximal_steps.learned_noise_factor`): what the last step lets in nothing removes.

    Parameters
    ----------
    fusion
        ``"pgsa"``, or ``"cse"`` (baseline-2).
    splits, groups
        Branches of `PGSA`, and the groups of each; default the first `splits` of 1, 2, 4, 8, or as many as divide the
        channels of a branch and, where the start asks for it, the replicas (1, 2, 4, 4 with 8 replicas).
    order
        Of the channels in the concatenation. ``"replicas"``: all terms of the first replica, then all of the second, so
        that every group of a convolution sees every term. ``"terms"``: block by block, as eq. 7 is written; grouped
        branches then see parts of the terms only, but no concatenation is made: `PGSA` reads the terms where they are.
    start
        ``"identity"``: a fresh network is A-HQS with an identity denoiser, on all replicas alike
        (`csmri_ext.models.fusion.start_as_sum`); it improves on the zero-filled image of several coils, and returns
        that of one coil. Needs order ``"replicas"`` or one group. ``"literal"``: random.
    denoiser, stages, replicas, accelerated, final_step, checkpointing, width, in_chans, peak
        As in `HQS`. Without `accelerated`, Zhat = Z (baseline-1); with ``denoiser="unet"`` baseline-3. The channels,
        ``in_chans * replicas``, must divide into `splits` branches.

    Raises
    ------
    ValueError
        Settings that do not fit together: both are named.
    """

    def __init__(
        self,
        denoiser: str | Callable[[int], nn.Module] = "msst",
        *,
        fusion: str = "pgsa",
        splits: int = 4,
        groups: Sequence[int] | None = None,
        order: str = "replicas",
        stages: int = 8,
        replicas: int = 16,
        accelerated: bool = True,
        final_step: bool = True,
        checkpointing: bool = False,
        width: int | None = None,
        start: str = "identity",
        in_chans: int = 2,
        peak: float | None = 1.0,
    ) -> None:
        super().__init__(
            denoiser, stages=stages, replicas=replicas, accelerated=accelerated, final_step=final_step,
            checkpointing=checkpointing, width=width, start=start, in_chans=in_chans, peak=peak,
        )  # fmt: skip
        if fusion not in FUSIONS:
            raise ValueError(f"fusion is {fusion!r}, expected one of {', '.join(FUSIONS)}")
        if order not in ORDERS:
            raise ValueError(f"order is {order!r}, expected {' or '.join(ORDERS)}")
        if groups is None:
            width_of_branch = self.channels // max(splits, 1)
            whole = replicas if start == "identity" else 0  # which needs groups of whole replicas; gcd(n, 0) = n
            groups = tuple(math.gcd(group, width_of_branch, whole) for group in GROUPS[:splits])
        pyramid = partial(PGSA, splits=splits, groups=groups)
        make: Callable[[int, int], nn.Module] = pyramid if fusion == "pgsa" else ChannelFusion
        self.order, c = order, self.channels
        self.fuse_data = nn.ModuleList(make(3 * c, c) for _ in range(stages))
        self.fuse_momentum = nn.ModuleList(make(2 * c, c) for _ in range(self.extrapolations))
        if start == "identity":
            for n_terms, fusions in ((3, self.fuse_data), (2, self.fuse_momentum)):
                for made in fusions:
                    start_as_sum(made, n_terms, in_chans, replicas, order)

    def first(self, encoding: Encoding, image: Tensor, zero_filled: Tensor) -> Tensor:
        """Return ``z_0``: the zero-filled image, with several coils the proximal step from it, on all replicas."""
        if encoding.sens_maps is None:
            return zero_filled
        return self.spread(encoding.proximal(image, self._mu(0)))

    def stage(self, k: int, z: Tensor, zhat: Tensor, zero_filled: Tensor, encoding: Encoding) -> tuple[Tensor, Tensor]:
        """Return ``Z_{k+1}`` and ``Zhat_{k+1}``, real ``(batch, channels, ny, nx)`` each."""
        eta = torch.sigmoid(self.theta[k])
        normal = self.on_replicas(encoding.normal, zhat)
        if encoding.multi_coil:
            mean = self.collect(zhat)
            step = encoding.proximal(mean, self._mu_of_several_coils(k, encoding)) - mean
            zero_filled = self.spread(step / eta + self.collect(normal))
        scales = torch.stack([torch.ones_like(eta), eta, -eta])
        x = self._fuse(self.fuse_data[k], (zhat, zero_filled, normal), scales, shared=1)  # on all replicas alike
        following = self.denoisers[k](x)
        if self.beta is None or k >= self.extrapolations:
            return following, following
        beta = self.beta[k]
        return following, self._fuse(self.fuse_momentum[k], (following, z), torch.stack([1 + beta, -beta]))

    def _last_step(self, image: Tensor, encoding: Encoding) -> Tensor:
        several = encoding.multi_coil
        return encoding.proximal(image, self._mu_of_several_coils(-1, encoding) if several else self._mu(-1))

    def _mu(self, k: int) -> Tensor:
        return torch.exp(-self.theta[k])

    def _mu_of_several_coils(self, k: int, encoding: Encoding) -> Tensor:
        return self._mu(k) * SEVERAL * learned_noise_factor(encoding)

    def _fuse(self, fusion: nn.Module, terms: Sequence[Tensor], scales: Tensor, shared: int | None = None) -> Tensor:
        if self.order == "terms":
            result: Tensor = fusion(terms, scales)
        elif shared is not None and can_share(fusion, self.replicas):
            assert isinstance(fusion, PGSA)
            result = fuse_with_shared(fusion, terms, scales, shared, self.in_chans, self.replicas)
        else:
            result = fusion(replica_major(terms, scales, self.in_chans, self.replicas))
        return result
