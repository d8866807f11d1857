"""Properties that operators of all kinds must have, each one line in a test."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def inner_product(a: Tensor, b: Tensor) -> complex:
    """Sum of conj(a) b in double precision."""
    wide = torch.complex128 if a.is_complex() or b.is_complex() else torch.float64
    return complex(torch.vdot(a.detach().to(wide).flatten(), b.detach().to(wide).flatten()))


def assert_adjoint(
    forward: Callable[[Tensor], Tensor], adjoint: Callable[[Tensor], Tensor], x: Tensor, y: Tensor
) -> None:
    """<A x, y> = <x, A^H y>, to the rounding of the dtype. Between real and complex spaces, the real part of it."""
    left, right = inner_product(forward(x), y), inner_product(x, adjoint(y))
    if x.is_complex() != y.is_complex():
        left, right = complex(left.real), complex(right.real)
    size = float(forward(x).detach().norm()) * float(y.detach().norm())
    assert abs(left - right) <= 100 * torch.finfo(x.dtype).eps * size, f"<A x, y> = {left}, <x, A^H y> = {right}"


def assert_linear(f: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> None:
    """F(2 x - 3 y) = 2 f(x) - 3 f(y)."""
    expected = 2 * f(x) - 3 * f(y)
    error = (f(2 * x - 3 * y) - expected).norm()
    assert error <= 100 * torch.finfo(x.dtype).eps * expected.norm(), f"relative error {error / expected.norm():.1e}"


def assert_gradients(f: Callable[..., Tensor], *inputs: Any, twice: bool = True) -> None:
    """Gradients, and (in random directions) their gradients, against finite differences. Inputs in double precision."""
    leaves = [x.detach().clone().requires_grad_() if isinstance(x, Tensor) else x for x in inputs]
    assert torch.autograd.gradcheck(f, leaves, atol=1e-7)
    if twice:
        assert torch.autograd.gradgradcheck(f, leaves, atol=1e-7, fast_mode=True)


def at_thread_counts(counts: Iterable[int], run: Callable[[], T]) -> list[T]:
    """What `run` returns on each of these numbers of threads of torch."""
    before = torch.get_num_threads()
    results = []
    try:
        for n in counts:
            torch.set_num_threads(n)
            results.append(run())
    finally:
        torch.set_num_threads(before)
    return results
