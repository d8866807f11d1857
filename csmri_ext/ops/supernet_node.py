"""`supernet_node`: a node of NasN's search network, all candidate operations of all its edges in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from csmri_ext.ops import _pixels as pixels
from csmri_ext.ops import _separable_kernels as kernels
from csmri_ext.ops import reference
from csmri_ext.ops._arguments import require_tensors
from csmri_ext.ops._batching import Batching
from csmri_ext.ops._derivatives import VjpProblem
from csmri_ext.ops._library import autocasting, convolution_dtype, register, without_autocast
from csmri_ext.ops.separable_node import check_tensors, check_weights


def supernet_node(
    inputs: Sequence[Tensor],
    operations: Sequence[str],
    alphas: Tensor,
    weights: Sequence[Sequence[Sequence[Tensor]]],
) -> Tensor:
    """Weighted sum of all candidate operations of all edges of a node (NasN, relaxation of the search space).

    ``out = sum over edges j and operations o of alphas[j, o] * operation_o(inputs[j])``

    with the operations of `separable_node`. An operation is linear in its last weight ``W``, so the kernels run on
    ``alpha W``. With ``G`` the gradient of that product, the gradient of ``W`` is ``alpha G`` and that of ``alpha`` is
    ``<G, W>``: nothing is computed for the alphas alone, and nothing is divided by them.

    Parameters
    ----------
    inputs
        One tensor per edge, ``(batch, channels_j, ny, nx)``; layouts and dtypes as in `separable_node`.
    operations
        The candidates, the same on every edge. At most 32 over all edges, not counting ``none``.
    alphas
        ``(edges, operations)``, usually a softmax over the operations; any number is right, zero too.
    weights
        Per edge and operation its weights, as in `separable_node`.

    Returns
    -------
        ``(batch, outputs, ny, nx)``, channels_last. Equivalent to `reference.supernet_node`. Differentiable twice.

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit together.
    """
    inputs, operations = list(inputs), list(operations)
    own = [[list(w) for w in edge] for edge in weights]
    require_tensors("supernet_node", inputs=inputs, alphas=alphas, weights=own)
    if inputs and autocasting(inputs[0].device):
        return cast(
            Tensor,
            without_autocast(supernet_node, convolution_dtype(inputs[0]), inputs[0], inputs, operations, alphas, own),
        )
    check(inputs, operations, alphas, own)
    if reference.active():
        return reference.supernet_node(inputs, operations, alphas, own)
    flat = [w for edge in own for operation in edge for w in operation]
    result: Tensor = _supernet_node(inputs, operations, alphas, flat)
    return result


def check(inputs: list[Tensor], operations: list[str], alphas: Tensor, weights: list[list[list[Tensor]]]) -> None:
    """Raise TypeError or ValueError unless everything fits together."""
    name = "supernet_node"
    edges, candidates = len(inputs), len(operations)
    if not edges or not candidates or [len(edge) for edge in weights] != [candidates] * edges:
        raise ValueError(
            f"{name}: {edges} inputs, {candidates} operations, weights for {[len(edge) for edge in weights]} "
            "operations per edge; expected at least one of each, and equally many"
        )
    terms = edges * sum(operation != "none" for operation in operations)
    if terms > kernels.MAX_TERMS:
        raise ValueError(f"{name}: {terms} operations over all edges, expected at most {kernels.MAX_TERMS}")
    check_tensors(name, [*inputs, alphas, *(w for edge in weights for operation in edge for w in operation)])
    if alphas.shape != (edges, candidates):
        raise ValueError(f"{name}: alphas {tuple(alphas.shape)}, expected (edges, operations), {(edges, candidates)}")
    first, outputs = inputs[0].shape, None
    for x, edge in zip(inputs, weights, strict=True):
        if x.ndim != 4 or x.shape[0] != first[0] or x.shape[2:] != first[2:]:
            raise ValueError(
                f"{name}: inputs {tuple(first)} and {tuple(x.shape)}; expected (batch, channels, ny, nx), equal but "
                "for channels"
            )
        for operation, own in zip(operations, edge, strict=True):
            produced = check_weights(name, operation, x.shape[1], own)
            if outputs is not None and produced != outputs:
                raise ValueError(
                    f"{name}: {operation} on {tuple(x.shape)} has {produced} outputs, those before it {outputs}"
                )
            outputs = produced


def _groups(inputs: Sequence[Any], operations: Sequence[str], weights: Sequence[Any]) -> list[list[list[Any]]]:
    """Split a flat list of weights into one list per edge and operation."""
    flat, n = kernels.grouped([*operations] * len(inputs), weights), len(operations)
    return [flat[i : i + n] for i in range(0, len(flat), n)]


def _terms(
    inputs: list[Tensor], operations: list[str], alphas: Tensor, weights: list[Tensor]
) -> Iterator[tuple[int, str, Tensor, list[Tensor]]]:
    """Edge, operation, alpha and weights, in the order of the alphas."""
    for j, (of_edge, edge) in enumerate(zip(alphas.unbind(), _groups(inputs, operations, weights), strict=True)):
        for operation, alpha, own in zip(operations, of_edge.unbind(), edge, strict=True):
            yield j, operation, alpha, own


def _folded(alpha: Tensor, own: list[Tensor]) -> list[Tensor]:
    """Return what the kernels see: alpha in the last weight, or the factor of ``skip``."""
    return [*own[:-1], alpha * own[-1]] if own else [alpha.reshape(1)]


def _empty_output(inputs: list[Tensor], operations: list[str], alphas: Tensor, weights: list[Tensor]) -> Tensor:
    own = kernels.grouped(operations, weights)[0]
    outputs = kernels.n_outputs(operations[0], inputs[0].shape, [w.shape for w in own])
    return pixels.empty(inputs[0], (inputs[0].shape[0], outputs, *inputs[0].shape[2:]))


def _forward(inputs: list[Tensor], operations: list[str], alphas: Tensor, weights: list[Tensor]) -> Tensor:
    out = _empty_output(inputs, operations, alphas, weights)
    inputs = [pixels.in_pixels(x)[0] for x in inputs]
    terms = [term for term in _terms(inputs, operations, alphas, weights) if term[1] != "none"]
    names, reads = [name for _, name, _, _ in terms], [inputs[j] for j, _, _, _ in terms]
    kernels.forward(names, reads, [_folded(alpha, own) for _, _, alpha, own in terms], out)
    return out


def _backward(
    grad: Tensor, inputs: list[Tensor], operations: list[str], alphas: Tensor, weights: list[Tensor], need_x: bool,
    need_weight: bool,
) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
    grad_inputs = [pixels.empty(x, x.shape) for x in inputs] if need_x else []
    if grad.is_cuda:
        return grad_inputs, _backward_by_edges(grad, inputs, operations, alphas, weights, grad_inputs, need_weight)
    grad_alphas: list[Tensor] = []
    grad_weights: list[Tensor] = []
    inputs, grad = [pixels.in_pixels(x)[0] for x in inputs], pixels.in_pixels(grad)[0]
    begun = [False] * len(inputs)
    for j, operation, alpha, own in _terms(inputs, operations, alphas, weights):
        grad_x = grad_inputs[j] if need_x and operation != "none" else None
        addend = grad_x if begun[j] else None
        if own:
            grad_alpha, grads = _backward_of_one(operation, inputs[j], alpha, own, grad, grad_x, addend, need_weight)
            grad_weights += grads
        else:
            grad_alpha = alpha.new_zeros(())
            if operation == "skip":
                wanted = grad_alpha if need_weight else None
                kernels.scaled_skip_backward(inputs[j], alpha, grad, grad_x, addend, wanted)
        grad_alphas.append(grad_alpha)
        begun[j] = begun[j] or operation != "none"
    for grad_x, has_sum in zip(grad_inputs, begun[: len(grad_inputs)], strict=True):
        if not has_sum:
            grad_x.zero_()
    return grad_inputs, [torch.stack(grad_alphas).view(alphas.shape), *grad_weights] if need_weight else []


def _backward_of_one(
    operation: str, x: Tensor, alpha: Tensor, own: list[Tensor], grad: Tensor, grad_x: Tensor | None,
    addend: Tensor | None, need_weight: bool,
) -> tuple[Tensor, list[Tensor]]:  # fmt: skip
    """Write to `grad_x` as `kernels.backward` does; return the gradients of alpha and the weights, if wanted."""
    grads = kernels.backward(operation, x, _folded(alpha, own), grad, grad_x, addend, need_weight)
    if not need_weight:
        return torch.zeros_like(alpha), []
    grad_alpha = (grads[-1] * own[-1]).sum(1).sum()  # by rows: the same on any number of threads
    return grad_alpha, [*grads[:-1], alpha * grads[-1]]


def _backward_by_edges(
    grad: Tensor, inputs: list[Tensor], operations: list[str], alphas: Tensor, weights: list[Tensor],
    grad_inputs: list[Tensor], need_weight: bool,
) -> list[Tensor]:  # fmt: skip
    """Do the same on a GPU: one pass for all operations of an edge but ``conv_9x1_1x9``, which goes before them."""
    inputs, grad = [pixels.in_pixels(x)[0] for x in inputs], pixels.in_pixels(grad)[0]
    alphas = alphas.contiguous()
    grad_alphas, grad_weights = [], []
    together = [k for k, operation in enumerate(operations) if operation not in {"conv_9x1_1x9", "none"}]
    rows = zip(alphas.unbind(), torch.zeros_like(alphas).unbind(), _groups(inputs, operations, weights), strict=True)
    for j, (of_edge, grad_of_edge, own) in enumerate(rows):
        grad_x, addend = grad_inputs[j] if grad_inputs else None, None
        scalars, grad_scalars = of_edge.unbind(), list(grad_of_edge.unbind())
        grads: list[list[Tensor]] = [[] for _ in operations]
        for k, operation in enumerate(operations):
            if operation == "conv_9x1_1x9":
                grad_scalars[k], grads[k] = _backward_of_one(
                    operation, inputs[j], scalars[k], own[k], grad, grad_x, addend, need_weight
                )
                addend = grad_x
        if together:
            names, of_names = [operations[k] for k in together], [scalars[k] for k in together]
            wanted = [grad_scalars[k] for k in together] if need_weight else None
            of_weights = [own[k] for k in together]
            found = kernels.edge_backward(names, inputs[j], of_names, of_weights, grad, grad_x, addend, wanted)
            for k, of_operation in zip(together, found, strict=True):
                grads[k] = of_operation
        elif grad_x is not None and addend is None:
            grad_x.zero_()
        grad_alphas += grad_scalars
        grad_weights += [g for of_operation in grads for g in of_operation]
    return [torch.stack(grad_alphas).view(alphas.shape), *grad_weights] if need_weight else []


def _empty_gradients(
    grad: Tensor, inputs: list[Tensor], operations: list[str], alphas: Tensor, weights: list[Tensor], need_x: bool,
    need_weight: bool,
) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
    grad_inputs = [pixels.empty(x, x.shape) for x in inputs] if need_x else []
    return grad_inputs, [w.new_empty(w.shape) for w in (alphas, *weights)] if need_weight else []


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    tensors, ctx.operations, alphas, weights = inputs
    ctx.n_inputs = len(tensors)
    ctx.save_for_backward(*tensors, alphas, *weights)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    n = ctx.n_inputs
    tensors = ctx.saved_tensors  # read once: under activation checkpointing each reading recomputes
    inputs, alphas, weights = list(tensors[:n]), tensors[n], list(tensors[n + 1 :])
    need_x, need_weight = any(ctx.needs_input_grad[0]), ctx.needs_input_grad[2] or any(ctx.needs_input_grad[3])
    grad_inputs, grads = _supernet_node_backward(grad, inputs, ctx.operations, alphas, weights, need_x, need_weight)
    grads = grads or [None] * (1 + len(weights))
    return grad_inputs or [None] * n, None, grads[0], grads[1:]


def _twin(inputs: list[Tensor], operations: list[str], alphas: Tensor, weights: list[Tensor]) -> Tensor:
    return reference.supernet_node(inputs, operations, alphas, _groups(inputs, operations, weights))


def _gradient_of(
    grad: Tensor, inputs: list[Tensor], operations: list[str], alphas: Tensor, weights: list[Tensor], need_x: bool,
    need_weight: bool,
) -> VjpProblem:  # fmt: skip
    wanted = inputs if need_x else [], [alphas, *weights] if need_weight else []
    return _twin(inputs, operations, alphas, weights), wanted, (grad,)


def _flops(inputs: Any, operations: list[str], alphas: Any, weights: Any, *_: Any, **__: Any) -> int:
    total = 0
    for x, edge in zip(inputs, _groups(inputs, operations, weights), strict=True):
        for operation, shapes in zip(operations, edge, strict=True):
            per_pixel = kernels.multiply_adds(operation, x[1], kernels.n_outputs(operation, x, shapes))
            total += (per_pixel + (x[1] if operation == "skip" else 0)) * x[0] * x[2] * x[3]
    return 2 * total


def _backward_flops(
    grad: Any, inputs: Any, operations: Any, alphas: Any, weights: Any, need_x: bool, need_weight: bool, *_: Any,
    **__: Any,
) -> int:  # fmt: skip
    return _flops(inputs, operations, alphas, weights) * (int(need_x) + int(need_weight))


_supernet_node_backward = register(
    "supernet_node_backward(Tensor grad, Tensor[] inputs, str[] operations, Tensor alphas, Tensor[] weights, "
    "bool need_x, bool need_weight) -> (Tensor[], Tensor[])",
    _backward,
    fake=_empty_gradients,
    flops=_backward_flops,
    gradient_of=_gradient_of,
    batching=Batching(batched=("grad", "inputs"), without=("need_weight",)),
)
_supernet_node = register(
    "supernet_node(Tensor[] inputs, str[] operations, Tensor alphas, Tensor[] weights) -> Tensor",
    _forward,
    fake=_empty_output,
    flops=_flops,
    backward=_gradient,
    setup_context=_save,
    twin=_twin,
    batching=Batching(batched=("inputs",)),
)
