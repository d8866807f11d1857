"""`split_depthwise`: the split depth-wise convolution chain of GA-HQS (SDC)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from csmri_ext import _core
from csmri_ext.ops import reference
from csmri_ext.ops._arguments import require_tensors
from csmri_ext.ops._batching import Batching
from csmri_ext.ops._derivatives import VjpProblem
from csmri_ext.ops._library import addresses, autocast_dtype, autocasting, launch, register, sum_dtype, without_autocast

MAX_SPLITS = _core.MAX_SPLITS


def split_depthwise(x: Tensor, weight: Tensor) -> Tensor:
    """Chain of depth-wise 3x3 convolutions over groups of channels, each fed by the one before.

    The channels of `x` are split into ``s`` groups ``S_1 ... S_s``; with ``d_i`` a depth-wise 3x3 cross-correlation
    (zero padding 1, no bias)

        ``B_1 = S_1``,  ``B_2 = d_2 S_2``,  ``B_i = d_i (S_i + B_{i-1})``,  result ``concat(B_1 ... B_s)``

    (GA-HQS, eq. 12). One pass over memory instead of one per convolution, addition and concatenation.

    Parameters
    ----------
    x
        float32 or float64, on CUDA also bfloat16 or float16, ``(batch, channels, ny, nx)``, channels a multiple of
        ``s``. Contiguous is fast; any other layout, channels_last included, is copied first. All sums are in float32 or
        float64. Under autocast float32 stays float32, and so do 16 bits on CUDA; on the CPU they become float32.
    weight
        dtype of `x` (under autocast any: it is cast), ``(s - 1, channels / s, 3, 3)``, ``2 <= s <= 16``.

    Returns
    -------
        dtype and shape of `x`, contiguous. Equivalent to `reference.split_depthwise`. Differentiable twice.

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit together, or there are not 2 to 16 groups.
    """
    require_tensors("split_depthwise", x=x, weight=weight)
    if autocasting(x.device):
        return cast(Tensor, without_autocast(split_depthwise, autocast_dtype(x), x, x, weight))
    check(x, weight)
    if reference.active():
        return reference.split_depthwise(x, weight)
    result: Tensor = _split_depthwise(x, weight)
    return result


def check(x: Tensor, weight: Tensor) -> None:
    """Raise TypeError or ValueError unless `x` and `weight` fit together."""
    if x.device != weight.device:
        raise ValueError(f"split_depthwise: x is on {x.device}, weight on {weight.device}")
    if x.dtype != weight.dtype:
        raise TypeError(f"split_depthwise: x is {x.dtype}, weight {weight.dtype}")
    if not x.dtype.is_floating_point:
        raise TypeError(f"split_depthwise: x is {x.dtype}, expected a real floating-point type")
    if x.ndim != 4 or weight.ndim != 4 or weight.shape[2:] != (3, 3):
        raise ValueError(
            f"split_depthwise: x {tuple(x.shape)}, weight {tuple(weight.shape)}; expected (batch, channels, ny, nx) "
            "and (s - 1, channels / s, 3, 3)"
        )
    splits = weight.shape[0] + 1
    if not 2 <= splits <= MAX_SPLITS or x.shape[1] != splits * weight.shape[1]:
        raise ValueError(
            f"split_depthwise: x {tuple(x.shape)}, weight {tuple(weight.shape)}; {splits} groups (2 to {MAX_SPLITS} "
            f"allowed) of {weight.shape[1]} channels need x with {splits * weight.shape[1]} channels"
        )


def _extents(x: Tensor, weight: Tensor) -> dict[str, int]:
    """Return the extents that the arguments of both kernels have."""
    return {
        "batch": x.shape[0],
        "splits": weight.shape[0] + 1,
        "channels": weight.shape[1],
        "ny": x.shape[2],
        "nx": x.shape[3],
    }


def _forward(x: Tensor, weight: Tensor) -> Tensor:
    x, weight = x.contiguous(), weight.contiguous()
    out = x.new_empty(x.shape)
    args = _core.SplitDepthwiseArgs(**addresses(x=x, weight=weight, out=out), **_extents(x, weight))
    launch("split_depthwise", x, args)
    return out


def _backward(grad_out: Tensor, x: Tensor, out: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    grad_out, x, out, weight = grad_out.contiguous(), x.contiguous(), out.contiguous(), weight.contiguous()
    grad_x = x.new_empty(x.shape)
    per_image = x.new_empty((x.shape[0], *weight.shape), dtype=sum_dtype(x.dtype))
    args = _core.SplitDepthwiseBackwardArgs(
        **addresses(grad_out=grad_out, x=x, out=out, weight=weight, grad_x=grad_x, grad_weight=per_image),
        **_extents(x, weight),
    )
    launch("split_depthwise_backward", x, args)
    return grad_x, per_image.sum(0).to(weight.dtype)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)  # not the output, which an activation may overwrite


def _gradient(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor]:
    x, weight = ctx.saved_tensors
    grad_x, grad_weight = _split_depthwise_backward(grad_out, x, _split_depthwise(x, weight), weight)
    return grad_x, grad_weight


def _gradient_of(grad_out: Tensor, x: Tensor, out: Tensor, weight: Tensor) -> VjpProblem:
    """`out` counts as a function of x and weight."""
    return reference.split_depthwise(x, weight), (x, weight), (grad_out,)


def _flops(x_shape: torch.Size, weight_shape: torch.Size, *_: Any, out_shape: Any = None, **__: Any) -> int:
    batch, _channels, ny, nx = x_shape
    return 2 * 9 * batch * weight_shape[0] * weight_shape[1] * ny * nx


def _backward_flops(grad: torch.Size, x: torch.Size, out: torch.Size, weight: torch.Size, *_: Any, **__: Any) -> int:
    return 2 * _flops(x, weight)


_split_depthwise_backward = register(
    "split_depthwise_backward(Tensor grad_out, Tensor x, Tensor out, Tensor weight) -> (Tensor, Tensor)",
    _backward,
    fake=lambda grad_out, x, out, weight: (x.new_empty(x.shape), weight.new_empty(weight.shape)),
    flops=_backward_flops,
    gradient_of=_gradient_of,
)
_split_depthwise = register(
    "split_depthwise(Tensor x, Tensor weight) -> Tensor",
    _forward,
    fake=lambda x, weight: x.new_empty(x.shape),
    flops=_flops,
    backward=_gradient,
    setup_context=_save,
    twin=reference.split_depthwise,
    batching=Batching(batched=("x",)),
)
