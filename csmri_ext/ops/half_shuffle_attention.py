"""`half_shuffle_attention`: the attention half of GA-HQS's attention blocks (HSAB)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from csmri_ext import _core
from csmri_ext.ops import _pixels as pixels
from csmri_ext.ops import reference
from csmri_ext.ops._arguments import require_tensors
from csmri_ext.ops._batching import Batching
from csmri_ext.ops._checks import same_device_and_type, shapes
from csmri_ext.ops._derivatives import VjpProblem, under_transforms
from csmri_ext.ops._library import addresses, autocast_dtype, autocasting, launch, register, without_autocast

WINDOW = _core.WINDOW
_WIDE_REGISTERS = _core.simd_level() != "baseline"
_of_torch: Callable[..., Tensor] = partial(reference.half_shuffle_attention, attention=scaled_dot_product_attention)
_WEIGHTS = ("norm_weight", "norm_bias", "query", "key_value", "project", "bias")


def attention_of_torch(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """``softmax(q k^T / sqrt(width)) v`` for layers of which no kernel is faster: by torch's fused attention.

    That has no forward mode, no second derivatives and no rule for `torch.vmap`. So under forward mode, transforms of
    `torch.func` and `csmri_ext.reference_ops` it is `reference.softmax_attention`, which stores all pairs.

    Parameters
    ----------
    q, k, v
        Queries, keys and values, ``(batch, heads, tokens, width)``.
    """
    if reference.active() or (not torch.compiler.is_compiling() and under_transforms()):
        return reference.softmax_attention(q, k, v)
    return scaled_dot_product_attention(q, k, v)


def half_shuffle_attention_is_faster(x: Tensor) -> bool:
    """Whether the op was measured to beat torch on inputs like `x`: in float32 on a CPU with AVX2, outside autocast.

    No GPU has timed the op.
    """
    measured = x.device.type == "cpu" and x.dtype == torch.float32 and _WIDE_REGISTERS
    return measured and not autocasting(x.device)


def half_shuffle_attention(
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    query: Tensor,
    key_value: Tensor,
    project: Tensor,
    bias: Tensor,
    heads: int,
    epsilon: float = 1e-5,
) -> Tensor:
    """Normalise, attend within windows and across them, project and add the input, in one op.

    With ``n = LN(x)`` over the channels of each pixel and heads of ``w = channels / heads`` channels,

        ``q = Q n``, ``(k, v) = K n``, ``o_h = softmax(q_h k_h^T / sqrt(w)) v_h``, ``y = x + O o + b``

    (GA-HQS, HSAB). The first half of the heads, or the only one, attends inside windows of 8 x 8 pixels; for the last
    half the pixels at the same place of all windows attend to each other. No matrix of all pairs is stored, nor
    anything else for the backward pass, which computes queries, keys, values and weights again from `x`.

    Kernels run on the CPU, float32 and float64, at every instruction set, and forward on CUDA, also in bfloat16 and
    float16, of which all sums are float32's. Backward there is no kernel for CUDA: there the gradients are composed of
    torch's ``layer_norm``, ``linear`` and ``scaled_dot_product_attention``.

    Parameters
    ----------
    x
        float32 or float64, on CUDA also bfloat16 or float16, ``(batch, channels, ny, nx)``, both sizes multiples of 8
        (`csmri_ext.nn.HSAB` pads). channels_last is fast, any other layout is copied first. Fastest for heads of 16
        channels or more. float64 is for checks: it is slow. Under autocast float32 stays float32, and so do 16 bits on
        CUDA; on the CPU they become float32.
    norm_weight, norm_bias
        Of LN, ``(channels,)``.
    query, key_value, project, bias
        Q ``(channels, channels)``, K ``(2 channels, channels)``, O ``(channels, channels)``, b ``(channels,)``; dtype
        of `x` (under autocast any: they are cast).
    heads
        1 or an even divisor of the channels.
    epsilon
        Added to the variance in LN.

    Returns
    -------
        dtype and shape of `x`, channels_last. Equivalent to `reference.half_shuffle_attention`. Differentiable twice,
        the second time through the twin.

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit together.
    """
    weights = (norm_weight, norm_bias, query, key_value, project, bias)
    require_tensors("half_shuffle_attention", x=x, **dict(zip(_WEIGHTS, weights, strict=True)))
    if autocasting(x.device):
        again = partial(half_shuffle_attention, heads=heads, epsilon=epsilon)
        return cast(Tensor, without_autocast(again, autocast_dtype(x), x, x, *weights))
    check(x, weights, heads)
    if reference.active():
        return reference.half_shuffle_attention(x, *weights, heads, epsilon)
    result: Tensor = _half_shuffle_attention(x, *weights, heads, epsilon)
    return result


def check(x: Tensor, weights: tuple[Tensor, ...], heads: int) -> None:
    """Raise TypeError or ValueError unless everything fits together."""
    name, named = "half_shuffle_attention", dict(zip(("x", *_WEIGHTS), (x, *weights), strict=True))
    same_device_and_type(name, named)
    if x.ndim != 4 or x.shape[2] % WINDOW or x.shape[3] % WINDOW:
        raise ValueError(
            f"{name}: x {tuple(x.shape)}; expected (batch, channels, ny, nx), sizes in multiples of {WINDOW}"
        )
    c = x.shape[1]
    if heads < 1 or (heads > 1 and heads % 2) or c % heads or c == 0:
        raise ValueError(f"{name}: {heads} heads on {c} channels; expected 1 or an even divisor")
    expected = [(c,), (c,), (c, c), (2 * c, c), (c, c), (c,)]
    for which, weight, shape in zip(_WEIGHTS, weights, expected, strict=True):
        if tuple(weight.shape) != shape:
            raise ValueError(f"{name}: {shapes(named)}; {c} channels need {which} {shape}")


def _arguments(x: Tensor, weights: list[Tensor], heads: int, epsilon: float, out: Tensor | None) -> Any:
    named = dict(zip(_WEIGHTS, weights, strict=True))
    return _core.HalfShuffleAttentionArgs(
        **addresses(x=x, **named, out=out), **pixels.extents(x), channels=x.shape[1], heads=heads, epsilon=epsilon
    )


def _forward(x: Tensor, *arguments: Any) -> Tensor:
    *weights, heads, epsilon = arguments
    x, out, weights = pixels.dense(x), pixels.empty(x, x.shape), [w.contiguous() for w in weights]
    launch("half_shuffle_attention", x, _arguments(x, weights, heads, epsilon, out))
    return out


def _backward(grad: Tensor, x: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    *weights, heads, epsilon = arguments
    if x.is_cuda:
        return _backward_of_torch(grad, x, *arguments)
    grad, x, weights = pixels.dense(grad), pixels.dense(x), [w.contiguous() for w in weights]
    grads = _empty_gradients(grad, x, *weights)
    grad_of = {f"grad_{name}": g for name, g in zip(("x", *_WEIGHTS), grads, strict=True)}
    args = _core.HalfShuffleAttentionBackwardArgs(
        forward=_arguments(x, weights, heads, epsilon, None), **addresses(grad_out=grad, **grad_of)
    )
    launch("half_shuffle_attention_backward", x, args)
    return grads


def _backward_of_torch(grad: Tensor, x: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    """Differentiate what torch composes, recorded again from the inputs."""
    *weights, heads, epsilon = arguments
    with torch.enable_grad():
        leaves = [t.detach().requires_grad_() for t in (x, *weights)]
        out = _of_torch(*leaves, heads, epsilon)
        found = torch.autograd.grad(out, leaves, grad)
    grads = _empty_gradients(grad, x, *weights)
    for to, value in zip(grads, found, strict=True):
        to.copy_(value)
    return grads


def _empty_gradients(grad: Tensor, x: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    return (pixels.empty(x, x.shape), *(w.new_empty(w.shape) for w in arguments if isinstance(w, Tensor)))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.heads, ctx.epsilon = inputs
    ctx.save_for_backward(*tensors)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return *_half_shuffle_attention_backward(grad, *ctx.saved_tensors, ctx.heads, ctx.epsilon), None, None


def _gradient_of(grad: Tensor, *inputs: Any) -> VjpProblem:
    return reference.half_shuffle_attention(*inputs), inputs[:-2], (grad,)


def _flops(x: torch.Size, *arguments: Any, **_: Any) -> int:
    """Products of weights, and of queries, keys and values."""
    batch, channels, ny, nx = x
    heads = arguments[len(_WEIGHTS)]
    local = channels if heads == 1 else channels // 2
    tokens = local * WINDOW**2 + (channels - local) * (ny * nx // WINDOW**2)
    return 2 * batch * ny * nx * (4 * channels**2 + 2 * tokens)


def _backward_flops(grad: torch.Size, x: torch.Size, *arguments: Any, **_: Any) -> int:
    return 2 * _flops(x, *arguments)


_ARGUMENTS = (
    "Tensor norm_weight, Tensor norm_bias, Tensor query, Tensor key_value, Tensor project, Tensor bias, int heads, "
    "float epsilon"
)
_half_shuffle_attention_backward = register(
    f"half_shuffle_attention_backward(Tensor grad, Tensor x, {_ARGUMENTS}) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _backward,
    fake=_empty_gradients,
    flops=_backward_flops,
    gradient_of=_gradient_of,
)
_half_shuffle_attention = register(
    f"half_shuffle_attention(Tensor x, {_ARGUMENTS}) -> Tensor",
    _forward,
    fake=lambda x, *arguments: pixels.empty(x, x.shape),
    flops=_flops,
    backward=_gradient,
    setup_context=_save,
    twin=reference.half_shuffle_attention,
    batching=Batching(batched=("x",)),
)
