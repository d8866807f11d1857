from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from search_samples import MadeSamples
from torch import Tensor

import csmri_ext
from csmri_ext.search import Supernet
from csmri_ext.search.second_order import unrolled_gradient


def exact(first: Callable[..., Tensor], second: Callable[..., Tensor], w: Tensor, alpha: Tensor, xi: float) -> Tensor:
    """The gradient by automatic differentiation through the step."""
    (gradient,) = torch.autograd.grad(first(w, alpha), w, create_graph=True)
    return torch.autograd.grad(second(w - xi * gradient, alpha), alpha)[0]


@pytest.mark.parametrize("xi", [0.025, 0.5])
def test_equals_automatic_differentiation(xi: float) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b, start, w, alpha = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in [(6, 4), (6, 4), (6,), (4,), (3,)]
    )
    w.requires_grad_()
    alpha.requires_grad_()

    def loss(matrix: Tensor, w: Tensor, alpha: Tensor) -> Tensor:
        strengths = alpha.softmax(0)
        mixed = strengths[0] * torch.tanh(matrix @ w) + strengths[1] * (matrix @ w) ** 2 + strengths[2] * start
        return ((mixed - 1) ** 2).mean()

    before = w.detach().clone()
    gradient, value = unrolled_gradient(
        lambda: loss(a, w, alpha), lambda: loss(b, w, alpha), [w], alpha, xi, relative_step=1e-4
    )
    truth = exact(lambda w, alpha: loss(a, w, alpha), lambda w, alpha: loss(b, w, alpha), w, alpha, xi)
    torch.testing.assert_close(gradient, truth, rtol=1e-6, atol=1e-9)
    assert torch.equal(w.detach(), before)
    step = torch.autograd.grad(loss(a, w, alpha), w)[0]
    torch.testing.assert_close(value, loss(b, w - xi * step, alpha).detach())
    first_order = torch.autograd.grad(loss(b, w, alpha), alpha)[0]
    assert float((first_order - truth).norm()) > 0.01 * float(truth.norm()), (
        "the problem does not tell the orders apart"
    )


def test_on_a_supernet() -> None:
    """The error of the difference falls with its step, down to rounding; kinks of ReLU and L1 lie further away."""
    torch.manual_seed(0)
    net = Supernet("A", nodes=1, cells=1, channels=2).double()
    torch.nn.init.normal_(net.alphas)
    data = [
        (s.kspace.to(torch.complex128)[None], s.mask[None], s.target.to(torch.complex128)[None])
        for s in (MadeSamples(0, size=6)[0], MadeSamples(1, size=6)[0])
    ]
    names = [name for name, _ in net.named_parameters() if name != "alphas"]
    weights, xi = net.weights(), 0.025

    with csmri_ext.reference_ops():
        gradients = torch.autograd.grad(net.loss(*data[0]), weights, create_graph=True)
        moved = {name: w - xi * g for name, w, g in zip(names, weights, gradients, strict=True)}

        class Loss(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = net

            def forward(self) -> Tensor:
                return self.net.loss(*data[1])

        unrolled = torch.func.functional_call(Loss(), {f"net.{name}": w for name, w in moved.items()}, ())
        (truth,) = torch.autograd.grad(unrolled, [net.alphas])
    gradient, _ = unrolled_gradient(
        lambda: net.loss(*data[0]), lambda: net.loss(*data[1]), weights, net.alphas, xi, relative_step=1e-6
    )
    (first_order,) = torch.autograd.grad(net.loss(*data[1]), [net.alphas])
    assert float((gradient - truth).norm()) < 1e-3 * float((first_order - truth).norm())


def test_weights_that_do_not_matter() -> None:
    w, alpha = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    gradient, _ = unrolled_gradient(lambda: (w * alpha).sum(), lambda: (alpha**2 + 0 * w).sum(), [w], alpha, 0.1)
    assert gradient.tolist() == [2, 2]
