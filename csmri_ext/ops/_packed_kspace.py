"""K-space and masks in the packed form that the kernels of data consistency read: csrc/fft/packed_kspace.hpp.

Packing happens once per image, not once per stage. `axes` names the axes along which the mask varies: "x" (the last
one), "y" or "xy".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from csmri_ext import _core
from csmri_ext.ops._batching import Batching
from csmri_ext.ops._library import address, launch, register

TILE = _core.KSPACE_TILE
NO_MASK_GRADIENT = "pass mask.detach(), or learn a mask under csmri_ext.reference_ops()"
REAL_DTYPES = {torch.complex64: torch.float32, torch.complex128: torch.float64}
_MASK = {"mask": NO_MASK_GRADIENT}


def samples_shape(batch: int, image_shape: torch.Size, axes: str) -> tuple[int, int, int, int, int]:
    """Return the shape of the samples of images of a batch, whatever is acquired."""
    ny, nx = image_shape[-2:]
    n_line, n_lane = (nx, ny) if axes == "x" else (ny, nx)
    return batch, -(-n_lane // TILE), n_line, 2, TILE


def _weights_shape(mask: Tensor, axes: str) -> tuple[int, ...]:
    if axes == "xy":
        n_masks, ny, nx = mask.shape
        return n_masks, -(-nx // TILE), ny, TILE
    return (*mask.shape, 2)


def kspace_shape(
    batch: int, size: Sequence[int], axes: str, replicas: int = 1, batch_per_mask: int = 1
) -> _core.KspaceShape:
    """Return KspaceShape of csrc/fft/packed_kspace.hpp; `size` ends with ny, nx."""
    return _core.KspaceShape(
        batch=batch,
        replicas=replicas,
        batch_per_mask=batch_per_mask,
        ny=size[-2],
        nx=size[-1],
        axes=_core.Axes.__members__[axes],
    )


def smallest_masks(mask: Tensor, shape: torch.Size) -> tuple[str, Tensor]:
    """Return the axes along which the mask varies, and one mask for each run of consecutive images that share it.

    ``(n_masks, n)`` for one axis, ``(n_masks, ny, nx)`` for both; image b of the flattened batch uses mask
    ``b // (batch / n_masks)``.
    """
    mask = mask.reshape((1,) * (len(shape) - mask.ndim) + mask.shape)
    lead = list(mask.shape[:-2])
    while lead and lead[-1] == 1:
        lead.pop()
    outer = shape[: len(lead)]
    mask = mask.reshape(*lead, *mask.shape[-2:]).expand(*outer, -1, -1).reshape(math.prod(outer), *mask.shape[-2:])
    if mask.shape[-2] == 1:
        return "x", mask[:, 0].expand(-1, shape[-1])
    if mask.shape[-1] == 1:
        return "y", mask[:, :, 0]
    return "xy", mask


def _pack_args(kspace: Tensor, mask: Tensor, samples: Tensor, axes: str) -> _core.PackArgs:
    batch = kspace.shape[0]
    return _core.PackArgs(
        shape=kspace_shape(batch, kspace.shape, axes, batch_per_mask=max(1, batch // max(1, mask.shape[0]))),
        kspace=address(kspace),
        mask=address(mask),
        samples=address(samples),
    )


def _pack(kspace: Tensor, mask: Tensor, axes: str) -> Tensor:
    kspace, mask = kspace.contiguous(), mask.contiguous()
    samples = mask.new_zeros(samples_shape(kspace.shape[0], kspace.shape, axes))
    if kspace.numel():
        launch("data_consistency_pack", kspace, _pack_args(kspace, mask, samples, axes))
    return samples


def _unpack(samples: Tensor, mask: Tensor, axes: str, ny: int, nx: int) -> Tensor:
    samples, mask = samples.contiguous(), mask.contiguous()
    kspace = samples.new_zeros((samples.shape[0], ny, nx), dtype=samples.dtype.to_complex())
    if kspace.numel():
        launch("data_consistency_unpack", kspace, _pack_args(kspace, mask, samples, axes))
    return kspace


def _pack_mask(mask: Tensor, axes: str, ny: int, nx: int) -> Tensor:
    mask = mask.contiguous()
    weights = mask.new_zeros(_weights_shape(mask, axes))
    if mask.numel():
        shape = kspace_shape(mask.shape[0], (ny, nx), axes)
        launch(
            "data_consistency_pack_mask",
            mask,
            _core.PackMaskArgs(shape=shape, mask=address(mask), weights=address(weights)),
        )
    return weights


def _save_pack(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    kspace, mask, ctx.axes = inputs
    ctx.ny, ctx.nx = kspace.shape[-2:]
    ctx.save_for_backward(mask)


def _pack_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    return unpack(grad.contiguous(), *ctx.saved_tensors, ctx.axes, ctx.ny, ctx.nx), None, None


def _save_unpack(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, mask, ctx.axes, *_ = inputs
    ctx.save_for_backward(mask)


def _unpack_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return pack(grad.contiguous(), *ctx.saved_tensors, ctx.axes), None, None, None, None


def _pack_flops(_: Any, mask: Any, axes: str, *__: Any, out_shape: Any = None, **___: Any) -> int:
    batch, tiles, n_line, _two, _tile = out_shape
    n_lane = tiles * TILE
    return 0 if axes == "xy" else round(5 * batch * n_line * n_lane * math.log2(n_lane))


pack: Callable[..., Any] = register(
    "data_consistency_pack(Tensor kspace, Tensor mask, str axes) -> Tensor",
    _pack,
    fake=lambda kspace, mask, axes: mask.new_empty(samples_shape(kspace.shape[0], kspace.shape, axes)),
    flops=_pack_flops,
    backward=_pack_gradient,
    setup_context=_save_pack,
    jvp=lambda primals, tangents: pack(tangents[0], *primals[1:]),
    constants=_MASK,
    batching=Batching(batched=("kspace",), shared=("mask",)),
)
unpack: Callable[..., Any] = register(
    "data_consistency_unpack(Tensor samples, Tensor mask, str axes, SymInt ny, SymInt nx) -> Tensor",
    _unpack,
    fake=lambda samples, mask, axes, ny, nx: samples.new_empty(
        (samples.shape[0], ny, nx), dtype=samples.dtype.to_complex()
    ),
    flops=lambda samples, mask, axes, *_, **__: _pack_flops(None, mask, axes, out_shape=samples),
    backward=_unpack_gradient,
    setup_context=_save_unpack,
    jvp=lambda primals, tangents: unpack(tangents[0], *primals[1:]),
    constants=_MASK,
    batching=Batching(batched=("samples",), shared=("mask",)),
)
pack_mask = register(
    "data_consistency_pack_mask(Tensor mask, str axes, SymInt ny, SymInt nx) -> Tensor",
    _pack_mask,
    fake=lambda mask, axes, ny, nx: mask.new_empty(_weights_shape(mask, axes)),
    flops=lambda *_, **__: 0,
    constants=_MASK,
    batching=Batching(batched=("mask",)),
)
