"""`sense_normal`: the normal operator of SENSE, the multi-coil form of data consistency (Pruessmann et al. 2001)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from csmri_ext import _core
from csmri_ext.ops import _data_consistency_kernels as kernels
from csmri_ext.ops import _packed_kspace as packed
from csmri_ext.ops import reference
from csmri_ext.ops._batching import Batching
from csmri_ext.ops._coils import check_forward, conjugate_product, product
from csmri_ext.ops._data_consistency_once import once
from csmri_ext.ops._library import address, launch, register


def sense_normal(image: Tensor, sens_maps: Tensor | None, mask: Tensor) -> Tensor:
    """Encode each image with all coils and bring it back.

        ``sum_c conj(S_c) F^H M F S_c image``

    F is the centred unitary 2-D Fourier transform of the last two axes, S the sensitivities, M the mask: this is
    ``A^H A`` of the encoding operator ``A = M F S``, for weights M ``A^H W A`` with ``W = M``. One pass over the
    sensitivities where the mask varies along one axis only (`data_consistency` explains why), three passes over the
    coil images for a 2-D mask; no shifts, no k-space in memory.

    Parameters
    ----------
    image
        complex64 or complex128, ``(..., ny, nx)``, any sizes (on a GPU sides above 2048 run through torch.fft).
    sens_maps
        S, dtype and device of `image`, ``(..., coils, ny, nx)``. Leading axes broadcast with those of `image`. None:
        one coil of sensitivity 1, whose k-space has the shape of `image`.
    mask
        bool (True = acquired) or real weights, zero frequency in the centre, broadcastable to ``(..., coils, ny, nx)``.
        On the CPU the values decide about the fast path, on a GPU the shape.

    Returns
    -------
        dtype of `image`, ``(..., ny, nx)``, contiguous. Differentiable with respect to `image`, in which it is
        self-adjoint, and `sens_maps`, any number of times. Equivalent to `reference.sense_normal`.

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit together, or the mask requires a gradient.
    """
    batch = check_forward("sense_normal", image, sens_maps, mask, ("sens_maps",))
    if reference.active() or not kernels.cover(image):
        return reference.sense_normal(image, sens_maps, mask.to(packed.REAL_DTYPES[image.dtype]))
    ny, nx = image.shape[-2:]
    kspace = image.shape if sens_maps is None else torch.Size((*batch, *sens_maps.shape[-3:]))
    planes = packed.mask_planes(mask, kspace)
    result: Tensor
    if sens_maps is None:
        result = _filtered(image, planes)
        return result
    n = math.prod(batch)
    n_maps = 1 if math.prod(sens_maps.shape[:-3]) == 1 else n
    maps = sens_maps if n_maps == 1 else sens_maps.expand(kspace)
    images = image.expand(*batch, ny, nx).reshape(n, ny, nx)
    result = normal(images, maps.reshape(n_maps, *kspace[-3:]), planes)
    return result.reshape(*batch, ny, nx)


# --- the op: images (n, ny, nx), sens_maps (n or 1, coils, ny, nx), masks of the n * coils coil images ----------------
def _normal(images: Tensor, sens_maps: Tensor, mask: Tensor) -> Tensor:
    n, ny, nx = images.shape
    coils = sens_maps.shape[1]
    if images.numel() == 0 or coils == 0:
        return images.new_zeros(images.shape)
    axes, masks = packed.lines_of(packed.narrowed(mask), (ny, nx))
    weights = packed.pack_mask_now(masks.to(packed.REAL_DTYPES[images.dtype]), axes, ny, nx)
    images, sens_maps = images.contiguous(), sens_maps.contiguous()
    out = images.new_empty(images.shape)
    coil_images = n * coils
    args = _core.SenseNormalArgs(
        shape=packed.kspace_shape(coil_images, (ny, nx), axes, batch_per_mask=coil_images // weights.shape[0]),
        coils=coils,
        image=address(images),
        sens_maps=address(sens_maps),
        sens_maps_stride=0 if sens_maps.shape[0] == 1 else 2 * coils * ny * nx,
        weights=address(weights),
        out=address(out),
    )
    launch("sense_normal", images, args)
    return out


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    images, sens_maps, mask = inputs
    ctx.save_for_backward(images if ctx.needs_input_grad[1] else None, sens_maps, mask)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Apply the operator to `grad`; for sens_maps ``conj(grad) F^H M F S image + conj(image) F^H M F S grad``."""
    images, sens_maps, mask = ctx.saved_tensors
    grad = grad.contiguous()
    grad_images = normal(grad, sens_maps, mask) if ctx.needs_input_grad[0] else None
    if not ctx.needs_input_grad[1]:
        return grad_images, None, None
    by_images, by_grad = (_coil_images(x, sens_maps, mask) for x in (images, grad))
    grad_maps = conjugate_product(grad.unsqueeze(1), by_images) + conjugate_product(images.unsqueeze(1), by_grad)
    if sens_maps.shape[0] == 1:
        grad_maps = grad_maps.sum(0, keepdim=True)
    return grad_images, grad_maps, None


def _filtered(images: Tensor, mask: Tensor) -> Tensor:
    """``F^H M F image``."""
    eta = torch.full((), -1, dtype=packed.REAL_DTYPES[images.dtype], device=images.device)
    result: Tensor = once(images, None, mask, eta, False)
    return result


def _coil_images(images: Tensor, sens_maps: Tensor, mask: Tensor) -> Tensor:
    """``F^H M F S image``, ``(n, coils, ny, nx)``."""
    return _filtered(product(sens_maps, images.unsqueeze(1)), mask)


def _tangent(primals: list[Any], tangents: list[Any]) -> Tensor:
    images, sens_maps, mask = primals
    images_t, maps_t, _ = tangents
    total = torch.zeros_like(images) if images_t is None else normal(images_t, sens_maps, mask)
    if maps_t is not None:
        total = total + conjugate_product(maps_t, _coil_images(images, sens_maps, mask)).sum(1)
        total = total + conjugate_product(sens_maps, _coil_images(images, maps_t, mask)).sum(1)
    return total


def _flops(images: Any, sens_maps: Any, mask: Any, **_: Any) -> int:
    """Two transforms, two complex products and a weight for each element of each coil image."""
    coil_images = torch.Size((images[0], *sens_maps[1:]))
    return 2 * kernels.fft_flops(coil_images, packed.axes_of(mask)) + 16 * math.prod(coil_images)


normal = register(
    "sense_normal(Tensor images, Tensor sens_maps, Tensor mask) -> Tensor",
    _normal,
    fake=lambda images, *_: images.new_empty(images.shape),
    flops=_flops,
    backward=_gradient,
    setup_context=_save,
    jvp=_tangent,
    constants={"mask": packed.NO_MASK_GRADIENT},
    batching=Batching(batched=("images",), shared=("mask",), one_or_all=("sens_maps",)),
)
