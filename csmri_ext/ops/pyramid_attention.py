"""`pyramid_attention`: the pyramid of gated group convolutions of GA-HQS (PGSA)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from csmri_ext import _core
from csmri_ext.ops import reference
from csmri_ext.ops._arguments import require_tensors
from csmri_ext.ops._batching import Batching
from csmri_ext.ops._derivatives import VjpProblem, under_transforms
from csmri_ext.ops._library import address, autocast_dtype, autocasting, launch, register, without_autocast

KERNEL_SIZES, MAX_BRANCHES, MAX_PARTS = _core.KERNEL_SIZES, _core.MAX_BRANCHES, _core.MAX_PARTS


def pyramid_attention(
    parts: Tensor | Sequence[Tensor],
    weights: Sequence[Tensor],
    groups: Sequence[int],
    gate: Callable[[Tensor, Tensor], Tensor],
    scales: Tensor | None = None,
) -> Tensor:
    """Group convolutions of growing kernel size over one input, gated by their own pooled responses.

    With ``x = concat(scale_1 part_1, ...)`` and branches ``i = 1 ... s``

        ``F_i = conv(x, W_i; groups g_i, zero padding (k_i - 1) / 2)``,  ``F = concat(F_1 ... F_s)``,
        result ``gate(mean F, max F) * F``

    (GA-HQS, eq. 8-10; mean and maximum over the pixels of each channel). All branches share one read of the input, and
    the concatenation is never made.

    Parameters
    ----------
    parts
        One tensor or up to three, float32 or float64, on CUDA also bfloat16 or float16, each
        ``(batch, channels_p, ny, nx)``. Contiguous is fast; any other layout, channels_last included, is copied first.
        All sums are in float32 or float64. Under autocast everything takes on the dtype of the first part: float32
        stays float32, and so do 16 bits on CUDA; on the CPU they become float32.
    weights
        One ``(c, channels / g_i, k_i, k_i)`` per branch, up to four, with ``k_i`` of 3, 5, 7 or 9.
    groups
        ``g_i`` of each branch; it divides the channels of ``x`` and ``c``.
    gate
        Maps mean and maximum, each ``(batch, s c)``, to factors ``(batch, s c)``: a small differentiable function,
        such as that of `csmri_ext.nn.PGSA`.
    scales
        ``(n_parts,)``, dtype of `parts`; default ones. Differentiable.

    Returns
    -------
        ``(batch, s c, ny, nx)``, contiguous. Equivalent to `reference.pyramid_attention`.

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit together.
    """
    parts = [parts] if isinstance(parts, Tensor) else list(parts)
    features, mean, maximum = pyramid_convolution(parts, weights, groups, scales)
    factors = gate(mean, maximum).to(features.dtype)[..., None, None]
    recorded = torch.is_grad_enabled() and (features.requires_grad or factors.requires_grad)
    if recorded or under_transforms():
        return features * factors
    return features.mul_(factors)


def pyramid_convolution(
    parts: Sequence[Tensor], weights: Sequence[Tensor], groups: Sequence[int], scales: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``F``, its mean and its maximum over pixels, all from one pass; see `pyramid_attention`.

    The gradient of the maximum goes to the first pixel that attains it, as in `torch.nn.AdaptiveMaxPool2d`. The second
    derivative is taken through the twin.

    Returns
    -------
        ``F`` ``(batch, s c, ny, nx)``, mean and maximum ``(batch, s c)``.
    """
    parts, weights, groups = list(parts), list(weights), [int(g) for g in groups]
    require_tensors("pyramid_attention", ("scales",), parts=parts, weights=weights, scales=scales)
    if parts and autocasting(parts[0].device):
        again: Callable[..., Any] = pyramid_convolution
        found: tuple[Tensor, Tensor, Tensor] = without_autocast(
            again, autocast_dtype(parts[0]), parts[0], parts, weights, groups, scales
        )
        return found
    check(parts, weights, groups, scales)
    if reference.active():
        return reference.pyramid_convolution(parts, weights, groups, _scales_or_ones(parts, scales))
    features, mean, maximum, _ = _pyramid_attention(parts, scales, weights, groups)
    return features, mean, maximum


def check(parts: list[Tensor], weights: list[Tensor], groups: list[int], scales: Tensor | None) -> None:
    """Raise TypeError or ValueError unless everything fits together."""
    name = "pyramid_attention"
    if not 1 <= len(parts) <= MAX_PARTS or not 1 <= len(weights) <= MAX_BRANCHES or len(groups) != len(weights):
        raise ValueError(
            f"{name}: {len(parts)} parts, {len(weights)} weights, {len(groups)} groups; expected 1 to {MAX_PARTS} "
            f"parts and 1 to {MAX_BRANCHES} weights with one group number each"
        )
    tensors = [*parts, *weights, *([] if scales is None else [scales])]
    if len({t.device for t in tensors}) > 1:
        raise ValueError(f"{name}: tensors are on different devices: {', '.join(str(t.device) for t in tensors)}")
    if not parts[0].dtype.is_floating_point:
        raise TypeError(f"{name}: parts are {parts[0].dtype}, expected a real floating-point type")
    if len({t.dtype for t in tensors}) > 1:
        raise TypeError(f"{name}: tensors have different dtypes: {', '.join(str(t.dtype) for t in tensors)}")
    first = parts[0].shape
    for part in parts:
        if part.ndim != 4 or part.shape[0] != first[0] or part.shape[2:] != first[2:]:
            raise ValueError(
                f"{name}: parts {tuple(first)} and {tuple(part.shape)}; expected (batch, channels, ny, nx), "
                "equal but for channels"
            )
    if min(first[2:]) < 1:
        raise ValueError(f"{name}: parts {tuple(first)} have no pixels: no mean and no maximum exists")
    if scales is not None and scales.shape != (len(parts),):
        raise ValueError(f"{name}: scales {tuple(scales.shape)}, expected ({len(parts)},)")
    channels = sum(part.shape[1] for part in parts)
    for weight, group in zip(weights, groups, strict=True):
        fault = ""
        if weight.ndim != 4 or weight.shape[2] != weight.shape[3] or weight.shape[2] not in KERNEL_SIZES:
            fault = f"expected (outputs, channels / groups, k, k) with k in {KERNEL_SIZES}"
        elif group < 1 or channels % group or weight.shape[0] % group or weight.shape[1] * group != channels:
            fault = "groups divides channels and outputs, and channels / groups is weight.shape[1]"
        elif weight.shape[0] != weights[0].shape[0]:
            fault = f"every branch has as many outputs as the first, {weights[0].shape[0]}"
        if fault:
            raise ValueError(
                f"{name}: weight {tuple(weight.shape)} with {group} groups on {channels} channels; {fault}"
            )


def _shape(parts: list[Tensor], weights: list[Tensor], groups: list[int]) -> _core.PyramidShape:
    batch, _, ny, nx = parts[0].shape
    return _core.PyramidShape(
        batch=batch,
        ny=ny,
        nx=nx,
        part_channels=[p.shape[1] for p in parts],
        kernel=[w.shape[-1] for w in weights],
        groups=groups,
        branch_channels=weights[0].shape[0],
    )


def _scales_or_ones(parts: list[Tensor], scales: Tensor | None) -> Tensor:
    return parts[0].new_ones(len(parts)) if scales is None else scales


def _forward(
    parts: list[Tensor], scales: Tensor | None, weights: list[Tensor], groups: list[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    parts, weights = [p.contiguous() for p in parts], [w.contiguous() for w in weights]
    scales = _scales_or_ones(parts, scales).contiguous()
    features, mean, maximum, argmax = _empty_outputs(parts, weights)
    args = _core.PyramidArgs(
        shape=_shape(parts, weights, groups),
        part=[address(p) for p in parts],
        scale=address(scales),
        weight=[address(w) for w in weights],
        features=address(features),
        mean=address(mean),
        maximum=address(maximum),
        argmax=address(argmax),
    )
    launch("pyramid_attention", parts[0], args)
    return features, mean, maximum, argmax


def _empty_outputs(parts: list[Tensor], weights: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    like, outputs = parts[0], sum(w.shape[0] for w in weights)
    pooled = (like.shape[0], outputs)
    return (
        like.new_empty((like.shape[0], outputs, *like.shape[2:])),
        like.new_empty(pooled),
        like.new_empty(pooled),
        like.new_empty(pooled, dtype=torch.int64),
    )


def _backward(
    grads: list[Tensor], argmax: Tensor, parts: list[Tensor], scales: Tensor | None, weights: list[Tensor],
    groups: list[int], need_x: bool, need_weight: bool,
) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
    grads, argmax = [g.contiguous() for g in grads], argmax.contiguous()
    parts, weights = [p.contiguous() for p in parts], [w.contiguous() for w in weights]
    scales = _scales_or_ones(parts, scales).contiguous()
    grad_x = [p.new_empty(p.shape) for p in parts] if need_x else []
    grad_weight = [w.new_empty(w.shape) for w in weights] if need_weight else []
    args = _core.PyramidBackwardArgs(
        shape=_shape(parts, weights, groups),
        part=[address(p) for p in parts],
        scale=address(scales),
        weight=[address(w) for w in weights],
        grad_features=address(grads[0]),
        grad_mean=address(grads[1]),
        grad_maximum=address(grads[2]),
        argmax=address(argmax),
        grad_x=[address(g) for g in grad_x],
        grad_weight=[address(g) for g in grad_weight],
    )
    launch("pyramid_attention_backward", parts[0], args)
    return grad_x, grad_weight


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    parts, scales, weights, ctx.groups = inputs
    ctx.n_parts = len(parts)
    ctx.mark_non_differentiable(output[3])
    ctx.save_for_backward(*parts, scales, *weights, output[3])  # None is kept as it is


def _gradient(
    ctx: Any, grad_features: Tensor, grad_mean: Tensor, grad_maximum: Tensor, _: Any
) -> tuple[list[Tensor | None], Tensor | None, list[Tensor | None], None]:
    tensors = ctx.saved_tensors
    parts, scales = list(tensors[: ctx.n_parts]), tensors[ctx.n_parts]
    weights, argmax = list(tensors[ctx.n_parts + 1 : -1]), tensors[-1]
    need_x = ctx.needs_input_grad[1] or any(_flat(ctx.needs_input_grad[0]))
    need_weight = any(_flat(ctx.needs_input_grad[2]))
    grads = [grad_features, grad_mean, grad_maximum]
    grad_x, grad_weight = _pyramid_attention_backward(
        grads, argmax, parts, scales, weights, ctx.groups, need_x, need_weight
    )
    grad_parts: list[Tensor | None] = [None] * len(parts)
    grad_scales = None
    if need_x and scales is None:
        grad_parts = list(grad_x)
    elif need_x:
        grad_parts = [s * g for s, g in zip(scales, grad_x, strict=True)]
    if ctx.needs_input_grad[1]:
        # Plane by plane first: a sum over everything at once would depend on the number of threads.
        planes = [
            (g * p).reshape(*g.shape[:2], g.shape[2] * g.shape[3]).sum(-1) for g, p in zip(grad_x, parts, strict=True)
        ]
        grad_scales = torch.stack([plane.sum() for plane in planes])
    return grad_parts, grad_scales, list(grad_weight) if need_weight else [None] * len(weights), None


def _flat(needs: Any) -> list[bool]:
    return [bool(n) for n in needs] if isinstance(needs, (list, tuple)) else [bool(needs)]


def _twin(parts: list[Tensor], scales: Tensor | None, weights: list[Tensor], groups: list[int]) -> tuple[Tensor, ...]:
    features, mean, maximum = reference.pyramid_convolution(parts, weights, groups, _scales_or_ones(parts, scales))
    return features, mean, maximum, features.detach().flatten(2).argmax(-1)


def _gradient_of(
    grads: list[Tensor], argmax: Tensor, parts: list[Tensor], scales: Tensor | None, weights: list[Tensor],
    groups: list[int], need_x: bool, need_weight: bool,
) -> VjpProblem:  # fmt: skip
    """Gradients of the scaled parts and of the weights; argmax counts as a function of both."""
    scaled = parts if scales is None else [s * p for s, p in zip(scales, parts, strict=True)]
    outputs = reference.pyramid_convolution(scaled, weights, groups, _scales_or_ones(parts, None))
    return outputs, (scaled if need_x else [], weights if need_weight else []), grads


def _flops(parts: Any, scales: Any, weights: list[Any], *_: Any, **__: Any) -> int:
    batch, _channels, ny, nx = parts[0]
    return sum(2 * int(torch.Size(w).numel()) * batch * ny * nx for w in weights)


def _backward_flops(
    grads: Any, argmax: Any, parts: Any, scales: Any, weights: Any, groups: Any, need_x: bool, need_weight: bool,
    **__: Any,
) -> int:  # fmt: skip
    return _flops(parts, scales, weights) * (int(need_x) + int(need_weight))


def _fake_backward(
    grads: list[Tensor], argmax: Tensor, parts: list[Tensor], scales: Tensor | None, weights: list[Tensor],
    groups: list[int], need_x: bool, need_weight: bool,
) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
    grad_x = [p.new_empty(p.shape) for p in parts] if need_x else []
    return grad_x, [w.new_empty(w.shape) for w in weights] if need_weight else []


_pyramid_attention_backward = register(
    "pyramid_attention_backward(Tensor[] grads, Tensor argmax, Tensor[] parts, Tensor? scales, Tensor[] weights, "
    "int[] groups, bool need_x, bool need_weight) -> (Tensor[], Tensor[])",
    _backward,
    fake=_fake_backward,
    flops=_backward_flops,
    gradient_of=_gradient_of,
    batching=Batching(batched=("grads", "argmax", "parts"), without=("need_weight",)),
)
_pyramid_attention = register(
    "pyramid_attention(Tensor[] parts, Tensor? scales, Tensor[] weights, int[] groups) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    _forward,
    fake=lambda parts, scales, weights, groups: _empty_outputs(parts, weights),
    flops=_flops,
    backward=_gradient,
    setup_context=_save,
    twin=_twin,
    batching=Batching(batched=("parts",)),
)
