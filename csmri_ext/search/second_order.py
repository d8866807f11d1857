"""Gradient of the alphas through one step of the weights: the second-order approximation of DARTS."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

RELATIVE_STEP = 0.01  # of the finite difference, as in DARTS


def unrolled_gradient(
    loss_for_weights: Callable[[], Tensor],
    loss_for_alphas: Callable[[], Tensor],
    weights: Sequence[Tensor],
    alphas: Tensor,
    xi: float,
    *,
    relative_step: float = RELATIVE_STEP,
) -> tuple[Tensor, Tensor]:
    """Gradient of ``L_2(w - xi dL_1/dw (w, alpha), alpha)`` with respect to alpha (DARTS, eq. 6 to 8).

    ``dL_2/dalpha (w', alpha) - xi d^2 L_1 / (dalpha dw) v`` with ``w' = w - xi dL_1/dw`` and
    ``v = dL_2/dw (w', alpha)``. The product is a central difference of ``dL_1/dalpha`` at ``w + eps v`` and
    ``w - eps v``, divided by ``2 eps``; ``eps = relative_step / ||v||``.

    Parameters
    ----------
    loss_for_weights, loss_for_alphas
        ``L_1`` and ``L_2``, evaluated at the present values of `weights` and `alphas`.
    weights, alphas
        Leaves. `weights` are changed in between and are exactly what they were afterwards.
    xi
        Length of the step, the learning rate of the weights. Momentum, weight decay and clipping are not part of it.
    relative_step
        Norm of the change of the weights in the finite difference.

    Returns
    -------
        The gradient, of the shape of `alphas`; and the value of ``L_2`` after the step.
    """
    before = [w.detach().clone() for w in weights]
    try:
        _shift(weights, before, torch.autograd.grad(loss_for_weights(), weights), -xi)
        loss = loss_for_alphas()
        gradient, *direction = torch.autograd.grad(loss, [alphas, *weights])
        norm = float(torch.stack([v.norm() for v in direction]).norm())
        if norm == 0:  # the step does not matter
            return gradient, loss.detach()
        eps = relative_step / norm
        sides = []
        for factor in (eps, -eps):
            _shift(weights, before, direction, factor)
            sides.append(torch.autograd.grad(loss_for_weights(), alphas)[0])
        return gradient - xi * (sides[0] - sides[1]) / (2 * eps), loss.detach()
    finally:
        _shift(weights, before, before, 0.0)


@torch.no_grad()
def _shift(weights: Sequence[Tensor], start: Sequence[Tensor], direction: Sequence[Tensor], factor: float) -> None:
    for w, origin, d in zip(weights, start, direction, strict=True):
        w.copy_(origin if factor == 0 else origin + factor * d)
