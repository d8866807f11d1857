"""`separable_cell`: a whole NasN cell, its nodes written straight into their slices of the concatenated output."""

from __future__ import annotations

from collections.abc import Sequence
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

Genotype = Sequence[Sequence[tuple[str, int]]]


def separable_cell(
    before: Tensor,
    last: Tensor,
    genotype: Genotype,
    preprocess: tuple[Tensor, Tensor],
    weights: Sequence[Sequence[Sequence[Tensor]]],
) -> Tensor:
    """Nodes over two inputs and over one another, concatenated (NasN, section 3).

    With ``s_0 = P_0 relu(before)``, ``s_1 = P_1 relu(last)`` (1x1 convolutions without bias) and, for each node ``i``
    of the genotype, ``s_{2 + i} = sum over its (operation, j) of operation(s_j)``, the result is
    ``concat(s_2, s_3, ...)``. Operations are those of `separable_node`.

    Parameters
    ----------
    before, last
        Outputs of the two cells before, ``(batch, channels_k, ny, nx)``; layouts and dtypes as in `separable_node`.
    genotype
        Per node, pairs of an operation and the index ``j < 2 + i`` of the state it reads.
    preprocess
        ``P_0`` and ``P_1``, each ``(channels, channels_k)``.
    weights
        Per node and operation its weights, as in `separable_node`, all with `channels` inputs and outputs.

    Returns
    -------
        ``(batch, channels * nodes, ny, nx)``, channels_last. Equivalent to `reference.separable_cell`.
        Differentiable twice; the backward pass adds all gradients of a state in place.

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit together, or a node reads a state that does not exist yet.
    """
    own = [[list(w) for w in node] for node in weights]
    require_tensors("separable_cell", before=before, last=last, preprocess=preprocess, weights=own)
    if autocasting(before.device):
        return cast(
            Tensor,
            without_autocast(
                separable_cell, convolution_dtype(before), before, before, last, genotype, preprocess, own
            ),
        )
    check(before, last, genotype, preprocess, own)
    if reference.active():
        return reference.separable_cell(before, last, genotype, preprocess, own)
    flat = [w for node in own for edge in node for w in edge]
    result: Tensor = _separable_cell(before, last, *preprocess, *flattened(genotype), flat)[0]
    return result


def flattened(genotype: Genotype) -> tuple[list[str], list[int], list[int]]:
    """Return all operations, what each reads, and the number of operations of each node."""
    edges = [edge for node in genotype for edge in node]
    return [name for name, _ in edges], [source for _, source in edges], [len(node) for node in genotype]


def grouped_genotype(operations: Sequence[str], sources: Sequence[int], edges: Sequence[int]) -> Genotype:
    """Undo `flattened`."""
    pairs, genotype, start = list(zip(operations, sources, strict=True)), [], 0
    for n in edges:
        genotype.append(pairs[start : start + n])
        start += n
    return genotype


def grouped_weights(genotype: Genotype, flat: Sequence[Tensor]) -> list[list[list[Tensor]]]:
    """Split a flat list of weights into those of each node and operation."""
    of_edges = iter(kernels.grouped([name for node in genotype for name, _ in node], flat))
    return [[next(of_edges) for _ in node] for node in genotype]


def check(
    before: Tensor, last: Tensor, genotype: Genotype, preprocess: Sequence[Tensor], weights: list[list[list[Tensor]]]
) -> None:
    """Raise TypeError or ValueError unless everything fits together."""
    name = "separable_cell"
    check_tensors(name, [before, last, *preprocess, *(w for node in weights for edge in node for w in edge)])
    if before.ndim != 4 or last.ndim != 4 or before.shape[0] != last.shape[0] or before.shape[2:] != last.shape[2:]:
        raise ValueError(
            f"{name}: inputs {tuple(before.shape)} and {tuple(last.shape)}; expected (batch, channels, ny, nx), equal "
            "but for channels"
        )
    channels = {
        check_weights(name, "conv_1x1", x.shape[1], [w]) for x, w in zip((before, last), preprocess, strict=True)
    }
    if len(channels) > 1:
        raise ValueError(f"{name}: preprocess has {' and '.join(map(str, sorted(channels)))} outputs")
    check_genotype(name, genotype, weights, channels.pop())


def check_genotype(name: str, genotype: Genotype, weights: list[list[list[Tensor]]], channels: int) -> None:
    """Raise ValueError unless the genotype is possible and its weights have `channels` inputs and outputs."""
    if not genotype or [len(node) for node in genotype] != [len(node) for node in weights]:
        raise ValueError(
            f"{name}: {[len(node) for node in genotype]} operations per node, weights for "
            f"{[len(node) for node in weights]}; expected at least one node and equal lists"
        )
    for i, node in enumerate(genotype):
        if not 1 <= len(node) <= kernels.MAX_TERMS:
            raise ValueError(f"{name}: node {i} has {len(node)} operations, expected 1 to {kernels.MAX_TERMS}")
        for (operation, source), own in zip(node, weights[i], strict=True):
            if not 0 <= source < i + 2:
                raise ValueError(f"{name}: node {i} reads state {source}; at that point only 0 to {i + 1} exist")
            outputs = check_weights(name, operation, channels, own)
            if outputs != channels:
                raise ValueError(f"{name}: {operation} of node {i} has {outputs} outputs, expected {channels}")


def _slices(concatenated: Tensor, nodes: int) -> list[Tensor]:
    return list(concatenated.chunk(nodes, dim=1)) if concatenated.numel() else [concatenated[:, ::nodes]] * nodes


def _empty_outputs(
    before: Tensor, last: Tensor, first: Tensor, second: Tensor, operations: Any, sources: Any, edges: list[int], _: Any
) -> tuple[Tensor, Tensor, Tensor]:
    def wide(channels: int) -> Tensor:
        return pixels.empty(before, (before.shape[0], channels, *before.shape[2:]))

    return wide(first.shape[0] * len(edges)), wide(first.shape[0]), wide(first.shape[0])


def _forward(
    before: Tensor, last: Tensor, first: Tensor, second: Tensor, operations: list[str], sources: list[int],
    edges: list[int], weights: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    outputs = _empty_outputs(before, last, first, second, operations, sources, edges, weights)
    write_cell(before, last, [first, second, *weights], operations, sources, edges, outputs)
    return outputs


def write_cell(
    before: Tensor, last: Tensor, weights: list[Tensor], operations: list[str], sources: list[int], edges: list[int],
    outputs: tuple[Tensor, Tensor, Tensor],
) -> None:  # fmt: skip
    """Write the concatenated nodes and the two states that they start from; the former may share memory with `before`.

    `weights` are ``P_0``, ``P_1`` and those of the operations, in order.
    """
    states, own = [outputs[1], outputs[2]], kernels.grouped(operations, weights[2:])
    for x, weight, state in zip((before, last), weights[:2], states, strict=True):
        kernels.forward(["conv_1x1"], [x], [[weight]], state)
    start = 0
    for n, out in zip(edges, _slices(outputs[0], len(edges)), strict=True):
        reads = [states[source] for source in sources[start : start + n]]
        kernels.forward(operations[start : start + n], reads, own[start : start + n], out)
        states.append(out)
        start += n


def _backward(
    grad: Tensor, saved: list[Tensor], operations: list[str], sources: list[int], edges: list[int],
    weights: list[Tensor], need_x: bool, need_weight: bool,
) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
    before, last, first, second, *states = saved[:6]
    grad = pixels.in_pixels(grad)[0]
    own = kernels.grouped(operations, weights)
    grad_weights: list[list[Tensor]] = [[] for _ in operations]
    nodes = dict(zip(_read(sources), saved[6:], strict=True))
    states += [nodes.get(i, grad) for i in range(2, 2 + len(edges))]  # grad: a node that none reads
    # What has reached each state so far. Of a node it starts as a slice of grad, which is read only.
    reached: list[Tensor | None] = [None, None, *_slices(grad, len(edges))]
    sums: list[Tensor | None] = [None] * len(states)
    end = len(operations)
    for node in reversed(range(len(edges))):
        arrived, sums[2 + node] = reached[2 + node], None
        assert arrived is not None
        for i in range(end - edges[node], end):
            operation, source = operations[i], sources[i]
            if operation == "none":
                continue
            addend, total = reached[source], sums[source]
            if total is None:
                total = pixels.empty(states[source], states[source].shape)
            if operation != "skip":
                own_grads = kernels.backward(operation, states[source], own[i], arrived, total, addend, need_weight)
                grad_weights[i] = own_grads
            elif addend is None:
                total.copy_(arrived)
            else:
                torch.add(addend, arrived, out=total)
            reached[source] = sums[source] = total
        end -= edges[node]
        reached[2 + node] = None
    grad_inputs, grad_preprocess = [], []
    for x, weight, arrived in zip((before, last), (first, second), reached[:2], strict=True):
        grad_x = pixels.empty(x, x.shape) if need_x else None
        if arrived is not None:
            grad_preprocess += kernels.backward("conv_1x1", x, [weight], arrived, grad_x, None, need_weight)
        else:  # no node reads this state
            grad_preprocess += [torch.zeros_like(weight)] if need_weight else []
        if grad_x is not None:
            grad_inputs.append(grad_x if arrived is not None else grad_x.zero_())
    return grad_inputs, grad_preprocess + [g for of_edge in grad_weights for g in of_edge]


def _empty_gradients(
    grad: Tensor, saved: list[Tensor], operations: Any, sources: Any, edges: Any, weights: list[Tensor], need_x: bool,
    need_weight: bool,
) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
    grad_inputs = [pixels.empty(x, x.shape) for x in saved[:2]] if need_x else []
    return grad_inputs, [w.new_empty(w.shape) for w in (*saved[2:4], *weights)] if need_weight else []


def _read(sources: Sequence[int]) -> list[int]:
    """Return the states that are nodes and read by others."""
    return sorted({source for source in sources if source >= 2})


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    before, last, first, second, ctx.operations, ctx.sources, ctx.edges, weights = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)  # else two tensors of zeros for the states
    # copies of the nodes that the backward pass reads: an activation may overwrite the concatenation
    nodes = _slices(output[0], len(ctx.edges))
    read = [nodes[i - 2].clone() for i in _read(ctx.sources)]
    ctx.n_saved = 6 + len(read)
    ctx.save_for_backward(before, last, first, second, *output[1:], *read, *weights)


def _gradient(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Any, ...]:
    if grad is None:
        return (None,) * 8
    tensors = ctx.saved_tensors  # read once: under activation checkpointing each reading recomputes
    saved, weights = list(tensors[: ctx.n_saved]), list(tensors[ctx.n_saved :])
    need_x = any(ctx.needs_input_grad[:2])
    need_weight = any(ctx.needs_input_grad[2:4]) or any(ctx.needs_input_grad[7])
    grad_inputs, grad_weights = _separable_cell_backward(
        grad, saved, ctx.operations, ctx.sources, ctx.edges, weights, need_x, need_weight
    )
    grad_weights = grad_weights or [None] * (2 + len(weights))
    return *(grad_inputs or [None, None]), *grad_weights[:2], None, None, None, grad_weights[2:]


def _twin(
    before: Tensor, last: Tensor, first: Tensor, second: Tensor, operations: list[str], sources: list[int],
    edges: list[int], weights: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    genotype = grouped_genotype(operations, sources, edges)
    own = grouped_weights(genotype, weights)
    states = [reference.separable_node([x], ["conv_1x1"], [[w]]) for x, w in ((before, first), (last, second))]
    out = reference.separable_cell(before, last, genotype, (first, second), own)
    return out, states[0].detach(), states[1].detach()


def _gradient_of(
    grad: Tensor, saved: list[Tensor], operations: list[str], sources: list[int], edges: list[int],
    weights: list[Tensor], need_x: bool, need_weight: bool,
) -> VjpProblem:  # fmt: skip
    """Count the states as functions of the inputs."""
    before, last, first, second = saved[:4]
    out = _twin(before, last, first, second, operations, sources, edges, weights)[0]
    wanted = [before, last] if need_x else [], [first, second, *weights] if need_weight else []
    return out, wanted, (grad,)


def _flops(
    before: Any, last: Any, first: Any, second: Any, operations: Any, sources: Any, edges: Any, weights: Any, *_: Any,
    **__: Any,
) -> int:  # fmt: skip
    channels = first[0]
    total = channels * (before[1] + last[1]) + sum(kernels.multiply_adds(o, channels, channels) for o in operations)
    return int(2 * total * before[0] * before[2] * before[3])


def _backward_flops(
    grad: Any, saved: Any, operations: Any, sources: Any, edges: Any, weights: Any, need_x: bool, need_weight: bool,
    *_: Any, **__: Any,
) -> int:  # fmt: skip
    return _flops(*saved[:4], operations, sources, edges, weights) * (1 + int(need_weight))


_separable_cell_backward = register(
    "separable_cell_backward(Tensor grad, Tensor[] saved, str[] operations, int[] sources, int[] edges, "
    "Tensor[] weights, bool need_x, bool need_weight) -> (Tensor[], Tensor[])",
    _backward,
    fake=_empty_gradients,
    flops=_backward_flops,
    gradient_of=_gradient_of,
)
_separable_cell = register(
    "separable_cell(Tensor before, Tensor last, Tensor first, Tensor second, str[] operations, int[] sources, "
    "int[] edges, Tensor[] weights) -> (Tensor, Tensor, Tensor)",
    _forward,
    fake=_empty_outputs,
    flops=_flops,
    backward=_gradient,
    setup_context=_save,
    twin=_twin,
    batching=Batching(batched=("before", "last")),
)
