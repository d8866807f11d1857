"""Conjugate gradients in torch, for all solvers of the package: each image of a batch is a problem of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor],
    residual: Tensor,
    *,
    iterations: int,
    tolerance: float,
    reference: Tensor | None = None,
    stop: bool = False,
) -> Tensor:
    """Solve ``N d = r`` from ``d = 0`` for a self-adjoint, positive N (Hestenes and Stiefel, 1952).

    To start at an image ``x_0`` pass ``r = b - N x_0``; the solution of ``N x = b`` is then ``x_0 + d``.

    Parameters
    ----------
    apply
        ``apply(p)`` returns ``N p``.
    residual
        r, complex, ``(..., ny, nx)``; each of the leading axes holds images that are solved on their own.
    iterations
        At most this many, each one application of N.
    tolerance
        An image is done when the norm of its residual is at most `tolerance` times that of `reference`.
    reference
        Complex, shape of `residual`; None: `residual`.
    stop
        Stop when all images are done, which waits for their values. Otherwise all iterations run, those of a finished
        image without effect: nothing is read back from a GPU, and `torch.compile` sees one graph.

    Returns
    -------
        d, shape and dtype of `residual`. Differentiable, by unrolling. Proportional to `residual` in any unit that its
        dtype holds: the squares of the algorithm are taken of numbers around 1.
    """
    unit = residual.detach().abs().amax((-2, -1), keepdim=True)
    unit = torch.where(unit > 0, unit, 1)
    residual = residual / unit
    energy = _inner(residual, residual)
    goal = tolerance**2 * (energy if reference is None else _inner(reference / unit, reference / unit)).detach()
    solution, direction = torch.zeros_like(residual), residual
    for left in reversed(range(iterations)):
        active = energy > goal
        if stop and not active.any():
            break
        applied = apply(direction)
        curvature = _inner(direction, applied)
        # a step of 0 keeps an image that is done, where the quotients may be 0 / 0
        step = torch.where(active, energy, 0) / torch.where(active, curvature, 1)
        solution = solution + step * direction
        if not left:
            break
        residual = residual - step * applied
        energy, previous = _inner(residual, residual), energy
        direction = residual + torch.where(active, energy, 0) / torch.where(active, previous, 1) * direction
    return solution * unit


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """``Re <a, b>`` of each image, ``(..., 1, 1)``."""
    pairs = torch.view_as_real(a.resolve_conj()) * torch.view_as_real(b.resolve_conj())
    return pairs.sum((-3, -2, -1))[..., None, None]
