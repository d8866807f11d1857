"""Derivatives of every op in every direction: forward mode, `torch.func`, and `torch.vmap`, against the twins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from op_samples import SAMPLES, SMALL, OpSample, Result, outputs
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import grad, jacfwd, jacrev, jvp, vjp, vmap

import csmri_ext
from csmri_ext import ops

every_op = pytest.mark.parametrize("op", SAMPLES, ids=str)
Function = Callable[..., Result]


def inputs_of(op: OpSample, batch: int = 1) -> tuple[Tensor, ...]:
    return op.make(batch, torch.float64, SMALL)


def directions(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(x.shape, generator=generator, dtype=x.dtype) for x in inputs)


def loss(result: Result) -> Tensor:
    """Not linear, so that every derivative of it depends on the point; no random numbers, which vmap refuses."""
    total = torch.zeros((), dtype=torch.float64)
    for out in outputs(result):
        parts = real(out)
        factors = torch.arange(parts.numel(), dtype=torch.float64).cos().view(parts.shape)
        total = total + (factors * parts**3).sum()
    return total


def real(x: Tensor) -> Tensor:
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def assert_close(found: Any, expected: Any) -> None:
    for one, other in zip(outputs(found), outputs(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def agree(op: OpSample, derivative: Callable[[Function], Any]) -> None:
    expected = derivative(op.twin)
    assert any(bool(x.abs().max() > 0) for x in outputs(expected))
    assert_close(derivative(op.call), expected)


# --- forward mode --------------------------------------------------------------------------------------------------
@every_op
def test_forward_mode_is_the_finite_difference(op: OpSample) -> None:
    """Of each argument alone, and of all together."""
    inputs = inputs_of(op, 2)
    moves = directions(inputs)
    for chosen in [*range(len(inputs)), None]:
        v = tuple(m if chosen in (i, None) else torch.zeros_like(m) for i, m in enumerate(moves))
        step = 1e-6
        ahead, behind = (op.twin(*(x + sign * step * m for x, m in zip(inputs, v, strict=True))) for sign in (1, -1))
        value, tangent = jvp(op.call, inputs, v)
        assert_close(value, op.twin(*inputs))
        for t, a, b in zip(outputs(tangent), outputs(ahead), outputs(behind), strict=True):
            torch.testing.assert_close(t, (a - b) / (2 * step), rtol=1e-6, atol=1e-6)


@every_op
def test_dual_tensors(op: OpSample) -> None:
    """Without `torch.func`, on some arguments only; the primal stays differentiable, forward over backward too."""
    inputs = inputs_of(op)
    (move, *_) = directions(inputs)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(inputs[0].clone().requires_grad_(), move)
        (gradient,) = torch.autograd.grad(loss(op.call(dual, *inputs[1:])), dual)
        found = forward_ad.unpack_dual(gradient)
    expected = jvp(grad(lambda x: loss(op.twin(x, *inputs[1:]))), inputs[:1], (move,))
    assert_close((found.primal, found.tangent), expected)


@every_op
def test_nothing_is_differentiated_outside_forward_mode(op: OpSample) -> None:
    """The kernels run in a dual level as anywhere else, if nothing has a tangent."""
    inputs = inputs_of(op)
    with forward_ad.dual_level():
        result = outputs(op.call(*inputs))
        assert all(forward_ad.unpack_dual(out).tangent is None for out in result)
    assert all(torch.equal(a, b) for a, b in zip(result, outputs(op.call(*inputs)), strict=True))


# --- torch.func ----------------------------------------------------------------------------------------------------
@every_op
def test_grad_and_vjp(op: OpSample) -> None:
    inputs = inputs_of(op, 2)
    everything = tuple(range(len(inputs)))
    agree(op, lambda f: grad(lambda *x: loss(f(*x)), everything)(*inputs))
    agree(op, lambda f: vjp(lambda *x: outputs(f(*x)), *inputs)[1](outputs(op.twin(*inputs))))


@every_op
def test_jacobians(op: OpSample) -> None:
    """By columns and by rows, of the last argument: weights, or a step."""
    *others, last = inputs_of(op)

    def pooled(f: Function) -> Callable[[Tensor], Tensor]:
        return lambda w: torch.stack([real(out).sum((-2, -1)).flatten() for out in outputs(f(*others, w))][:1])

    if last.is_complex():  # torch's jacobians are of real inputs
        pytest.skip("the last argument is complex")
    agree(op, lambda f: jacrev(pooled(f))(last))
    agree(op, lambda f: jacfwd(pooled(f))(last))


SECOND: dict[str, Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Any]] = {
    "forward over reverse": lambda f, x, v: jvp(grad(f), (x,), (v,))[1],
    "reverse over forward": lambda f, x, v: grad(lambda x: jvp(f, (x,), (v,))[1])(x),
    "reverse over reverse": lambda f, x, v: vjp(grad(f), x)[1](v)[0],
    "forward over forward": lambda f, x, v: jvp(lambda x: jvp(f, (x,), (v,))[1], (x,), (v,))[1],
}


@every_op
@pytest.mark.parametrize("order", SECOND)
def test_second_derivatives(op: OpSample, order: str) -> None:
    """In the first argument and in the last one, and of the mixed kind."""
    inputs = inputs_of(op)
    moves = directions(inputs)
    for i in (0, len(inputs) - 1):

        def second(f: Function, i: int = i) -> Any:
            return SECOND[order](lambda x: loss(f(*inputs[:i], x, *inputs[i + 1 :])), inputs[i], moves[i])

        agree(op, second)


@every_op
def test_second_derivatives_are_finite_differences(op: OpSample) -> None:
    """The twins are made of torch's functions, some of which are wrong where forward mode is differentiated again."""
    x, *others = inputs_of(op)
    move, *_ = directions((x,))
    step = 1e-5

    def of(f: Function) -> Callable[[Tensor], Tensor]:
        return lambda x: loss(f(x, *others))

    gradient = grad(of(op.twin))
    of_gradient = (gradient(x + step * move) - gradient(x - step * move)) / (2 * step)
    for order, second in SECOND.items():
        expected = (real(of_gradient) * real(move)).sum() if order == "forward over forward" else of_gradient
        found = second(of(op.call), x, move)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5, msg=lambda m, order=order: f"{order}: {m}")


@every_op
def test_third_derivatives(op: OpSample) -> None:
    inputs = inputs_of(op)
    (move, *_) = directions(inputs)

    def third(f: Function) -> Any:
        def once(g: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            return lambda x: (real(grad(g)(x)) * real(move)).sum()

        return grad(once(once(lambda x: loss(f(x, *inputs[1:])))))(inputs[0])

    agree(op, third)


@every_op
def test_create_graph_any_number_of_times(op: OpSample) -> None:
    """The same without `torch.func`."""
    inputs = inputs_of(op)
    (move, *_) = directions(inputs)

    def third(f: Function) -> Any:
        x = inputs[0].clone().requires_grad_()
        value = loss(f(x, *inputs[1:]))
        for _ in range(2):
            (g,) = torch.autograd.grad(value, x, create_graph=True)
            value = (real(g) * real(move)).sum()
        return torch.autograd.grad(value, x)[0]

    agree(op, third)


# --- vmap ----------------------------------------------------------------------------------------------------------
class CountedCalls(torch.utils._python_dispatch.TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "csmri_ext":
            self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


@every_op
def test_vmap_over_batches_is_one_call(op: OpSample) -> None:
    """The mapped axis joins the batch, wherever it stands."""
    batched, shared = inputs_of(op, 6)[: op.n_batched], inputs_of(op, 6)[op.n_batched :]
    mapped = tuple(x.unflatten(0, (3, 2)).movedim(0, -1) for x in batched)
    dims = (*[-1] * len(batched), *[None] * len(shared))
    with CountedCalls() as together:
        found = vmap(op.call, in_dims=dims)(*mapped, *shared)
    expected = [out.unflatten(0, (3, 2)) for out in outputs(op.call(*batched, *shared))]
    assert_close(found, tuple(expected))
    with CountedCalls() as alone:
        op.call(*batched, *shared)
    assert together.names == alone.names


@every_op
def test_vmap_over_anything(op: OpSample) -> None:
    """Each argument alone, among them weights and steps: what a loop computes."""
    inputs = inputs_of(op, 2)
    for i, x in enumerate(inputs):
        several = torch.stack([x, 2 * x, -x])
        dims = tuple(0 if i == j else None for j in range(len(inputs)))
        given = (*inputs[:i], several, *inputs[i + 1 :])
        loop = [outputs(op.call(*inputs[:i], one, *inputs[i + 1 :])) for one in several]
        assert_close(vmap(op.call, in_dims=dims)(*given), tuple(map(torch.stack, zip(*loop, strict=True))))


@every_op
def test_gradients_of_each_sample(op: OpSample) -> None:
    batched, shared = inputs_of(op, 3)[: op.n_batched], inputs_of(op, 3)[op.n_batched :]
    mapped = tuple(x.unsqueeze(1) for x in batched)
    dims = (*[0] * len(batched), *[None] * len(shared))
    everything = tuple(range(len(dims)))
    agree(op, lambda f: vmap(grad(lambda *x: loss(f(*x)), everything), in_dims=dims)(*mapped, *shared))


@every_op
def test_gradients_of_each_sample_conjugated_lazily(op: OpSample) -> None:
    """`torch.vmap` does not know the imaginary part of a lazy conjugate, so that backward passes must not take it."""
    batched, shared = inputs_of(op, 2)[: op.n_batched], inputs_of(op, 2)[op.n_batched :]
    mapped = tuple(x.unsqueeze(1) for x in batched)
    dims = (*[0] * len(batched), *[None] * len(shared))

    def conjugated(f: Function) -> Callable[..., Tensor]:
        return lambda *inputs: loss(f(*(x.conj() for x in inputs)))

    agree(op, lambda f: vmap(grad(conjugated(f), tuple(range(len(dims)))), in_dims=dims)(*mapped, *shared))


@every_op
def test_gradients_in_batches(op: OpSample) -> None:
    """By the older vmap of `torch.autograd`; where the graph is wanted, twice."""
    leaves = [x.requires_grad_() for x in inputs_of(op)]
    results = outputs(op.call(*leaves))
    weights = [torch.stack([out, 2 * out**2, out.cos()]).detach() for out in results]
    options: dict[str, Any] = {"create_graph": True, "allow_unused": True}
    found = torch.autograd.grad(results, leaves, weights, is_grads_batched=True, **options)
    first = [x for x in found if x is not None]
    each = [torch.autograd.grad(results, leaves, [w[i] for w in weights], **options) for i in range(3)]
    expected = [torch.stack(xs) for xs in zip(*each, strict=True) if xs[0] is not None]
    assert_close(tuple(first), tuple(expected))
    total, other = (torch.stack([(real(x) ** 2).sum() for x in xs]).sum() for xs in (first, expected))
    pair = torch.tensor([1.0, 2.0], dtype=total.dtype)
    (second,) = torch.autograd.grad([total], leaves[:1], [pair], is_grads_batched=True, retain_graph=True)
    (alone,) = torch.autograd.grad(other, leaves[:1])
    assert_close(second, torch.stack([alone, 2 * alone]))


def test_vmap_over_no_elements_says_why_not() -> None:
    x, w = torch.zeros(2, 4, 3, 3), torch.zeros(0, 1, 2, 3, 3)
    with pytest.raises((NotImplementedError, ValueError), match=r"vmap"):
        vmap(ops.split_depthwise, in_dims=(None, 0))(x, w)


# --- compiled ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["data_consistency-x", "split_depthwise", "pyramid_convolution"])
def test_transforms_compile(name: str) -> None:
    (op,) = (sample for sample in SAMPLES if sample.name == name)
    inputs = inputs_of(op)
    moves = directions(inputs)
    gradient = grad(lambda x: loss(op.call(x, *inputs[1:])))
    tangent = lambda *x: outputs(jvp(op.call, x, moves)[1])  # noqa: E731
    for function, arguments in ((gradient, inputs[:1]), (tangent, inputs)):
        torch._dynamo.reset()
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        assert_close(compiled(*arguments), function(*arguments))


# --- what has no derivative ----------------------------------------------------------------------------------------
def test_the_mask_is_refused_in_every_direction() -> None:
    image, kspace, eta = SAMPLES[0].make(1, torch.float64, SMALL)
    weights = torch.rand(SMALL[1], dtype=torch.float64)

    def of_mask(mask: Tensor) -> Tensor:
        return ops.data_consistency(image, kspace, mask, eta).abs().sum()

    def of_normal(mask: Tensor) -> Tensor:
        return ops.sense_normal(image, None, mask).abs().sum()

    for function in (of_mask, of_normal):
        for derivative in (
            lambda f: grad(f)(weights),
            lambda f: jvp(f, (weights,), (weights,)),
            lambda f: f(weights.clone().requires_grad_()),
            lambda f: grad(lambda m: jvp(lambda s: f(s * m), (eta,), (eta,))[1])(weights),
        ):
            with pytest.raises((NotImplementedError, ValueError), match=r"mask.*reference_ops"):
                derivative(function)


def test_the_mask_is_learned_by_the_twins() -> None:
    image, kspace, eta = SAMPLES[0].make(1, torch.float64, SMALL)
    with csmri_ext.reference_ops():
        f = lambda mask: ops.data_consistency(image, kspace, mask, eta).abs().sum()  # noqa: E731
        weights = torch.rand(SMALL[1], dtype=torch.float64)
        step = torch.zeros_like(weights)
        step[2] = 1e-6
        assert float(grad(f)(weights)[2]) == pytest.approx(float((f(weights + step) - f(weights - step)) / 2e-6), 1e-5)
