"""Our operators inside the packages that people of the field use, by their own means; each where it is installed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peers import peer
from torch import Tensor

from csmri_ext import nn
from csmri_ext.ops import data_consistency, sense_normal
from csmri_ext.physics import Encoding

pytestmark = pytest.mark.filterwarnings("ignore")  # their own


def problem(dtype: torch.dtype = torch.complex128) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Image, k-space, sensitivities and mask."""
    generator = torch.Generator().manual_seed(0)
    image, kspace, maps = (
        torch.randn(*shape, generator=generator, dtype=dtype) for shape in ((12, 15), (4, 12, 15), (4, 12, 15))
    )
    return image, kspace, maps, torch.rand(15, generator=generator) < 0.5


def inner(a: Tensor, b: Tensor) -> complex:
    return complex(torch.vdot(a.flatten(), b.flatten()))


# --- mrpro ---------------------------------------------------------------------------------------------------------
def test_mrpro_linear_operator() -> None:
    """Its operator algebra, its adjoint and its norm, which it finds by power iterations."""
    operators = peer("mrpro.operators")
    image, kspace, maps, mask = problem()
    encoding = Encoding(None, mask, maps)

    class Sense(operators.LinearOperator):
        def forward(self, x: Tensor) -> tuple[Tensor]:
            return (encoding.forward(x),)

        def adjoint(self, x: Tensor) -> tuple[Tensor]:
            return (encoding.adjoint(x),)

    operator = Sense()
    assert inner(operator(image)[0], kspace) == pytest.approx(inner(image, operator.H(kspace)[0]))
    torch.testing.assert_close((operator.H @ operator)(image)[0], encoding.normal(image))
    encoding, start = Encoding(None, mask, maps.to(torch.complex64)), image.to(torch.complex64)  # as its norms are
    norm = operator.operator_norm(start, dim=None, max_iterations=200)
    direction = start
    for _ in range(200):
        direction = encoding.normal(direction / direction.norm())
    assert norm.item() ** 2 == pytest.approx(direction.norm().item(), rel=1e-2)


@pytest.mark.parametrize("kind", ["data_consistency", "sense_normal", "split_depthwise", "pgsa"])
def test_mrpro_jacobian(kind: str) -> None:
    """Its linearization, by `torch.func.jvp` and `vjp`: adjoint to itself, and the operator where that is linear."""
    operators = peer("mrpro.operators")
    image, kspace, maps, mask = problem()
    torch.manual_seed(0)
    layers: dict[str, tuple[Any, Tensor]] = {
        "data_consistency": (lambda x: data_consistency(x, kspace[0], mask, 0.3), image),
        "sense_normal": (lambda x: sense_normal(x, maps, mask), image),
        "split_depthwise": (nn.SplitDepthwiseConv(8).double(), torch.randn(1, 8, 6, 7, dtype=torch.float64)),
        "pgsa": (nn.PGSA(8, 8, groups=(1, 2, 2, 2)).double(), torch.randn(1, 8, 6, 7, dtype=torch.float64)),
    }
    function, x = layers[kind]

    class Wrapped(operators.Operator):
        def forward(self, x: Tensor) -> tuple[Tensor]:
            return (function(x),)

    jacobian = operators.Jacobian(Wrapped(), x)
    u, v = torch.randn_like(x), torch.randn_like(x)
    (moved,) = jacobian(u)
    assert inner(moved, v) == pytest.approx(inner(u, jacobian.adjoint(v)[0]))
    step = 1e-6
    difference = (function(x + step * u) - function(x - step * u)) / (2 * step)
    torch.testing.assert_close(moved, difference, rtol=1e-5, atol=1e-6)


# --- deepinv -------------------------------------------------------------------------------------------------------
def test_deepinv_adjoint_function() -> None:
    """It takes the adjoint of a forward operator by `torch.func.vjp`."""
    forward = peer("deepinv.physics.forward")
    image, kspace, maps, mask = problem()
    images, coils = image[None], kspace[None]
    encoding = Encoding(None, mask, maps)
    adjoint = forward.adjoint_function(encoding.forward, images.shape, dtype=images.dtype)
    torch.testing.assert_close(adjoint(coils), encoding.adjoint(coils))
    normal = forward.adjoint_function(lambda x: sense_normal(x, maps, mask), images.shape, dtype=images.dtype)
    torch.testing.assert_close(normal(images), encoding.normal(images))
    physics = forward.LinearPhysics(A=encoding.forward, A_adjoint=encoding.adjoint)
    assert abs(physics.adjointness_test(images)) < 1e-4


# --- SigPy ---------------------------------------------------------------------------------------------------------
def test_sigpy_linop() -> None:
    """The same numbers as its SENSE operator, and its own checks of a Linop: adjoint, normal, linearity, unitarity."""
    linop = peer("sigpy.mri.linop")
    sigpy = peer("sigpy")
    image, kspace, maps, mask = problem()
    encoding = Encoding(None, mask, maps)
    theirs = linop.Sense(maps.numpy(), weights=mask.expand(maps.shape).numpy().astype(float))
    torch.testing.assert_close(encoding.forward(image), torch.as_tensor(theirs * image.numpy()))
    torch.testing.assert_close(encoding.adjoint(kspace), torch.as_tensor(theirs.H * kspace.numpy()))
    torch.testing.assert_close(encoding.normal(image), torch.as_tensor(theirs.N * image.numpy()))

    class Ours(sigpy.linop.Linop):
        def __init__(self, adjoint: bool = False) -> None:
            shapes = list(maps.shape), list(image.shape)
            super().__init__(*(shapes[::-1] if adjoint else shapes))
            self.is_adjoint = adjoint

        def _apply(self, x: Any) -> Any:
            function = encoding.adjoint if self.is_adjoint else encoding.forward
            return function(torch.as_tensor(x)).numpy()

        def _adjoint_linop(self) -> Any:
            return Ours(not self.is_adjoint)

    ours = Ours()
    x, y = image.numpy(), kspace.numpy()
    left, right = ((ours * x).conj() * y).sum(), (x.conj() * (ours.H * y)).sum()
    assert left == pytest.approx(right)
    torch.testing.assert_close(torch.as_tensor(ours.H.H * x), torch.as_tensor(ours * x))
    torch.testing.assert_close(torch.as_tensor(ours.N * x), encoding.normal(image))
    scaled = (2 + 1j) * ours
    torch.testing.assert_close(torch.as_tensor(scaled * x), torch.as_tensor(ours * ((2 + 1j) * x)))
