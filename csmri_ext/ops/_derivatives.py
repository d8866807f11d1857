"""Derivatives of registered ops: what torch runs at its Autograd key, the same for every op.

Torch's own `torch.library.register_autograd` knows the backward pass of a plain call and nothing else: forward-mode
tangents are dropped in silence, and `torch.func` refuses the op. Here each op has both directions, at every level of
`torch.func` transforms:

* backward, by the op's own rule, made of registered ops; or, for the backward passes themselves, by differentiating a
  twin in plain PyTorch, which nobody pays for who does not take second derivatives;
* forward, by the op's own rule where it is linear; else torch runs the twin on dual tensors.

A derivative that does not exist is refused in one line, never taken as zero.

The `autograd.Function` of an op is of torch's single-level kind. A kernel at the Autograd key serves one level of
transforms at a time, as torch's own formulas do, and the dispatcher brings it to the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import unwrap_dead_wrappers
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

from csmri_ext.ops._older_torch import any_requires_grad

VjpProblem = tuple[Any, Sequence[Any], Sequence[Tensor]]


@dataclass(frozen=True)
class Derivatives:
    """How an op is differentiated. Without any of its parts: not at all.

    Attributes
    ----------
    backward, setup_context
        As in `torch.library.register_autograd`; where arguments are lists, so are their gradients and
        ``ctx.needs_input_grad``. Made of registered ops and torch functions only, so that it can be differentiated
        again.
    jvp
        ``jvp(primals, tangents) -> tangents of the outputs``, likewise made: the arguments, and for each its tangent or
        None. Without it forward-mode derivatives are the twin's.
    twin
        The op in plain PyTorch, all of its outputs. Without `backward` it is differentiated backward, too.
    gradient_of
        For the backward pass of another op. From the arguments, ``(outputs, inputs, grads)``: outputs of the other op's
        twin; the inputs whose gradients the backward pass returns, as it returns them (None where it returns an empty
        tensor instead); the gradients that come in, one for each output.
    constants
        Arguments without a derivative, and what to do about it, for the message.
    """

    backward: Callable[..., Any] | None = None
    setup_context: Callable[..., None] | None = None
    jvp: Callable[..., Any] | None = None
    twin: Callable[..., Any] | None = None
    gradient_of: Callable[..., VjpProblem] | None = None
    constants: dict[str, str] = field(default_factory=dict)


_CPU = torch._C.DispatchKey.CPU
_BELOW = torch._C._after_autograd_keyset.remove(torch._C.DispatchKey.ADInplaceOrView)  # which these ops fall through


def under_transforms() -> bool:
    """Whether a tensor may have tangents, or a history of which ``requires_grad`` says nothing.

    In a compiled function Python does not know the level of forward mode, which is never above 0.
    """
    return forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()


def register_derivatives(
    library: torch.library.Library, op: Any, implementation: Callable[..., Any], derivatives: Derivatives
) -> None:
    """Make `derivatives` the Autograd kernel of `op`, of which `library` has the schema.

    `implementation` is the op on the CPU: where nothing but its kernel is left to dispatch to, it is called at once.
    """
    function, names = _function_of(op, derivatives), [argument.name for argument in op._schema.arguments]
    by_twin = derivatives.jvp is None

    def kernel(keyset: Any, *args: Any) -> Any:
        dual = under_transforms() and _is_dual(args)
        if dual:
            _refuse_constants(derivatives, op, names, args, _has_tangent)
            if by_twin:
                return _forward_through_twin(derivatives, op, args)
        if dual or (torch.is_grad_enabled() and any_requires_grad(*args)):
            _refuse_constants(derivatives, op, names, args, _requires_grad)
            call = _Call(keyset)
            if dual:  # before autograd.Function switches forward mode off
                call.dual = _mapped(_primal, args), _mapped(_tangent, args)
            return _apply(function, call, args)
        if (keyset & _BELOW).highestPriorityTypeId() == _CPU:
            return implementation(*args)
        return _below_autograd(op, keyset, args)

    library.impl(op._opname, kernel, "Autograd", with_keyset=True)


def _below_autograd(op: Any, keyset: Any, args: Sequence[Any]) -> Any:
    with torch._C._AutoDispatchBelowAutograd():
        return op.redispatch(keyset & torch._C._after_autograd_keyset, *args)


# --- lists of tensors, which an autograd.Function does not know ----------------------------------------------------
def _is_tensor_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(x is None or isinstance(x, Tensor) for x in value)


def _flat(values: Sequence[Any]) -> tuple[list[Any], list[int | None]]:
    """Splice lists of tensors into one list; with it the length of each, None for what is no list."""
    flat: list[Any] = []
    lengths: list[int | None] = []
    for value in values:
        is_list = _is_tensor_list(value)
        flat.extend(value if is_list else [value])
        lengths.append(len(value) if is_list else None)
    return flat, lengths


def _nested(flat: Sequence[Any], lengths: Sequence[int | None]) -> list[Any]:
    values: list[Any] = []
    start = 0
    for length in lengths:
        n = 1 if length is None else length
        values.append(flat[start] if length is None else list(flat[start : start + n]))
        start += n
    return values


def _flat_as(lengths: Sequence[int | None], values: Sequence[Any]) -> list[Any]:
    """Splice lists as they were spliced; None may stand for a whole list of None."""
    flat: list[Any] = []
    for length, value in zip(lengths, values, strict=True):
        flat.extend([value] if length is None else [None] * length if value is None else value)
    return flat


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    return [value for value in _flat(values)[0] if isinstance(value, Tensor)]


def _mapped(function: Callable[[Tensor], Any], values: Sequence[Any]) -> list[Any]:
    """Apply `function` to all tensors, in lists too."""
    flat, lengths = _flat(values)
    return _nested([function(x) if isinstance(x, Tensor) else x for x in flat], lengths)


# --- the autograd.Function -----------------------------------------------------------------------------------------
class _Call:
    """What a call knows beside its flat arguments."""

    def __init__(self, keyset: Any) -> None:
        self.keyset = keyset
        self.dual: tuple[list[Any], list[Any]] | None = None  # primals and tangents, until jvp has used them
        self.grad_mode, self.forward_mode = torch.is_grad_enabled(), torch._C._is_fwd_grad_enabled()
        self.lengths: list[int | None] = []  # of the arguments that are lists
        self.result_lengths: list[int | None] | None = None  # None: a tensor alone


def _apply(function: Any, call: _Call, args: Sequence[Any]) -> Any:
    flat, call.lengths = _flat(args)
    functorch = torch._C._functorch  # which takes functions of one level for a mistake, unless told
    before = functorch.get_single_level_autograd_function_allowed()
    functorch.set_single_level_autograd_function_allowed(True)
    try:
        results = function.apply(*flat, call)
    finally:
        functorch.set_single_level_autograd_function_allowed(before)
    return results if call.result_lengths is None else tuple(_nested(results, call.result_lengths))


def _function_of(op: Any, derivatives: Derivatives) -> Any:
    """Build the `autograd.Function` of an op."""

    def forward(ctx: Any, *flat_and_call: Any) -> Any:
        *flat, call = flat_and_call
        args = _nested(flat, call.lengths)
        with _modes_of(call) if torch._C._are_functorch_transforms_active() else nullcontext():
            result = _below_autograd(op, call.keyset, args)
            if derivatives.setup_context is not None:
                derivatives.setup_context(ctx, args, result)
        ctx.call = call
        if derivatives.backward is None:
            ctx.rest = [None if isinstance(x, Tensor) else x for x in flat]
            ctx.save_for_backward(*[x if isinstance(x, Tensor) else None for x in flat])
            ctx.mark_non_differentiable(*[x for x in _tensors(_tuple(result)) if not _is_differentiable(x)])
        if isinstance(result, Tensor):
            return result
        flat_result, call.result_lengths = _flat(result)
        return tuple(flat_result)

    def backward(ctx: Any, *flat_grads: Any) -> Any:
        lengths, needs = ctx.call.lengths, ctx.needs_input_grad
        of_lists = ctx.call.result_lengths
        grads = flat_grads if of_lists is None else _nested(flat_grads, of_lists)
        if derivatives.backward is None:
            args = _nested([x if y is None else y for x, y in zip(ctx.saved_tensors, ctx.rest, strict=True)], lengths)
            return *_backward_through_twin(derivatives, args, _flat(grads)[0]), None
        try:
            ctx.needs_input_grad = tuple(_nested(needs[:-1], lengths))
            result = derivatives.backward(ctx, *grads)
        finally:
            ctx.needs_input_grad = needs
        return *_flat_as(lengths, _tuple(result)), None

    def jvp(ctx: Any, *_: Any) -> Any:
        dual, ctx.call.dual = ctx.call.dual, None
        assert derivatives.jvp is not None
        with _modes_of(ctx.call):
            tangents = derivatives.jvp(*dual)
        return tangents if isinstance(tangents, Tensor) else tuple(_flat(tangents)[0])

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    if derivatives.jvp is not None:
        members["jvp"] = staticmethod(jvp)
    return type(f"Derivatives_of_{op._opname}", (_SingleLevelFunction,), members)


@contextmanager
def _modes_of(call: _Call) -> Iterator[None]:
    """Restore what `autograd.Function` has switched off, for the levels of transforms below."""
    with torch.set_grad_enabled(call.grad_mode), forward_ad._set_fwd_grad_enabled(call.forward_mode):
        yield


def _tuple(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


# --- forward mode --------------------------------------------------------------------------------------------------
def _primal(x: Tensor) -> Tensor:
    return forward_ad.unpack_dual(x, level=0).primal if _is_differentiable(x) else x


def _tangent(x: Tensor) -> Tensor | None:
    tangent: Tensor | None = forward_ad.unpack_dual(x, level=0).tangent if _is_differentiable(x) else None
    return tangent


def _has_tangent(x: Tensor) -> bool:
    return _tangent(x) is not None


def _requires_grad(x: Tensor) -> bool:
    return x.requires_grad


def _is_differentiable(x: Tensor) -> bool:
    return x.is_floating_point() or x.is_complex()


def _is_dual(args: Sequence[Any]) -> bool:
    return any(map(_has_tangent, _tensors(args)))


def _forward_through_twin(derivatives: Derivatives, op: Any, args: Sequence[Any]) -> Any:
    """Run the twin on dual tensors: torch knows the rest."""
    if derivatives.twin is not None:
        return derivatives.twin(*args)
    assert derivatives.gradient_of is not None
    connected = torch.is_grad_enabled() and any_requires_grad(*args)
    with _leaves_of(args, connected=True) as leaves:
        outputs, inputs, grads = derivatives.gradient_of(*leaves)
        return tuple(_gradients(outputs, inputs, grads, create_graph=connected))


# --- through twins -------------------------------------------------------------------------------------------------
@contextmanager
def _leaves_of(args: Sequence[Any], *, connected: bool) -> Iterator[list[Any]]:
    """Arguments that require gradients, each a tensor of its own, for the ``with`` block in which these are recorded.

    If `connected`, they belong to the graph of the arguments, so that derivatives with respect to them have
    derivatives. Tangents stay.
    """

    def leaf(x: Tensor) -> Tensor:
        if not _is_differentiable(x):
            return x
        if connected and x.requires_grad:
            return x.view_as(x)
        tangent = _tangent(x) if under_transforms() else None
        alone = (x if tangent is None else _primal(x)).detach().requires_grad_()
        return alone if tangent is None else forward_ad.make_dual(alone, tangent, level=0)

    functorch = torch._C._functorch  # forbids to make leaves inside its transforms, where they could be mistaken for
    before = functorch.get_inplace_requires_grad_allowed()  # inputs; these do not leave the block
    functorch.set_inplace_requires_grad_allowed(True)
    try:
        with torch.enable_grad():
            yield _mapped(leaf, args)
    finally:
        functorch.set_inplace_requires_grad_allowed(before)


def _gradients(outputs: Any, inputs: Sequence[Any], grads: Sequence[Tensor], create_graph: bool) -> list[Any]:
    """Gradients of `outputs` with respect to `inputs`; zeros where there are none, an empty tensor for None."""
    outputs, (flat, lengths) = _tuple(outputs), _flat(inputs)
    pairs = [(out, grad) for out, grad in zip(outputs, grads, strict=True) if out.requires_grad]
    wanted = [x for x in flat if x is not None]
    found: list[Tensor] = [torch.zeros_like(x) for x in wanted]
    if pairs and wanted:
        of, incoming = zip(*pairs, strict=True)
        more = {"create_graph": create_graph, "allow_unused": True, "materialize_grads": True}
        found = list(torch.autograd.grad(of, wanted, incoming, **more))
    rest = iter(found)
    return _nested([outputs[0].new_empty(0) if x is None else next(rest) for x in flat], lengths)


def _backward_through_twin(derivatives: Derivatives, args: Sequence[Any], grads: Sequence[Any]) -> list[Any]:
    """Gradients with respect to all arguments, flat, of what the op has returned; None for what is no tensor."""
    flat, lengths = _flat(args)
    places = [i for i, x in enumerate(flat) if isinstance(x, Tensor) and _is_differentiable(x)]

    def differentiable(*tensors: Tensor) -> tuple[Tensor, ...]:
        for i, x in zip(places, tensors, strict=True):
            flat[i] = x
        return tuple(filter(_is_differentiable, _results_of_twin(derivatives, _nested(flat, lengths))))

    # a function that torch.func.vjp has returned may run when the level of its tensors is gone
    tensors = unwrap_dead_wrappers(tuple(flat[i] for i in places))
    incoming = tuple(filter(_is_differentiable, unwrap_dead_wrappers(tuple(grads))))
    if torch._C._are_functorch_transforms_active():  # whose wrappers know leaves by their level, not by the flag
        found = torch.func.vjp(differentiable, *tensors)[1](incoming)
    else:
        connected = torch.is_grad_enabled()
        with _leaves_of(tensors, connected=connected) as leaves:
            pairs = [p for p in zip(differentiable(*leaves), incoming, strict=True) if p[0].requires_grad]
            found = [None] * len(places)
            if pairs:
                outputs, weights = zip(*pairs, strict=True)
                found = torch.autograd.grad(outputs, leaves, weights, create_graph=connected, allow_unused=True)
    results: list[Any] = [None] * len(flat)
    for i, gradient in zip(places, found, strict=True):
        results[i] = gradient
    return results


def _results_of_twin(derivatives: Derivatives, args: Sequence[Any]) -> list[Tensor]:
    if derivatives.gradient_of is not None:
        return _flat(_gradients(*derivatives.gradient_of(*args), create_graph=True))[0]
    assert derivatives.twin is not None
    return _flat(_tuple(derivatives.twin(*args)))[0]


# --- refusal -------------------------------------------------------------------------------------------------------
def _refuse_constants(
    derivatives: Derivatives, op: Any, names: Sequence[str], args: Sequence[Any], wanted: Callable[[Tensor], bool]
) -> None:
    for name, remedy in derivatives.constants.items():
        if any(map(wanted, _tensors([args[names.index(name)]]))):
            raise NotImplementedError(f"csmri_ext.{op._opname}: no derivative with respect to {name}; {remedy}")
