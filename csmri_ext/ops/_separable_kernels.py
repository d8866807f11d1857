"""From tensors to the kernels of NasN operations: layouts, terms, scratch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from csmri_ext import _core
from csmri_ext.ops._library import address, kernel_for, launch, tf32_allowed

MAX_TERMS = 32  # csrc/rows/separable.hpp
# name -> (enum class Separable, number of weights)
OPERATIONS: dict[str, tuple[int | None, int]] = {
    "conv_1x1": (0, 1),
    "sep_conv_3x3": (1, 2),
    "dil_2_conv_3x3": (2, 2),
    "dil_3_conv_3x3": (3, 2),
    "conv_9x1_1x9": (4, 2),
    "skip": (6, 0),
    "none": (None, 0),
}

RELU_CONV = 5  # "relu_conv" below, the op of that name: no operation of a node


def n_weights(operation: str) -> int:
    """Return how many weight tensors an operation has."""
    return OPERATIONS[operation][1]


def grouped(operations: Sequence[str], flat: Sequence[Tensor]) -> list[list[Tensor]]:
    """Split a flat list of weights into one list per operation."""
    groups, start = [], 0
    for operation in operations:
        groups.append(list(flat[start : start + n_weights(operation)]))
        start += n_weights(operation)
    return groups


def n_outputs(operation: str, x_shape: Sequence[int], weight_shapes: Sequence[Sequence[int]]) -> int:
    """Return the channels of an operation's result."""
    pointwise = operation not in {"conv_9x1_1x9", "skip", "none"}
    return int(weight_shapes[-1][0] if pointwise else x_shape[1])


def empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Return an empty tensor in the layout of the kernels, channels_last."""
    return torch.empty(tuple(shape), dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def in_pixels(x: Tensor) -> tuple[Tensor, int]:
    """Return `x` with its channels side by side in memory, and the elements from one pixel to the next.

    channels_last tensors, and slices of their channels, come back as they are; others are copied.
    """
    _, channels, ny, nx = x.shape
    pixel = x.stride(3)
    if pixel >= channels and x.stride() == (ny * nx * pixel, 1, nx * pixel, pixel):
        return x, pixel
    return x.contiguous(memory_format=torch.channels_last), channels


def extents(x: Tensor) -> tuple[int, int, int]:
    """Return batch, ny, nx."""
    return x.shape[0], x.shape[2], x.shape[3]


def _addresses(weights: Sequence[Tensor]) -> tuple[int, int]:
    """Return the addresses of the first and the second weight of an operation, 0 where there are fewer."""
    first, second = ([None, None, *weights])[-2:]
    return address(first), address(second)


class Term:
    """One operation on one input, held in a form that a kernel can read."""

    def __init__(self, operation: str, x: Tensor, weights: Sequence[Tensor]) -> None:
        self.x, self.pixel = in_pixels(x)
        self.weights = [w.contiguous() for w in weights]
        code = RELU_CONV if operation == "relu_conv" else OPERATIONS[operation][0]
        self.packed = (code, x.shape[1], address(self.x), self.pixel, *_addresses(self.weights))


def forward(
    operations: Sequence[str], inputs: Sequence[Tensor], weights: Sequence[Sequence[Tensor]], out: Tensor
) -> None:
    """Write the sum of the operations into `out`, channels_last or a slice of its channels.

    ``skip`` may have one weight, a factor. Operations that read the same tensor read its rows once.
    """
    terms = [Term(*t) for t in zip(operations, inputs, weights, strict=True) if t[0] != "none"]
    packed = [term.packed for term in terms]
    outputs, sizes = out.shape[1], extents(out)
    scratch = 0 if out.is_cuda else _kernel("separable_node_scratch", out)(packed, outputs, sizes)
    target = (address(out), in_pixels(out)[1])
    tf32 = tf32_allowed(out)
    launch("separable_node", out, packed, outputs, sizes, target, tf32, scratch_bytes_per_thread=scratch)


def backward(
    operation: str,
    x: Tensor,
    weights: Sequence[Tensor],
    grad: Tensor,
    grad_x: Tensor | None,
    addend: Tensor | None,
    need_weight: bool,
) -> list[Tensor]:
    """Write ``addend + (d out / d x)^T grad`` into `grad_x`, and return the gradients of the weights.

    `operation` has weights. `grad_x` is channels_last; `addend` may be the same tensor, or None for 0.
    """
    term, sizes, outputs = Term(operation, x, weights), extents(x), grad.shape[1]
    grad, grad_pixel = in_pixels(grad)
    grads = [w.new_empty(w.shape) for w in weights] if need_weight else []
    if x.is_cuda:
        n_bytes = kernel_for("separable_node_backward_workspace", x)(term.packed, outputs, sizes)
        scratch, workspace = 0, x.new_empty(n_bytes, dtype=torch.uint8)
    else:
        scratch, n_partials = _kernel("separable_node_backward_scratch", x)(term.packed, outputs, sizes)
        workspace = x.new_empty(n_partials if need_weight else 0)
    added, added_pixel = (None, 0) if addend is None else in_pixels(addend)
    written_pixel = 0 if grad_x is None else in_pixels(grad_x)[1]
    arguments = (
        term.packed, outputs, sizes, (address(grad), grad_pixel), (address(added), added_pixel),
        (address(grad_x), written_pixel), *_addresses(grads), address(workspace),
        tf32_allowed(x),
    )  # fmt: skip
    launch("separable_node_backward", x, *arguments, scratch_bytes_per_thread=scratch)
    return grads


def scaled_skip_backward(
    x: Tensor, factor: Tensor, grad: Tensor, grad_x: Tensor | None, addend: Tensor | None, grad_factor: Tensor | None
) -> None:
    """Write ``addend + factor * grad`` into `grad_x`, ``<grad, x>`` into the scalar `grad_factor`; each unless None.

    On the CPU; on a GPU `edge_backward` does it.
    """
    (x, pixel), (grad, grad_pixel) = in_pixels(x), in_pixels(grad)
    added, added_pixel = (None, 0) if addend is None else in_pixels(addend)
    partials = torch.empty(0 if grad_factor is None else x.shape[0] * x.shape[2], dtype=torch.float64)
    arguments = (
        x.shape[1], extents(x), (address(x), pixel), address(factor), (address(grad), grad_pixel),
        (address(added), added_pixel), (address(grad_x), 0 if grad_x is None else in_pixels(grad_x)[1]),
        address(grad_factor), address(partials),
    )  # fmt: skip
    launch("scaled_skip_backward", x, *arguments)


def edge_backward(
    operations: Sequence[str],
    x: Tensor,
    alphas: Sequence[Tensor],
    weights: Sequence[Sequence[Tensor]],
    grad: Tensor,
    grad_x: Tensor | None,
    addend: Tensor | None,
    grad_alphas: Sequence[Tensor] | None,
) -> list[list[Tensor]]:
    """Run, on a GPU, the backward pass of ``sum_k alphas[k] * operation_k(x)`` in one pass over `x` and `grad`.

    Write ``addend + (d sum / d x)^T grad`` into `grad_x`, channels_last, unless it is None; `addend` may be the same
    tensor, or None for 0. Unless `grad_alphas` is None, write the scalars' gradients there and return those of each
    operation's weights. The operations are neither ``conv_9x1_1x9`` nor ``none``.
    """
    (x, pixel), (grad, grad_pixel) = in_pixels(x), in_pixels(grad)
    need_weight = grad_alphas is not None
    grads = [[w.new_empty(w.shape) for w in own] if need_weight else [] for own in weights]
    weights = [[w.contiguous() for w in own] for own in weights]
    wanted: Sequence[Tensor | None] = grad_alphas or [None] * len(operations)
    terms = []
    for operation, alpha, own, grad_alpha, own_grads in zip(operations, alphas, weights, wanted, grads, strict=True):
        code = OPERATIONS[operation][0]
        terms.append((code, address(alpha), *_addresses(own), address(grad_alpha), *_addresses(own_grads)))
    written = (address(grad_x), 0 if grad_x is None else in_pixels(grad_x)[1])
    shape = (terms, x.shape[1], grad.shape[1], extents(x), written, need_weight)
    n_bytes = kernel_for("supernet_edge_backward_workspace", x)(*shape)
    workspace = x.new_empty(n_bytes, dtype=torch.uint8)
    added, added_pixel = (None, 0) if addend is None else in_pixels(addend)
    arguments = (
        (address(x), pixel), (address(grad), grad_pixel), (address(added), added_pixel), address(workspace),
        tf32_allowed(x),
    )  # fmt: skip
    launch("supernet_edge_backward", x, *shape, *arguments)
    return grads


def relu_conv(x: Tensor, weight: Tensor, residual: Tensor | None, out: Tensor) -> None:
    """Write ``residual + weight * relu(x)`` into `out`, channels_last."""
    x, pixel = in_pixels(x)
    weight, sizes = weight.contiguous(), extents(x)
    added, added_pixel = (None, 0) if residual is None else in_pixels(residual)
    shape = (x.shape[1], out.shape[1], sizes)
    arguments = (
        *shape,
        (address(x), pixel),
        address(weight),
        (address(added), added_pixel),
        (address(out), out.shape[1]),
    )
    scratch = 0 if x.is_cuda else _kernel("relu_conv_scratch", x)(*shape)
    launch("relu_conv", x, *arguments, scratch_bytes_per_thread=scratch)


def _kernel(name: str, like: Tensor) -> Any:
    return getattr(_core, f"{name}_{'f64' if like.dtype == torch.float64 else 'f32'}")


def multiply_adds(operation: str, channels: int, outputs: int) -> int:
    """Multiply-adds per pixel."""
    if operation in {"skip", "none"}:
        return 0
    if operation == "conv_9x1_1x9":
        return 18 * channels
    return (0 if operation == "conv_1x1" else 9 * channels) + channels * outputs
