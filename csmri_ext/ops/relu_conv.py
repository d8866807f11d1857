"""`relu_conv`: ReLU and a dense 3x3 convolution to few channels, added to an image: the end of a NasN module."""

from __future__ import annotations

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
from csmri_ext.ops.separable_node import check_tensors


def relu_conv(x: Tensor, weight: Tensor, residual: Tensor | None = None) -> Tensor:
    """``residual + conv3x3(relu(x))``, zero padding 1, no bias (NasN, section 3).

    Parameters
    ----------
    x
        ``(batch, channels, ny, nx)``; layouts and dtypes as in `separable_node`, but for a residual of more bits than
        autocast's dtype: it is added as it is. All products are in float32 or float64, none in TF32.
    weight
        ``(outputs, channels, 3, 3)``. Made for few outputs: 2 for a complex image.
    residual
        ``(batch, outputs, ny, nx)``; default 0.

    Returns
    -------
        ``(batch, outputs, ny, nx)``, channels_last. Equivalent to `reference.relu_conv`. Differentiable twice.

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit together.
    """
    require_tensors("relu_conv", ("residual",), x=x, weight=weight, residual=residual)
    if autocasting(x.device):
        if residual is not None and residual.dtype.itemsize > convolution_dtype(x).itemsize:
            return residual + cast(Tensor, without_autocast(relu_conv, convolution_dtype(x), x, x, weight))
        return cast(Tensor, without_autocast(relu_conv, convolution_dtype(x), x, x, weight, residual))
    check(x, weight, residual)
    if reference.active():
        return reference.relu_conv(x, weight, residual)
    result: Tensor = _relu_conv(x, weight, residual)
    return result


def check(x: Tensor, weight: Tensor, residual: Tensor | None) -> None:
    """Raise TypeError or ValueError unless everything fits together."""
    name = "relu_conv"
    check_tensors(name, [x, weight, *([] if residual is None else [residual])])
    if x.ndim != 4 or weight.ndim != 4 or weight.shape[1:] != (x.shape[1], 3, 3):
        raise ValueError(
            f"{name}: x {tuple(x.shape)}, weight {tuple(weight.shape)}; expected (batch, channels, ny, nx) and "
            "(outputs, channels, 3, 3)"
        )
    expected = (x.shape[0], weight.shape[0], *x.shape[2:])
    if residual is not None and residual.shape != expected:
        raise ValueError(
            f"{name}: x {tuple(x.shape)}, weight {tuple(weight.shape)}, residual {tuple(residual.shape)}; expected a "
            f"residual {tuple(expected)}"
        )


def _empty_output(x: Tensor, weight: Tensor, residual: Tensor | None) -> Tensor:
    return pixels.empty(x, (x.shape[0], weight.shape[0], *x.shape[2:]))


def _forward(x: Tensor, weight: Tensor, residual: Tensor | None) -> Tensor:
    out = _empty_output(x, weight, residual)
    kernels.relu_conv(x, weight, residual, out)
    return out


def _backward(grad: Tensor, x: Tensor, weight: Tensor, need_x: bool, need_weight: bool) -> tuple[Tensor, Tensor]:
    grad_x, _ = outputs = _empty_gradients(grad, x, weight, need_x, need_weight)
    grads = kernels.backward(kernels.RELU_CONV, x, [weight], grad, grad_x if need_x else None, None, need_weight)
    return (grad_x, grads[0]) if need_weight else outputs


def _empty_gradients(grad: Tensor, x: Tensor, weight: Tensor, need_x: bool, need_weight: bool) -> tuple[Tensor, Tensor]:
    grad_x = pixels.empty(x, x.shape) if need_x else x.new_empty(0)
    return grad_x, weight.new_empty(weight.shape if need_weight else 0)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    need_x, need_weight, need_residual = ctx.needs_input_grad
    grad_x = grad_weight = None
    if need_x or need_weight:
        grad_x, grad_weight = _relu_conv_backward(grad, *ctx.saved_tensors, need_x, need_weight)
    return grad_x if need_x else None, grad_weight if need_weight else None, grad if need_residual else None


def _gradient_of(grad: Tensor, x: Tensor, weight: Tensor, need_x: bool, need_weight: bool) -> VjpProblem:
    wanted = x if need_x else None, weight if need_weight else None
    return reference.relu_conv(x, weight, None), wanted, (grad,)


def _flops(x: torch.Size, weight: torch.Size, *_: Any, **__: Any) -> int:
    return 2 * x[0] * x[2] * x[3] * 9 * weight[0] * weight[1]


def _backward_flops(grad: Any, x: Any, weight: Any, need_x: bool, need_weight: bool, *_: Any, **__: Any) -> int:
    return _flops(x, weight) * (int(need_x) + int(need_weight))


_relu_conv_backward = register(
    "relu_conv_backward(Tensor grad, Tensor x, Tensor weight, bool need_x, bool need_weight) -> (Tensor, Tensor)",
    _backward,
    fake=_empty_gradients,
    flops=_backward_flops,
    gradient_of=_gradient_of,
)
_relu_conv = register(
    "relu_conv(Tensor x, Tensor weight, Tensor? residual) -> Tensor",
    _forward,
    fake=_empty_output,
    flops=_flops,
    backward=_gradient,
    setup_context=_save,
    twin=reference.relu_conv,
    batching=Batching(batched=("x", "residual")),
)
