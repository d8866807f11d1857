"""`encode` and `encode_adjoint`: the encoding operator of parallel MRI between images and k-space (Pruessmann 2001)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from csmri_ext import _core
from csmri_ext.ops import _packed_kspace as packed
from csmri_ext.ops import reference
from csmri_ext.ops._batching import Batching
from csmri_ext.ops._coils import check_adjoint, check_forward, conjugate_product
from csmri_ext.ops._library import address, launch, register


def encode(image: Tensor, sens_maps: Tensor | None, mask: Tensor | None) -> Tensor:
    """Images to k-space of all coils.

        ``M F S_c image``

    F is the centred unitary 2-D Fourier transform of the last two axes, S the sensitivities, M the mask. On the CPU one
    kernel: no shift, no coil images in memory. On a GPU torch.fft computes it, as `reference.encode` does.

    Parameters
    ----------
    image
        complex64 or complex128, ``(..., ny, nx)``, any sizes.
    sens_maps
        S, dtype and device of `image`, ``(..., coils, ny, nx)``. Leading axes broadcast with those of `image`. None:
        one coil of sensitivity 1, whose k-space has the shape of `image`.
    mask
        bool (True = acquired) or real weights, zero frequency in the centre, broadcastable to ``(..., coils, ny, nx)``.
        None: everything is acquired.

    Returns
    -------
        dtype of `image`, ``(..., coils, ny, nx)``, or the shape of `image` without sensitivities; contiguous, zero
        where the mask is, NaN or not. Differentiable with respect to `image` and `sens_maps`, any number of times.

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit together, or the mask requires a gradient.
    """
    batch = check_forward("encode", image, sens_maps, mask)
    if reference.active():
        return reference.encode(image, sens_maps, mask)
    ny, nx = image.shape[-2:]
    kspace = image.shape if sens_maps is None else torch.Size((*batch, *sens_maps.shape[-3:]))
    planes = None if mask is None else packed.mask_planes(mask, kspace)
    n = math.prod(batch)
    images = image.expand(*batch, ny, nx).reshape(n, ny, nx)
    result: Tensor = encoded(images, _maps(sens_maps, kspace, n), planes)
    return result.reshape(kspace)


def encode_adjoint(kspace: Tensor, sens_maps: Tensor | None, mask: Tensor | None) -> Tensor:
    """K-space of all coils to images, the adjoint of `encode`.

        ``sum_c conj(S_c) F^H M kspace_c``

    Parameters
    ----------
    kspace
        complex64 or complex128, what `encode` returns: ``(..., coils, ny, nx)``, without sensitivities ``(..., ny,
        nx)``. Values where the mask is zero do not matter.
    sens_maps, mask
        As in `encode`.

    Returns
    -------
        dtype of `kspace`, ``(..., ny, nx)``, contiguous. Differentiable with respect to `kspace` and `sens_maps`, any
        number of times.

    Raises
    ------
    TypeError, ValueError
        As in `encode`.
    """
    batch = check_adjoint("encode_adjoint", kspace, sens_maps, mask)
    if reference.active():
        return reference.encode_adjoint(kspace, sens_maps, mask)
    coils, ny, nx = (1, *kspace.shape[-2:]) if sens_maps is None else kspace.shape[-3:]
    of_all = batch if sens_maps is None else torch.Size((*batch, coils))
    n = math.prod(batch)
    planes = None if mask is None else packed.mask_planes(mask, (*of_all, ny, nx))
    maps = _maps(sens_maps, torch.Size((*of_all, ny, nx)), n)
    data = kspace.expand(*of_all, ny, nx).reshape(n, coils, ny, nx)
    result: Tensor = combined(data, maps, planes)
    return result.reshape(*batch, ny, nx)


def _maps(sens_maps: Tensor | None, kspace: torch.Size, n: int) -> Tensor | None:
    """Return maps ``(n, coils, ny, nx)``, or one for all."""
    if sens_maps is None:
        return None
    one = math.prod(sens_maps.shape[:-3]) == 1
    return (sens_maps if one else sens_maps.expand(kspace)).reshape(1 if one else n, *kspace[-3:])


# --- the ops: images (n, ny, nx), k-space (n, coils, ny, nx), maps (n or 1, coils, ny, nx), masks of the coil images
def _args(images: Tensor, kspace: Tensor, sens_maps: Tensor | None, mask: Tensor | None) -> tuple[Any, list[Any]]:
    """Return EncodeArgs of csrc/encoding/encode.hpp, and what must live as long as they do."""
    n, coils, ny, nx = kspace.shape
    sens_maps = None if sens_maps is None else sens_maps.contiguous()
    n_masks, rows, columns = 1, 0, 0
    if mask is not None:
        mask = packed.narrowed(mask).to(packed.REAL_DTYPES[images.dtype]).contiguous()
        n_masks = mask.shape[0]
        columns = int(mask.shape[2] > 1)
        rows = mask.shape[2] if mask.shape[1] > 1 else 0
    args = _core.EncodeArgs(
        images=n,
        coils=coils,
        ny=ny,
        nx=nx,
        image=address(images),
        sens_maps=address(sens_maps),
        sens_maps_stride=0 if sens_maps is None or sens_maps.shape[0] == 1 else 2 * coils * ny * nx,
        mask=address(mask),
        coil_images_per_mask=n * coils // n_masks,
        mask_row_stride=rows,
        mask_column_stride=columns,
        kspace=address(kspace),
    )
    return args, [sens_maps, mask]


def _of_coil_images(mask: Tensor | None, n: int, coils: int) -> Tensor | None:
    """Return the masks as they broadcast to ``(n, coils, ny, nx)``, for torch."""
    if mask is None or n * coils == 0:
        return None
    return mask.repeat_interleave(n * coils // mask.shape[0], 0).reshape(n, coils, *mask.shape[1:])


def _encode(images: Tensor, sens_maps: Tensor | None, mask: Tensor | None) -> Tensor:
    n, ny, nx = images.shape
    coils = 1 if sens_maps is None else sens_maps.shape[1]
    if images.is_cuda:
        one = images.new_ones(()).expand(1, 1, ny, nx) if sens_maps is None else sens_maps
        return reference.encode(images, one, _of_coil_images(mask, n, coils)).contiguous()
    kspace = images.new_empty((n, coils, ny, nx))
    if kspace.numel():
        images = images.contiguous()
        args, _alive = _args(images, kspace, sens_maps, mask)
        launch("encode", images, args)
    return kspace


def _encode_adjoint(kspace: Tensor, sens_maps: Tensor | None, mask: Tensor | None) -> Tensor:
    n, coils, ny, nx = kspace.shape
    if kspace.is_cuda:
        one = kspace.new_ones(()).expand(1, 1, ny, nx) if sens_maps is None else sens_maps
        return reference.encode_adjoint(kspace, one, _of_coil_images(mask, n, coils)).contiguous()
    if kspace.numel() == 0:
        return kspace.new_zeros((n, ny, nx))
    images, kspace = kspace.new_empty((n, ny, nx)), kspace.contiguous()
    args, _alive = _args(images, kspace, sens_maps, mask)
    launch("encode_adjoint", kspace, args)
    return images


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, sens_maps, mask = inputs
    ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, sens_maps, mask)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Return ``A^H grad``; for sens_maps ``conj(image) F^H M grad_c``."""
    images, sens_maps, mask = ctx.saved_tensors
    grad = grad.contiguous()
    grad_images = combined(grad, sens_maps, mask) if ctx.needs_input_grad[0] else None
    return grad_images, _for_maps(images, grad, sens_maps, mask) if ctx.needs_input_grad[1] else None, None


def _gradient_of_adjoint(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Return ``A grad``; for sens_maps ``conj(grad) F^H M kspace_c``."""
    kspace, sens_maps, mask = ctx.saved_tensors
    grad = grad.contiguous()
    grad_kspace = encoded(grad, sens_maps, mask) if ctx.needs_input_grad[0] else None
    return grad_kspace, _for_maps(grad, kspace, sens_maps, mask) if ctx.needs_input_grad[1] else None, None


def _for_maps(images: Tensor, kspace: Tensor, sens_maps: Tensor, mask: Tensor | None) -> Tensor:
    """``conj(images) F^H M kspace_c``, summed over the images where they share sens_maps."""
    of_images = conjugate_product(images.unsqueeze(1), _coil_images(kspace, mask))
    return of_images.sum(0, keepdim=True) if sens_maps.shape[0] == 1 else of_images


def _coil_images(kspace: Tensor, mask: Tensor | None) -> Tensor:
    """``F^H M kspace``, ``(n, coils, ny, nx)``."""
    n, coils, ny, nx = kspace.shape
    result: Tensor = combined(kspace.reshape(n * coils, 1, ny, nx), None, mask)
    return result.reshape(kspace.shape)


def _sum_of_tangents(op: Callable[..., Tensor], primals: list[Any], tangents: list[Any]) -> Tensor:
    """Differentiate an op that is linear in its input, and (over the real numbers) in the sensitivities."""
    x, sens_maps, mask = primals
    x_t, maps_t, _ = tangents
    parts = [] if x_t is None else [op(x_t, sens_maps, mask)]
    if maps_t is not None:
        parts.append(op(x, maps_t, mask))
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _flops(kspace: Any, of_maps: bool) -> int:
    pixels = math.prod(kspace)
    lengths = (max(n, 1) for n in kspace[-2:])
    return round(5 * pixels * sum(map(math.log2, lengths))) + (8 if of_maps else 0) * pixels


encoded: Callable[..., Any] = register(
    "encode(Tensor images, Tensor? sens_maps, Tensor? mask) -> Tensor",
    _encode,
    fake=lambda images, sens_maps, mask: images.new_empty(
        (images.shape[0], 1 if sens_maps is None else sens_maps.shape[1], *images.shape[1:])
    ),
    flops=lambda images, sens_maps, mask, out_shape=None, **_: _flops(out_shape, sens_maps is not None),
    backward=_gradient,
    setup_context=_save,
    jvp=lambda primals, tangents: _sum_of_tangents(encoded, primals, tangents),
    constants={"mask": packed.NO_MASK_GRADIENT},
    batching=Batching(batched=("images",), shared=("mask",), one_or_all=("sens_maps",)),
)
combined: Callable[..., Any] = register(
    "encode_adjoint(Tensor kspace, Tensor? sens_maps, Tensor? mask) -> Tensor",
    _encode_adjoint,
    fake=lambda kspace, sens_maps, mask: kspace.new_empty((kspace.shape[0], *kspace.shape[2:])),
    flops=lambda kspace, sens_maps, mask, **_: _flops(kspace, sens_maps is not None),
    backward=_gradient_of_adjoint,
    setup_context=_save,
    jvp=lambda primals, tangents: _sum_of_tangents(combined, primals, tangents),
    constants={"mask": packed.NO_MASK_GRADIENT},
    batching=Batching(batched=("kspace",), shared=("mask",), one_or_all=("sens_maps",)),
)
