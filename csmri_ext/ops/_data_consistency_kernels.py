"""The ops behind `csmri_ext.ops.data_consistency`, as kernels see them: packed samples and weights, flattened batches.

Notation: F is the unitary centred 2-D Fourier transform, m the weights, s = m F-space samples, N = F^H m F. All ops are
linear in images and samples together; their backward passes are again these ops, so they differentiate any number of
times.

Images are complex ``(..., ny, nx)``, or real ``(batch, 2 m, ny, nx)`` with the real, then the imaginary parts of m
replicas that share samples and weights. The packed forms are described in csrc/fft/packed_kspace.hpp;
`axes` names the axes along which the mask varies: "x" (the last one), "y" or "xy".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from csmri_ext import _core
from csmri_ext.ops import _packed_kspace as packed
from csmri_ext.ops._batching import Batching
from csmri_ext.ops._library import Recurring, address, launch, register

_WEIGHTS = {"weights": f"it is the mask: {packed.NO_MASK_GRADIENT}"}
_PER_IMAGE = Batching(batched=("image", "samples"), shared=("weights",))


def cover(x: Tensor) -> bool:
    """Tell whether there are kernels for images of this size; on a GPU not for sides above 2048: `reference` has them.

    That is documented and not a silent fallback: torch.fft is what remains where a line exceeds shared memory.
    """
    return not x.is_cuda or max(x.shape[-2:]) <= _core.MAX_CUDA_LENGTH


def _batch(image: Tensor) -> int:
    return math.prod(image.shape[:-2]) if image.is_complex() else image.shape[0]


def shape_of(image: Tensor, n_masks: int, axes: str) -> _core.KspaceShape:
    """Return KspaceShape of csrc/fft/packed_kspace.hpp."""
    return _shape(image.shape, image.is_complex(), n_masks, axes)


def _shape(size: torch.Size, is_complex: bool, n_masks: int, axes: str) -> _core.KspaceShape:
    batch, replicas = (math.prod(size[:-2]), 1) if is_complex else (size[0], size[1] // 2)
    return packed.kspace_shape(batch, size, axes, replicas, max(1, batch // max(1, n_masks)))


def addressable(image: Tensor) -> Tensor:
    """Return the image as kernels can address it: leading axes flattened, adjacent columns adjacent in memory."""
    if image.ndim != 3 and image.is_complex():
        image = image.reshape(-1, *image.shape[-2:])
    return image if image.stride(-1) == 1 else image.contiguous()


def images_of(image: Tensor) -> _core.ComplexImages:
    """Return ComplexImages of csrc/fft/images.hpp."""
    return _images(image.data_ptr(), image.shape, image.stride(), image.dtype)


def _images(re: int, size: torch.Size, strides: tuple[int, ...], dtype: torch.dtype) -> _core.ComplexImages:
    if dtype.is_complex:
        im, (batch, replica, row, column) = re + dtype.itemsize // 2, (2 * strides[0], 0, 2 * strides[1], 2)
    else:
        im, (batch, replica, row, column) = re + dtype.itemsize * strides[1] * (size[1] // 2), (*strides[:3], 1)
    return _core.ComplexImages(
        re=re, im=im, batch_stride=batch, replica_stride=replica, row_stride=row, column_stride=column
    )


_ARGS, _empty_like, _contiguous = _core.DataConsistencyArgs, torch.empty_like, torch.contiguous_format
_NAMES: dict[Any, str] = {_ARGS: "data_consistency", _core.DataConsistencyOnceArgs: "data_consistency_once"}


@lru_cache(maxsize=1024)
def recurring(
    args: Callable[..., Any],
    size: torch.Size,
    strides: tuple[int, ...],
    dtype: torch.dtype,
    data_size: torch.Size | None,
    mask_size: torch.Size,
    axes: str,
    add_image: bool,
) -> Recurring | None:
    """Return the kernel of DataConsistencyArgs or DataConsistencyOnceArgs for images of these extents.

    None for images that are empty or not as `addressable` returns them. It is made once for images of equal extents,
    which for small ones costs more than the kernel. `data_size`, `mask_size`: of packed samples and weights, of which
    whoever holds a `PreparedKspace` may have made other tensors; ValueError where kernels would read past their ends.
    """
    if 0 in size or (strides[-1] != 1 and size[-1] != 1) or (dtype.is_complex and len(size) != 3):
        return None
    data, weighting, n_masks = "kspace", "mask", mask_size[0]
    if args is _core.DataConsistencyArgs:
        data, weighting = "samples", "weights"
        _check_packed(size, dtype.is_complex, data_size, mask_size, axes)
    contiguous = torch.empty(size, dtype=dtype, device="meta").stride()
    made = args(
        shape=_shape(size, dtype.is_complex, n_masks, axes),
        image=_images(0, size, strides, dtype),
        out=_images(0, size, contiguous, dtype),
        **{data: 0, weighting: 0},
        eta=0,
        add_image=add_image,
    )
    return Recurring(_NAMES[args], made, dtype)


def _check_packed(
    size: torch.Size, is_complex: bool, samples: torch.Size | None, weights: torch.Size, axes: str
) -> None:
    """Raise ValueError unless samples and weights of these shapes are those of images of this one."""
    batch, n_masks = math.prod(size[:-2]) if is_complex else size[0], weights[0] if weights else 0
    if (
        axes not in packed.AXES
        or n_masks < 1
        or batch % n_masks
        or weights != packed.weights_shape(n_masks, size, axes)
        or (samples is not None and samples != packed.samples_shape(batch, size, axes))
    ):
        shown = "" if samples is None else f"samples {tuple(samples)}, "
        raise ValueError(
            f"data_consistency: {shown}weights {tuple(weights)} of axes {axes!r} do not belong to image {tuple(size)}; "
            "use what prepare_data_consistency returns as it is"
        )


def fft_flops(image_shape: torch.Size, axes: str) -> int:
    """5 n log2 n per line, the usual count; transforms along one axis or both."""
    ny, nx = image_shape[-2:]
    lengths = {"x": [nx], "y": [ny], "xy": [nx, ny]}[axes]
    return round(sum(5 * math.prod(image_shape) * math.log2(max(n, 1)) for n in lengths))


# --- [x] + eta F^H (s - m F x) -------------------------------------------------------------------------------------
def apply_now(
    image: Tensor, samples: Tensor | None, weights: Tensor, eta: Tensor, axes: str, add_image: bool
) -> Tensor:
    """Run what `apply` registers."""
    out = _empty_like(image, memory_format=_contiguous)
    weights, samples = weights.contiguous(), None if samples is None else samples.contiguous()
    sizes = None if samples is None else samples.shape, weights.shape
    kernel = recurring(_ARGS, image.shape, image.stride(), image.dtype, *sizes, axes, add_image)
    if kernel is None:
        if image.numel() == 0:
            return out
        image = addressable(image)
        kernel = recurring(_ARGS, image.shape, image.stride(), image.dtype, *sizes, axes, add_image)
        assert kernel is not None
    data = 0 if samples is None else samples.data_ptr()
    kernel.launch(image, image.data_ptr(), out.data_ptr(), data, weights.data_ptr(), eta.data_ptr())
    return out


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    image, samples, weights, eta, ctx.axes, ctx.add_image = inputs
    for_eta = (image, samples) if ctx.needs_input_grad[3] else (None, None)
    ctx.save_for_backward(*for_eta, weights, eta)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    image, samples, weights, eta = ctx.saved_tensors
    wants_image, wants_samples, _, wants_eta, *_ = ctx.needs_input_grad
    grad, grad_image, grad_samples, grad_eta = grad.contiguous(), None, None, None
    if wants_eta:
        grad_image, grad_eta = apply_backward(grad, image, samples, weights, eta, ctx.axes, ctx.add_image)
    elif wants_image:
        grad_image = apply(grad, None, weights, eta, ctx.axes, ctx.add_image)
    if wants_samples:
        grad_samples = eta * measure(grad, weights, ctx.axes)
    return grad_image, grad_samples, None, grad_eta, None, None


def _tangent(primals: list[Any], tangents: list[Any]) -> Tensor:
    image, samples, weights, eta, axes, add_image = primals
    image_t, samples_t, _, eta_t, *_ = tangents
    total = None
    if image_t is not None or samples_t is not None:
        moved = torch.zeros_like(image) if image_t is None else image_t
        total = apply(moved, samples_t, weights, eta, axes, add_image)
    if eta_t is not None:
        by_eta = eta_t * apply(image, samples, weights, torch.ones_like(eta), axes, False)
        total = by_eta if total is None else total + by_eta
    assert total is not None
    return total


def _flops(image: Any, samples: Any, weights: Any, eta: Any, axes: str, *_: Any, **__: Any) -> int:
    pixels = math.prod(image)
    return 2 * fft_flops(image, axes) + (6 if samples is not None else 2) * pixels


apply = register(
    "data_consistency(Tensor image, Tensor? samples, Tensor weights, Tensor eta, str axes, bool add_image) -> Tensor",
    apply_now,
    fake=lambda image, *_: image.new_empty(image.shape),
    flops=_flops,
    backward=_gradient,
    setup_context=_save,
    jvp=_tangent,
    constants=_WEIGHTS,
    batching=_PER_IMAGE,
)


# --- its gradient: ([g] - eta N g,  Re <g, F^H (s - m F x)>) -------------------------------------------------------
def _apply_backward(
    grad: Tensor, image: Tensor, samples: Tensor | None, weights: Tensor, eta: Tensor, axes: str, add_image: bool
) -> tuple[Tensor, Tensor]:
    grad_image, grad_eta = grad.new_empty(grad.shape), eta.new_empty(())
    if image.numel() == 0:
        return grad_image, grad_eta.zero_()
    grad, image, weights, eta = addressable(grad), addressable(image), weights.contiguous(), eta.contiguous()
    samples = None if samples is None else samples.contiguous()
    args = _core.DataConsistencyBackwardArgs(
        shape=shape_of(image, weights.shape[0], axes),
        grad=images_of(grad),
        image=images_of(image),
        grad_image=images_of(addressable(grad_image)),
        samples=address(samples),
        weights=address(weights),
        eta=address(eta),
        grad_eta=address(grad_eta),
        add_image=add_image,
    )
    launch("data_consistency_backward", image, args)
    return grad_image, grad_eta


def _save_for_second(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.axes, ctx.add_image = inputs
    ctx.save_for_backward(*tensors)


def _second_gradient(ctx: Any, hx: Tensor, he: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients of Re <hx, [g] - eta N g> + he Re <g, F^H (s - m F x)>."""
    grad, image, samples, weights, eta = ctx.saved_tensors
    hx, one = hx.contiguous(), torch.ones_like(eta)
    wants_grad, wants_image, wants_samples, _, wants_eta, *_ = ctx.needs_input_grad
    for_grad = for_image = for_samples = for_eta = None
    if wants_grad:
        for_grad = apply(hx, None, weights, eta, ctx.axes, ctx.add_image)
        for_grad = for_grad + he * apply(image, samples, weights, one, ctx.axes, False)
    if wants_image:
        for_image = apply(grad, None, weights, he, ctx.axes, False)
    if wants_samples:
        for_samples = he * measure(grad, weights, ctx.axes)
    if wants_eta:
        _, for_eta = apply_backward(hx, grad, None, weights, eta, ctx.axes, False)
    return for_grad, for_image, for_samples, None, for_eta, None, None


def _tangent_of_gradient(primals: list[Any], tangents: list[Any]) -> tuple[Tensor, Tensor]:
    grad, image, samples, weights, eta, axes, add_image = primals
    grad_t, image_t, samples_t, _, eta_t, *_ = tangents
    one = torch.ones_like(eta)
    of_image, of_eta = torch.zeros_like(grad), torch.zeros_like(eta)
    if grad_t is not None:
        of_image = apply(grad_t, None, weights, eta, axes, add_image)
        of_eta = of_eta + _inner(grad_t, apply(image, samples, weights, one, axes, False))
    if eta_t is not None:
        of_image = of_image + eta_t * apply(grad, None, weights, one, axes, False)
    if image_t is not None or samples_t is not None:
        moved = torch.zeros_like(image) if image_t is None else image_t
        of_eta = of_eta + _inner(grad, apply(moved, samples_t, weights, one, axes, False))
    return of_image, of_eta


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Real part of the inner product."""
    return (a.real * b.real + a.imag * b.imag).sum() if a.is_complex() else (a * b).sum()


apply_backward = register(
    "data_consistency_backward(Tensor grad, Tensor image, Tensor? samples, Tensor weights, Tensor eta, str axes, "
    "bool add_image) -> (Tensor, Tensor)",
    _apply_backward,
    fake=lambda grad, image, samples, weights, eta, *_: (grad.new_empty(grad.shape), eta.new_empty(())),
    flops=lambda grad, image, samples, weights, eta, axes, *_, **__: 3 * fft_flops(grad, axes) + 8 * math.prod(grad),
    backward=_second_gradient,
    setup_context=_save_for_second,
    jvp=_tangent_of_gradient,
    constants=_WEIGHTS,
)


# --- the adjoint of s -> F^H s -------------------------------------------------------------------------------------
def _measure(image: Tensor, weights: Tensor, axes: str) -> Tensor:
    shape = packed.samples_shape(_batch(image), image.shape, axes)
    samples = weights.new_zeros(shape)
    if image.numel() == 0:
        return samples
    image, weights = addressable(image), weights.contiguous()
    args = _core.MeasureArgs(
        shape=shape_of(image, weights.shape[0], axes),
        image=images_of(image),
        weights=address(weights),
        samples=address(samples),
    )
    launch("data_consistency_measure", image, args)
    return samples


def _save_measured(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    image, weights, ctx.axes = inputs
    ctx.shape, ctx.dtype = image.shape, image.dtype
    ctx.save_for_backward(weights)


def _measure_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    (weights,) = ctx.saved_tensors
    nothing = weights.new_zeros(ctx.shape, dtype=ctx.dtype)
    return apply(nothing, grad, weights, weights.new_ones(()), ctx.axes, False), None, None


measure: Callable[..., Any] = register(
    "data_consistency_measure(Tensor image, Tensor weights, str axes) -> Tensor",
    _measure,
    fake=lambda image, weights, axes: weights.new_empty(packed.samples_shape(_batch(image), image.shape, axes)),
    flops=lambda image, weights, axes, **_: fft_flops(image, axes),
    backward=_measure_gradient,
    setup_context=_save_measured,
    jvp=lambda primals, tangents: measure(tangents[0], *primals[1:]),
    constants=_WEIGHTS,
    batching=Batching(batched=("image",), shared=("weights",)),
)
