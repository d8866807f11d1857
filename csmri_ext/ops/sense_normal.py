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
        Give it in its smallest shape: the shape decides about the fast paths, not the values.

    Returns
    -------
        dtype of `image`, ``(..., ny, nx)``, contiguous. Differentiable with respect to `image`, in which it is
        self-adjoint, and `sens_maps`, any number of times. Equivalent to `reference.sense_normal`.

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit together, or the mask requires a gradient.
    """
    batch = _check(image, sens_maps, mask)
    weighting = mask.to(packed.REAL_DTYPES[image.dtype])
    if reference.active() or not kernels.cover(image):
        return reference.sense_normal(image, sens_maps, weighting)
    ny, nx = image.shape[-2:]
    kspace = image.shape if sens_maps is None else torch.Size((*batch, *sens_maps.shape[-3:]))
    axes, masks = packed.smallest_masks(weighting, kspace)
    weights = packed.pack_mask(masks, axes, ny, nx)
    result: Tensor
    if sens_maps is None:
        result = kernels.apply(image, None, weights, weights.new_full((), -1), axes, False)
        return result
    n = math.prod(batch)
    n_maps = 1 if math.prod(sens_maps.shape[:-3]) == 1 else n
    maps = sens_maps if n_maps == 1 else sens_maps.expand(kspace)
    images = image.expand(*batch, ny, nx).reshape(n, ny, nx)
    result = normal(images, maps.reshape(n_maps, *kspace[-3:]), weights, axes)
    return result.reshape(*batch, ny, nx)


def _check(image: Tensor, sens_maps: Tensor | None, mask: Tensor) -> torch.Size:
    """Return the leading axes of the result."""
    if image.dtype not in packed.REAL_DTYPES:
        raise TypeError(f"sense_normal: image is {image.dtype}, expected torch.complex64 or torch.complex128")
    if mask.is_complex():
        raise TypeError(f"sense_normal: mask is {mask.dtype}, expected bool or real weights")
    if mask.requires_grad and not reference.active():
        raise ValueError(f"sense_normal: no gradient with respect to the mask; {packed.NO_MASK_GRADIENT}")
    if mask.device != image.device:
        raise ValueError(f"sense_normal: image is on {image.device}, mask on {mask.device}")
    if image.ndim < 2:
        raise ValueError(f"sense_normal: image {tuple(image.shape)} must be (..., ny, nx)")
    batch = image.shape[:-2]
    kspace = tuple(image.shape)
    if sens_maps is not None:
        batch = _check_sens_maps(image, sens_maps)
        kspace = (*batch, *sens_maps.shape[-3:])
    if mask.ndim > len(kspace) or any(
        n not in (1, full) for n, full in zip(mask.shape[::-1], kspace[::-1], strict=False)
    ):
        raise ValueError(f"sense_normal: mask {tuple(mask.shape)} does not broadcast to k-space {kspace}")
    return batch


def _check_sens_maps(image: Tensor, sens_maps: Tensor) -> torch.Size:
    if sens_maps.dtype != image.dtype:
        raise TypeError(f"sense_normal: image is {image.dtype}, sens_maps {sens_maps.dtype}")
    if sens_maps.device != image.device:
        raise ValueError(f"sense_normal: image is on {image.device}, sens_maps on {sens_maps.device}")
    if sens_maps.ndim < 3 or image.shape[-2:] != sens_maps.shape[-2:]:
        raise ValueError(
            f"sense_normal: image {tuple(image.shape)}, sens_maps {tuple(sens_maps.shape)}: expected (..., ny, nx) and "
            "(..., coils, ny, nx)"
        )
    try:
        return torch.broadcast_shapes(image.shape[:-2], sens_maps.shape[:-3])
    except RuntimeError:
        raise ValueError(
            f"sense_normal: image {tuple(image.shape)}, sens_maps {tuple(sens_maps.shape)}: their leading axes do not "
            "broadcast"
        ) from None


# --- the op: images (n, ny, nx), sens_maps (n or 1, coils, ny, nx), packed weights of the n * coils coil images -------
def _normal(images: Tensor, sens_maps: Tensor, weights: Tensor, axes: str) -> Tensor:
    n, ny, nx = images.shape
    coils = sens_maps.shape[1]
    if images.numel() == 0 or coils == 0:
        return images.new_zeros(images.shape)
    images, sens_maps, weights = images.contiguous(), sens_maps.contiguous(), weights.contiguous()
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
    images, sens_maps, weights, ctx.axes = inputs
    ctx.save_for_backward(images if ctx.needs_input_grad[1] else None, sens_maps, weights)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Apply the operator to `grad`; for sens_maps ``conj(grad) F^H M F S image + conj(image) F^H M F S grad``."""
    images, sens_maps, weights = ctx.saved_tensors
    grad = grad.contiguous()
    grad_images = normal(grad, sens_maps, weights, ctx.axes) if ctx.needs_input_grad[0] else None
    if not ctx.needs_input_grad[1]:
        return grad_images, None, None, None
    by_images, by_grad = (_coil_images(x, sens_maps, weights, ctx.axes) for x in (images, grad))
    grad_maps = _conjugate_product(grad.unsqueeze(1), by_images) + _conjugate_product(images.unsqueeze(1), by_grad)
    if sens_maps.shape[0] == 1:
        grad_maps = grad_maps.sum(0, keepdim=True)
    return grad_images, grad_maps, None, None


def _coil_images(images: Tensor, sens_maps: Tensor, weights: Tensor, axes: str) -> Tensor:
    """``F^H M F S image``, ``(n, coils, ny, nx)``."""
    coil_images = _product(sens_maps, images.unsqueeze(1))
    result: Tensor = kernels.apply(coil_images, None, weights, weights.new_full((), -1), axes, False)
    return result


def _tangent(primals: list[Any], tangents: list[Any]) -> Tensor:
    images, sens_maps, weights, axes = primals
    images_t, maps_t, *_ = tangents
    total = torch.zeros_like(images) if images_t is None else normal(images_t, sens_maps, weights, axes)
    if maps_t is not None:
        total = total + _conjugate_product(maps_t, _coil_images(images, sens_maps, weights, axes)).sum(1)
        total = total + _conjugate_product(sens_maps, _coil_images(images, maps_t, weights, axes)).sum(1)
    return total


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply by real products: torch's complex product rounds differently at the end of each thread's share."""
    return torch.complex(a.real * b.real - a.imag * b.imag, a.real * b.imag + a.imag * b.real)


def _conjugate_product(a: Tensor, b: Tensor) -> Tensor:
    """``conj(a) b``, likewise."""
    return torch.complex(a.real * b.real + a.imag * b.imag, a.real * b.imag - a.imag * b.real)


def _flops(images: Any, sens_maps: Any, weights: Any, axes: str, **_: Any) -> int:
    """Two transforms, two complex products and a weight for each element of each coil image."""
    coil_images = torch.Size((images[0], *sens_maps[1:]))
    return 2 * kernels.fft_flops(coil_images, axes) + 16 * math.prod(coil_images)


normal = register(
    "sense_normal(Tensor images, Tensor sens_maps, Tensor weights, str axes) -> Tensor",
    _normal,
    fake=lambda images, *_: images.new_empty(images.shape),
    flops=_flops,
    backward=_gradient,
    setup_context=_save,
    jvp=_tangent,
    constants={"weights": f"it is the mask: {packed.NO_MASK_GRADIENT}"},
    batching=Batching(batched=("images",), shared=("weights",), one_or_all=("sens_maps",)),
)
