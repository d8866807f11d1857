"""Every network in every direction: forward mode, derivatives of derivatives, `torch.vmap`, in input and weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from small_networks import KINDS, problem, small
from torch import Tensor
from torch.func import functional_call, grad, jvp, vjp, vmap

pytestmark = pytest.mark.usefixtures("one_thread")

SEVERAL_COILS = ["modl", "e2e_varnet"]


@pytest.fixture(
    params=[(name, 0) for name in KINDS] + [(name, 3) for name in SEVERAL_COILS], ids=lambda p: f"{p[0]}-{p[1]}"
)
def case(request: pytest.FixtureRequest) -> tuple[Callable[..., Tensor], dict[str, Tensor], Tensor]:
    """``f(weights, kspace)`` in double precision, both arguments; weights at which no layer is the identity."""
    name, coils = request.param
    network = small(name).double().eval()
    (kspace, mask, *maps), _ = problem(coils, nx=32)
    maps = [m.to(torch.complex128) for m in maps]
    weights = {n: p.detach() + 0.02 * torch.randn_like(p) for n, p in network.named_parameters()}
    return lambda w, k: functional_call(network, w, (k, mask, *maps)), weights, kspace.to(torch.complex128)


def inner(a: Tensor, b: Tensor) -> float:
    pairs = torch.view_as_real(a.resolve_conj()) * torch.view_as_real(b.resolve_conj())
    return float(pairs.sum().detach())


def energy(f: Callable[..., Tensor], weights: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda kspace: f(weights, kspace).abs().square().sum()


def test_forward_mode_is_the_adjoint_of_backward(case: tuple) -> None:
    """``<u, J v> = <J^H u, v>``, of k-space and of weights: unlike finite differences it does not mind kinks."""
    f, weights, kspace = case
    moved, moves = torch.randn_like(kspace), {n: torch.randn_like(p) for n, p in weights.items()}
    value, tangent = jvp(lambda k: f(weights, k), (kspace,), (moved,))
    seen = torch.randn_like(value)
    (pulled,) = vjp(lambda k: f(weights, k), kspace)[1](seen)
    assert inner(seen, tangent) == pytest.approx(inner(pulled, moved), rel=1e-9)
    _, of_weights = jvp(lambda w: f(w, kspace), (weights,), (moves,))
    (gradients,) = vjp(lambda w: f(w, kspace), weights)[1](seen)
    expected = sum(float((gradients[n] * moves[n]).sum()) for n in moves)
    assert inner(seen, of_weights) == pytest.approx(expected, rel=1e-9)


def test_products_with_the_hessian_agree(case: tuple) -> None:
    """Forward over reverse, as docs/derivatives.md recommends, and reverse over reverse."""
    f, weights, kspace = case
    moved = torch.randn_like(kspace)
    gradient = grad(energy(f, weights))
    torch.testing.assert_close(jvp(gradient, (kspace,), (moved,))[1], vjp(gradient, kspace)[1](moved)[0])


def test_vmap_of_gradients(case: tuple) -> None:
    f, weights, kspace = case
    several = torch.stack([kspace, 2j * kspace, kspace.flip(-2)])
    gradient = grad(energy(f, weights))
    torch.testing.assert_close(vmap(gradient)(several), torch.stack([gradient(one) for one in several]))
