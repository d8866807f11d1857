"""`separable_node`: a node of a NasN cell, the sum of separable operations on its inputs."""

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


def separable_node(inputs: Sequence[Tensor], operations: Sequence[str], weights: Sequence[Sequence[Tensor]]) -> Tensor:
    """Sum of NasN operations, one per input, in one pass.

    With zero padding that keeps the size and no biases, operation ``i`` is one of

        ``sep_conv_3x3``, ``dil_2_conv_3x3``, ``dil_3_conv_3x3``: ``P relu(D relu(x))``, ``D`` depth-wise 3x3 with
        dilation 1, 2, 3, ``P`` point-wise;
        ``conv_9x1_1x9``: ``R relu(C relu(x))``, ``C`` depth-wise 9x1 (along y), ``R`` depth-wise 1x9;
        ``conv_1x1``: ``P relu(x)``, what stands in front of a cell;
        ``skip``: ``x``;  ``none``: 0

    (NasN, table of operations). Nothing but the sum is written to memory. On CUDA the factors of point-wise products of
    float32 tensors are rounded to TF32 where torch allows it (``torch.backends.cudnn.conv.fp32_precision``, allowed
    unless switched off); otherwise these products are as exact as float32's.

    Parameters
    ----------
    inputs
        Up to 32 tensors, float32 or float64, ``(batch, channels_i, ny, nx)``. channels_last is fast, as
        are slices of the channels of such a tensor; any other layout is copied first. Fastest for channels in
        multiples of 32. On CUDA also bfloat16 and float16, with sums in float32. Under autocast all are cast, on CUDA
        to its dtype, on the CPU to float32.
    operations
        One name per input.
    weights
        Per input the weights of its operation: depth-wise ``(channels_i, 3, 3)`` and point-wise ``(outputs,
        channels_i)``; column and row ``(channels_i, 9)`` each; point-wise alone; nothing.

    Returns
    -------
        ``(batch, outputs, ny, nx)``, channels_last. ``skip``, ``none`` and ``conv_9x1_1x9`` have as many
        outputs as channels. Equivalent to `reference.separable_node`. Differentiable twice.

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit together.
    """
    inputs, operations, grouped = list(inputs), list(operations), [list(w) for w in weights]
    require_tensors("separable_node", inputs=inputs, weights=grouped)
    if inputs and autocasting(inputs[0].device):
        return cast(
            Tensor,
            without_autocast(separable_node, convolution_dtype(inputs[0]), inputs[0], inputs, operations, grouped),
        )
    check("separable_node", inputs, operations, grouped)
    if reference.active():
        return reference.separable_node(inputs, operations, grouped)
    result: Tensor = _separable_node(inputs, operations, [w for own in grouped for w in own])
    return result


def check(name: str, inputs: list[Tensor], operations: list[str], weights: list[list[Tensor]]) -> None:
    """Raise TypeError or ValueError unless everything fits together."""
    if not 1 <= len(inputs) <= kernels.MAX_TERMS or not len(inputs) == len(operations) == len(weights):
        raise ValueError(
            f"{name}: {len(inputs)} inputs, {len(operations)} operations, {len(weights)} lists of weights; expected "
            f"1 to {kernels.MAX_TERMS} of each, equally many"
        )
    check_tensors(name, [*inputs, *(w for own in weights for w in own)])
    first, outputs = inputs[0].shape, None
    for x, operation, own in zip(inputs, operations, weights, strict=True):
        if x.ndim != 4 or x.shape[0] != first[0] or x.shape[2:] != first[2:]:
            raise ValueError(
                f"{name}: inputs {tuple(first)} and {tuple(x.shape)}; expected (batch, channels, ny, nx), equal but "
                "for channels"
            )
        produced = check_weights(name, operation, x.shape[1], own)
        if outputs is not None and produced != outputs:
            raise ValueError(f"{name}: {operation} has {produced} outputs, the operations before it {outputs}")
        outputs = produced


def check_tensors(name: str, tensors: Sequence[Tensor]) -> None:
    """Raise unless all are on one device and of one dtype that kernels exist for."""
    if len({t.device for t in tensors}) > 1:
        raise ValueError(f"{name}: tensors are on different devices: {', '.join(str(t.device) for t in tensors)}")
    if any(not t.dtype.is_floating_point for t in tensors):
        raise TypeError(f"{name}: tensors are {', '.join(str(t.dtype) for t in tensors)}, expected real floating point")
    dtypes = {t.dtype for t in tensors}
    if len(dtypes) > 1:
        raise TypeError(f"{name}: tensors have different dtypes: {', '.join(str(t.dtype) for t in tensors)}")
    if tensors[0].device.type == "cpu" and not dtypes <= {torch.float32, torch.float64}:
        raise TypeError(f"{name}: tensors are {tensors[0].dtype}, expected torch.float32 or torch.float64")


def check_weights(name: str, operation: str, channels: int, weights: Sequence[Tensor]) -> int:
    """Return the outputs of an operation on so many channels; raise unless its weights have the right shapes."""
    if operation not in kernels.OPERATIONS:
        raise ValueError(f"{name}: unknown operation {operation!r}; known: {', '.join(kernels.OPERATIONS)}")
    shapes = [tuple(w.shape) for w in weights]
    outputs = shapes[-1][0] if weights and operation != "conv_9x1_1x9" and shapes[-1] else channels
    expected = {
        "conv_1x1": [(outputs, channels)],
        "conv_9x1_1x9": [(channels, 9), (channels, 9)],
        "skip": [],
        "none": [],
    }.get(operation, [(channels, 3, 3), (outputs, channels)])
    if shapes != expected:
        wanted = str(expected).replace(f"({outputs}, {channels})", f"(outputs, {channels})")
        raise ValueError(f"{name}: {operation} on {channels} channels has weights {shapes}, expected {wanted}")
    return outputs


def _empty_output(inputs: list[Tensor], operations: list[str], weights: list[Tensor]) -> Tensor:
    own = kernels.grouped(operations, weights)[0]
    outputs = kernels.n_outputs(operations[0], inputs[0].shape, [w.shape for w in own])
    return pixels.empty(inputs[0], (inputs[0].shape[0], outputs, *inputs[0].shape[2:]))


def _forward(inputs: list[Tensor], operations: list[str], weights: list[Tensor]) -> Tensor:
    out = _empty_output(inputs, operations, weights)
    kernels.forward(operations, inputs, kernels.grouped(operations, weights), out)
    return out


def _backward(
    grad: Tensor, inputs: list[Tensor], operations: list[str], weights: list[Tensor], need_x: bool, need_weight: bool
) -> tuple[list[Tensor], list[Tensor]]:
    grad_inputs, grad_weights = _empty_gradients(inputs, [], need_x, False)[0], []
    own = kernels.grouped(operations, weights)
    grad = pixels.in_pixels(grad)[0]
    for i, (x, operation) in enumerate(zip(inputs, operations, strict=True)):
        grad_x = grad_inputs[i] if need_x else None
        if own[i]:
            if need_x or need_weight:
                grad_weights += kernels.backward(operation, x, own[i], grad, grad_x, None, need_weight)
        elif grad_x is not None:
            grad_x.copy_(grad) if operation == "skip" else grad_x.zero_()
    return grad_inputs, grad_weights


def _empty_gradients(
    inputs: list[Tensor], weights: list[Tensor], need_x: bool, need_weight: bool
) -> tuple[list[Tensor], list[Tensor]]:
    grad_inputs = [pixels.empty(x, x.shape) for x in inputs] if need_x else []
    return grad_inputs, [w.new_empty(w.shape) for w in weights] if need_weight else []


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    tensors, ctx.operations, weights = inputs
    ctx.n_inputs = len(tensors)
    ctx.save_for_backward(*tensors, *weights)


def _gradient(ctx: Any, grad: Tensor) -> tuple[list[Tensor | None], None, list[Tensor | None]]:
    tensors = ctx.saved_tensors  # read once: under activation checkpointing each reading recomputes
    inputs, weights = list(tensors[: ctx.n_inputs]), list(tensors[ctx.n_inputs :])
    need_x, need_weight = any(ctx.needs_input_grad[0]), any(ctx.needs_input_grad[2])
    grad_inputs, grad_weights = _separable_node_backward(grad, inputs, ctx.operations, weights, need_x, need_weight)
    return grad_inputs or [None] * len(inputs), None, grad_weights or [None] * len(weights)


def _twin(inputs: list[Tensor], operations: list[str], weights: list[Tensor]) -> Tensor:
    return reference.separable_node(inputs, operations, kernels.grouped(operations, weights))


def _gradient_of(
    grad: Tensor, inputs: list[Tensor], operations: list[str], weights: list[Tensor], need_x: bool, need_weight: bool
) -> VjpProblem:
    wanted = inputs if need_x else [], weights if need_weight else []
    return _twin(inputs, operations, weights), wanted, (grad,)


def _flops(inputs: Any, operations: list[str], weights: Any, *_: Any, **__: Any) -> int:
    own: Any = kernels.grouped(operations, weights)
    total = 0
    for x, operation, shapes in zip(inputs, operations, own, strict=True):
        outputs = kernels.n_outputs(operation, x, shapes)
        total += kernels.multiply_adds(operation, x[1], outputs) * x[0] * x[2] * x[3]
    return 2 * total


def _backward_flops(
    grad: Any, inputs: Any, operations: Any, weights: Any, need_x: bool, need_weight: bool, *_: Any, **__: Any
) -> int:
    return _flops(inputs, operations, weights) * (int(need_x) + int(need_weight))


_separable_node_backward = register(
    "separable_node_backward(Tensor grad, Tensor[] inputs, str[] operations, Tensor[] weights, bool need_x, "
    "bool need_weight) -> (Tensor[], Tensor[])",
    _backward,
    fake=lambda grad, inputs, operations, weights, need_x, need_weight: _empty_gradients(
        inputs, weights, need_x, need_weight
    ),
    flops=_backward_flops,
    gradient_of=_gradient_of,
    batching=Batching(batched=("grad", "inputs"), without=("need_weight",)),
)
_separable_node = register(
    "separable_node(Tensor[] inputs, str[] operations, Tensor[] weights) -> Tensor",
    _forward,
    fake=_empty_output,
    flops=_flops,
    backward=_gradient,
    setup_context=_save,
    twin=_twin,
    batching=Batching(batched=("inputs",)),
)
