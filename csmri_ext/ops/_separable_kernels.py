"""From tensors to the kernels of NasN operations: layouts and terms."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from csmri_ext import _core
from csmri_ext.ops import _pixels as pixels
from csmri_ext.ops._library import address, addresses, launch, tf32_allowed

MAX_TERMS = _core.MAX_TERMS
RELU_CONV = "relu_conv"  # the op of that name: `backward` knows it, a node does not
CODES = {
    "conv_1x1": _core.Separable.pointwise,
    "sep_conv_3x3": _core.Separable.dilation1,
    "dil_2_conv_3x3": _core.Separable.dilation2,
    "dil_3_conv_3x3": _core.Separable.dilation3,
    "conv_9x1_1x9": _core.Separable.column_row,
    "skip": _core.Separable.skip,
    RELU_CONV: _core.Separable.relu_conv,
}
# operation of a node -> number of its weights
OPERATIONS = {
    "conv_1x1": 1,
    "sep_conv_3x3": 2,
    "dil_2_conv_3x3": 2,
    "dil_3_conv_3x3": 2,
    "conv_9x1_1x9": 2,
    "skip": 0,
    "none": 0,
}


def n_weights(operation: str) -> int:
    """Return how many weight tensors an operation has."""
    return OPERATIONS[operation]


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


def _addresses(weights: Sequence[Tensor]) -> tuple[int, int]:
    """Return the addresses of the first and the second weight of an operation, 0 where there are fewer."""
    first, second = ([None, None, *weights])[-2:]
    return address(first), address(second)


class Term:
    """One operation on one input, held in a form that a kernel can read."""

    def __init__(self, operation: str, x: Tensor, weights: Sequence[Tensor]) -> None:
        self.x, pixel = pixels.in_pixels(x)
        self.weights = [w.contiguous() for w in weights]
        first, second = _addresses(self.weights)
        self.packed = _core.NodeTerm(
            operation=CODES[operation],
            x=address(self.x),
            channels=x.shape[1],
            pixel=pixel,
            first=first,
            second=second,
        )


def _optional(x: Tensor | None) -> tuple[Tensor | None, int]:
    """Return `in_pixels` of x, or nothing."""
    return (None, 0) if x is None else pixels.in_pixels(x)


def forward(
    operations: Sequence[str], inputs: Sequence[Tensor], weights: Sequence[Sequence[Tensor]], out: Tensor
) -> None:
    """Write the sum of the operations into `out`, channels_last or a slice of its channels.

    ``skip`` may have one weight, a factor. Operations that read the same tensor read its rows once.
    """
    terms = [Term(*t) for t in zip(operations, inputs, weights, strict=True) if t[0] != "none"]
    args = _core.SeparableNodeArgs(
        term=[term.packed for term in terms],
        out=address(out),
        outputs=out.shape[1],
        out_pixel=pixels.in_pixels(out)[1],
        tf32=tf32_allowed(out),
        **pixels.extents(out),
    )
    launch("separable_node", out, args)


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
    term, outputs = Term(operation, x, weights), grad.shape[1]
    grad, grad_pixel = pixels.in_pixels(grad)
    grads = [w.new_empty(w.shape) for w in weights] if need_weight else []
    grad_first, grad_second = _addresses(grads)
    addend, addend_pixel = _optional(addend)
    args = _core.SeparableNodeBackwardArgs(
        term=term.packed,
        grad=address(grad),
        outputs=outputs,
        grad_pixel=grad_pixel,
        addend=address(addend),
        addend_pixel=addend_pixel,
        grad_x=address(grad_x),
        grad_x_pixel=_optional(grad_x)[1],
        grad_first=grad_first,
        grad_second=grad_second,
        tf32=tf32_allowed(x),
        **pixels.extents(x),
    )
    launch("separable_node_backward", x, args)
    return grads


def scaled_skip_backward(
    x: Tensor, factor: Tensor, grad: Tensor, grad_x: Tensor | None, addend: Tensor | None, grad_factor: Tensor | None
) -> None:
    """Write ``addend + factor * grad`` into `grad_x`, ``<grad, x>`` into the scalar `grad_factor`; each unless None.

    On the CPU; on a GPU `edge_backward` does it.
    """
    (x, pixel), (grad, grad_pixel), (addend, addend_pixel) = (
        pixels.in_pixels(x),
        pixels.in_pixels(grad),
        _optional(addend),
    )
    args = _core.ScaledSkipBackwardArgs(
        **addresses(x=x, factor=factor, grad=grad, addend=addend, grad_x=grad_x, grad_factor=grad_factor),
        channels=x.shape[1],
        pixel=pixel,
        grad_pixel=grad_pixel,
        addend_pixel=addend_pixel,
        grad_x_pixel=_optional(grad_x)[1],
        **pixels.extents(x),
    )
    launch("scaled_skip_backward", x, args)


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
    (x, pixel), (grad, grad_pixel), (addend, addend_pixel) = (
        pixels.in_pixels(x),
        pixels.in_pixels(grad),
        _optional(addend),
    )
    need_weight = grad_alphas is not None
    grads = [[w.new_empty(w.shape) for w in own] if need_weight else [] for own in weights]
    weights = [[w.contiguous() for w in own] for own in weights]
    wanted: Sequence[Tensor | None] = grad_alphas or [None] * len(operations)
    terms = []
    for operation, alpha, own, grad_alpha, own_grads in zip(operations, alphas, weights, wanted, grads, strict=True):
        (first, second), (grad_first, grad_second) = _addresses(own), _addresses(own_grads)
        term = _core.EdgeTerm(
            operation=CODES[operation],
            alpha=address(alpha),
            first=first,
            second=second,
            grad_alpha=address(grad_alpha),
            grad_first=grad_first,
            grad_second=grad_second,
        )
        terms.append(term)
    args = _core.SupernetEdgeBackwardArgs(
        **addresses(x=x, grad=grad, addend=addend, grad_x=grad_x),
        term=terms,
        channels=x.shape[1],
        pixel=pixel,
        outputs=grad.shape[1],
        grad_pixel=grad_pixel,
        addend_pixel=addend_pixel,
        grad_x_pixel=_optional(grad_x)[1],
        need_weight=need_weight,
        tf32=tf32_allowed(x),
        **pixels.extents(x),
    )
    launch("supernet_edge_backward", x, args)
    return grads


def relu_conv(x: Tensor, weight: Tensor, residual: Tensor | None, out: Tensor) -> None:
    """Write ``residual + weight * relu(x)`` into `out`, channels_last."""
    (x, pixel), (residual, residual_pixel), weight = pixels.in_pixels(x), _optional(residual), weight.contiguous()
    args = _core.ReluConvArgs(
        **addresses(x=x, weight=weight, residual=residual, out=out),
        channels=x.shape[1],
        pixel=pixel,
        residual_pixel=residual_pixel,
        outputs=out.shape[1],
        out_pixel=out.shape[1],
        **pixels.extents(x),
    )
    launch("relu_conv", x, args)


def multiply_adds(operation: str, channels: int, outputs: int) -> int:
    """Multiply-adds per pixel."""
    if operation in {"skip", "none"}:
        return 0
    if operation == "conv_9x1_1x9":
        return 18 * channels
    return (0 if operation == "conv_1x1" else 9 * channels) + channels * outputs
