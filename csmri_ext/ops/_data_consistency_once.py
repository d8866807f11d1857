"""`data_consistency` of k-space and masks that are used once, as users have them: nothing is packed beforehand.

What the kernel does depends on the values of the mask, not only on its shape: a mask of columns in full shape takes the
path of columns. So it is one op, which looks while it runs, and no trace needs to know.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from csmri_ext import _core
from csmri_ext.ops import _data_consistency_kernels as kernels
from csmri_ext.ops import _packed_kspace as packed
from csmri_ext.ops._batching import Batching
from csmri_ext.ops._library import address, register
from csmri_ext.ops.encode import encoded


def _once(image: Tensor, kspace: Tensor | None, mask: Tensor, eta: Tensor, add_image: bool) -> Tensor:
    """Images as of `kernels.apply`; k-space ``(batch, ny, nx)``, masks ``(n_masks, ny or 1, nx or 1)``."""
    if image.numel() == 0:
        return image.new_empty(image.shape)
    axes, masks = packed.lines_of(packed.narrowed(mask), image.shape)
    masks = masks.to(eta.dtype).contiguous()
    if image.is_cuda:
        samples = None if kspace is None else packed.pack_now(kspace, masks, axes)
        return kernels.apply_now(
            image, samples, packed.pack_mask_now(masks, axes, *image.shape[-2:]), eta, axes, add_image
        )
    out = torch.empty_like(image, memory_format=torch.contiguous_format)
    image, kspace = kernels.addressable(image), None if kspace is None else kspace.contiguous()
    extents = image.shape, image.stride(), image.dtype, None, masks.shape
    kernel = kernels.recurring(_core.DataConsistencyOnceArgs, *extents, axes, add_image)
    assert kernel is not None
    kernel.launch(image, image.data_ptr(), out.data_ptr(), address(kspace), masks.data_ptr(), eta.data_ptr())
    return out


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    image, kspace, mask, eta, ctx.add_image = inputs
    for_eta = (image, kspace) if ctx.needs_input_grad[3] else (None, None)
    ctx.save_for_backward(*for_eta, mask, eta)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    image, kspace, mask, eta = ctx.saved_tensors
    wants_image, wants_kspace, _, wants_eta, *_ = ctx.needs_input_grad
    grad, grad_image, grad_kspace, grad_eta = grad.contiguous(), None, None, None
    if wants_eta:
        axes, masks = packed.lines_of(packed.narrowed(mask) if packed.readable(mask) else mask, grad.shape)
        masks = masks.to(eta.dtype)
        samples = None if kspace is None else packed.pack(kspace, masks, axes)
        weights = packed.pack_mask(masks, axes, *grad.shape[-2:])
        grad_image, grad_eta = kernels.apply_backward(grad, image, samples, weights, eta, axes, ctx.add_image)
    elif wants_image:
        grad_image = once(grad, None, mask, eta, ctx.add_image)
    if wants_kspace:
        grad_kspace = eta * encoded(_for_kspace(grad), None, mask)[:, 0]
    return grad_image, grad_kspace, None, grad_eta, None


def _for_kspace(grad: Tensor) -> Tensor:
    """Gradients of images as complex ``(batch, ny, nx)``, those of replicas added up."""
    if grad.is_complex():
        return grad.reshape(math.prod(grad.shape[:-2]), *grad.shape[-2:])
    real, imaginary = grad.chunk(2, dim=1)
    return torch.complex(real.sum(1), imaginary.sum(1))


def _tangent(primals: list[Any], tangents: list[Any]) -> Tensor:
    image, kspace, mask, eta, add_image = primals
    image_t, kspace_t, _, eta_t, _ = tangents
    total = None
    if image_t is not None or kspace_t is not None:
        moved = torch.zeros_like(image) if image_t is None else image_t
        total = once(moved, kspace_t, mask, eta, add_image)
    if eta_t is not None:
        by_eta = eta_t * once(image, kspace, mask, torch.ones_like(eta), False)
        total = by_eta if total is None else total + by_eta
    assert total is not None
    return total


def _flops(image: Any, kspace: Any, mask: Any, *_: Any, **__: Any) -> int:
    """By the shape of the mask, of which nobody has looked at the values."""
    pixels, axes = math.prod(image), packed.axes_of(mask)
    per_kspace = 0 if kspace is None or axes == "xy" else 5 * math.prod(kspace) * math.log2(max(2, *kspace[-2:]))
    return 2 * kernels.fft_flops(image, axes) + round(per_kspace) + (6 if kspace is not None else 2) * pixels


once = register(
    "data_consistency_once(Tensor image, Tensor? kspace, Tensor mask, Tensor eta, bool add_image) -> Tensor",
    _once,
    fake=lambda image, *_: image.new_empty(image.shape),
    flops=_flops,
    backward=_gradient,
    setup_context=_save,
    jvp=_tangent,
    constants={"mask": packed.NO_MASK_GRADIENT},
    batching=Batching(batched=("image", "kspace"), shared=("mask",)),
)
