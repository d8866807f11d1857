"""`hsab_feed_forward`: the convolutional feed-forward layer of GA-HQS's attention blocks (HSAB)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from csmri_ext import _core
from csmri_ext.ops import _pixels as pixels
from csmri_ext.ops import reference
from csmri_ext.ops._arguments import require_tensors
from csmri_ext.ops._batching import Batching
from csmri_ext.ops._checks import same_device_and_type, shapes
from csmri_ext.ops._derivatives import VjpProblem
from csmri_ext.ops._library import addresses, autocast_dtype, autocasting, launch, register, without_autocast

_WIDE_REGISTERS = _core.simd_level() != "baseline"


def hsab_feed_forward_is_faster(x: Tensor) -> bool:
    """Whether the op was measured to beat torch on inputs like `x`: in float32 on a CPU with AVX2, outside autocast.

    By 1.3 to 3, more for fewer channels. Without AVX2 torch wins from 64 channels on; no GPU has timed the op.
    """
    measured = x.device.type == "cpu" and x.dtype == torch.float32 and _WIDE_REGISTERS
    return measured and not autocasting(x.device)


def hsab_feed_forward(x: Tensor, expand: Tensor, depthwise: Tensor, contract: Tensor) -> Tensor:
    """Two point-wise products with a depth-wise convolution between them, in one pass.

        ``y = V gelu(D gelu(U x))``,  ``gelu(t) = t (1 + erf(t / sqrt(2))) / 2``

    with ``U`` (`expand`) and ``V`` (`contract`) 1x1 convolutions and ``D`` (`depthwise`) a depth-wise 3x3
    cross-correlation with zero padding 1, none with a bias (GA-HQS, feed-forward layer of HSAB). The hidden tensors
    are never stored, neither on the CPU nor on a GPU: the backward pass computes them again.

    Kernels run on the CPU, float32 and float64, at every instruction set, and on CUDA, also in bfloat16 and float16, of
    which all sums are float32's, forward and backward. On CUDA a block of the backward kernel takes 99 KiB of shared
    memory, in float64 126 (of the forward kernel 63 and 126): where a GPU has less, the call ends in CUDA's error.

    Parameters
    ----------
    x
        float32 or float64, on CUDA also bfloat16 or float16, ``(batch, channels, ny, nx)``. channels_last is fast, any
        other layout is copied first. Fastest for channels in multiples of 32. float64 is for checks: it is slow. Under
        autocast float32 stays float32, and so do 16 bits on CUDA; on the CPU they become float32.
    expand, depthwise, contract
        dtype of `x` (under autocast any: they are cast), ``(hidden, channels)``, ``(hidden, 3, 3)``, ``(channels,
        hidden)``.

    Returns
    -------
        dtype and shape of `x`, channels_last. Equivalent to `reference.hsab_feed_forward`. Differentiable twice.

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit together.
    """
    require_tensors("hsab_feed_forward", x=x, expand=expand, depthwise=depthwise, contract=contract)
    if autocasting(x.device):
        arguments = x, expand, depthwise, contract
        return cast(Tensor, without_autocast(hsab_feed_forward, autocast_dtype(x), x, *arguments))
    check(x, expand, depthwise, contract)
    if reference.active():
        return reference.hsab_feed_forward(x, expand, depthwise, contract)
    result: Tensor = _hsab_feed_forward(x, expand, depthwise, contract)
    return result


def check(x: Tensor, expand: Tensor, depthwise: Tensor, contract: Tensor) -> None:
    """Raise TypeError or ValueError unless everything fits together."""
    named = {"x": x, "expand": expand, "depthwise": depthwise, "contract": contract}
    same_device_and_type("hsab_feed_forward", named)
    if x.ndim != 4 or expand.ndim != 2:
        raise ValueError(f"hsab_feed_forward: {shapes(named)}; expected x (batch, channels, ny, nx), expand two axes")
    channels, hidden = x.shape[1], expand.shape[0]
    expected = [(hidden, channels), (hidden, 3, 3), (channels, hidden)]
    if [tuple(t.shape) for t in (expand, depthwise, contract)] != expected:
        wanted = "(hidden, channels), (hidden, 3, 3), (channels, hidden)"
        raise ValueError(
            f"hsab_feed_forward: {shapes(named)}; {channels} channels and {hidden} hidden ones need {wanted}"
        )


def _extents(x: Tensor, expand: Tensor) -> dict[str, int]:
    """Return the extents that the arguments of both kernels have."""
    return {**pixels.extents(x), "channels": x.shape[1], "hidden": expand.shape[0]}


def _forward(x: Tensor, *weights: Tensor) -> Tensor:
    x, out = pixels.dense(x), pixels.empty(x, x.shape)
    expand, depthwise, contract = (w.contiguous() for w in weights)
    read = addresses(x=x, expand=expand, depthwise=depthwise, contract=contract)
    args = _core.HsabFeedForwardArgs(**read, **addresses(out=out), **_extents(x, expand))
    launch("hsab_feed_forward", x, args)
    return out


def _backward(
    grad: Tensor, x: Tensor, expand: Tensor, depthwise: Tensor, contract: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grad, x = pixels.dense(grad), pixels.dense(x)
    expand, depthwise, contract = expand.contiguous(), depthwise.contiguous(), contract.contiguous()
    grads = _empty_gradients(grad, x, expand, depthwise, contract)
    grad_x, grad_expand, grad_depthwise, grad_contract = grads
    args = _core.HsabFeedForwardBackwardArgs(
        **addresses(grad_out=grad, x=x, expand=expand, depthwise=depthwise, contract=contract),
        **addresses(grad_x=grad_x, grad_expand=grad_expand, grad_depthwise=grad_depthwise, grad_contract=grad_contract),
        **_extents(x, expand),
    )
    launch("hsab_feed_forward_backward", x, args)
    return grads


def _empty_gradients(grad: Tensor, x: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    expand, depthwise, contract = (w.new_empty(w.shape) for w in weights)
    return pixels.empty(x, x.shape), expand, depthwise, contract


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
    grads: tuple[Tensor, ...] = _hsab_feed_forward_backward(grad, *ctx.saved_tensors)
    return grads


def _gradient_of(grad: Tensor, *inputs: Tensor) -> VjpProblem:
    return reference.hsab_feed_forward(*inputs), inputs, (grad,)


def _flops(x: torch.Size, expand: torch.Size, *_: Any, **__: Any) -> int:
    batch, channels, ny, nx = x
    return 2 * batch * ny * nx * expand[0] * (2 * channels + 9)


def _backward_flops(grad: torch.Size, x: torch.Size, expand: torch.Size, *_: Any, **__: Any) -> int:
    return 2 * _flops(x, expand)


_WEIGHTS = "Tensor expand, Tensor depthwise, Tensor contract"
_hsab_feed_forward_backward = register(
    f"hsab_feed_forward_backward(Tensor grad, Tensor x, {_WEIGHTS}) -> (Tensor, Tensor, Tensor, Tensor)",
    _backward,
    fake=_empty_gradients,
    flops=_backward_flops,
    gradient_of=_gradient_of,
)
_hsab_feed_forward = register(
    f"hsab_feed_forward(Tensor x, {_WEIGHTS}) -> Tensor",
    _forward,
    fake=lambda x, *weights: pixels.empty(x, x.shape),
    flops=_flops,
    backward=_gradient,
    setup_context=_save,
    twin=reference.hsab_feed_forward,
    batching=Batching(batched=("x",)),
)
