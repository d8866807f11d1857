"""K-space and masks in the packed form that the kernels of data consistency read: csrc/fft/packed_kspace.hpp.

Packing happens once per image, not once per stage. `axes` names the axes along which the mask varies: "x" (the last
one), "y" or "xy".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from csmri_ext import _core
from csmri_ext.ops import reference
from csmri_ext.ops._batching import Batching
from csmri_ext.ops._library import address, launch, register

TILE = _core.KSPACE_TILE
AXES = tuple(_core.Axes.__members__)
NO_MASK_GRADIENT = "pass mask.detach(), or learn a mask under csmri_ext.reference_ops()"
REAL_DTYPES = {torch.complex64: torch.float32, torch.complex128: torch.float64}
_MASK = {"mask": NO_MASK_GRADIENT}


def check_mask(op: str, name: str, x: Tensor, mask: Tensor) -> None:
    """Raise TypeError or ValueError unless a mask can be used with `x`, called `name`; whatever its shape."""
    if mask.is_complex():
        raise TypeError(f"{op}: mask is {mask.dtype}, expected bool or real weights")
    if mask.requires_grad and not reference.active():
        raise ValueError(f"{op}: no gradient with respect to the mask; {NO_MASK_GRADIENT}")
    if mask.device != x.device:
        raise ValueError(f"{op}: {name} is on {x.device}, mask on {mask.device}")


def samples_shape(batch: int, image_shape: torch.Size, axes: str) -> tuple[int, int, int, int, int]:
    """Return the shape of the samples of images of a batch, whatever is acquired."""
    ny, nx = image_shape[-2:]
    n_line, n_lane = (nx, ny) if axes == "x" else (ny, nx)
    return batch, -(-n_lane // TILE), n_line, 2, TILE


def weights_shape(n_masks: int, image_shape: Sequence[int], axes: str) -> tuple[int, ...]:
    """Return the shape of so many packed masks."""
    ny, nx = image_shape[-2:]
    return (n_masks, -(-nx // TILE), ny, TILE) if axes == "xy" else (n_masks, nx if axes == "x" else ny, 2)


def kspace_shape(
    batch: int, size: Sequence[int], axes: str, replicas: int = 1, batch_per_mask: int = 1
) -> _core.KspaceShape:
    """Return KspaceShape of csrc/fft/packed_kspace.hpp; `size` ends with ny, nx."""
    return _kspace_shape(batch, size[-2], size[-1], axes, replicas, batch_per_mask)


@lru_cache
def _kspace_shape(batch: int, ny: int, nx: int, axes: str, replicas: int, batch_per_mask: int) -> _core.KspaceShape:
    return _core.KspaceShape(
        batch=batch,
        replicas=replicas,
        batch_per_mask=batch_per_mask,
        ny=ny,
        nx=nx,
        axes=_core.Axes.__members__[axes],
    )


def mask_planes(mask: Tensor, shape: Sequence[int]) -> Tensor:
    """Return one mask for each run of consecutive images that share it, ``(n_masks, ny or 1, nx or 1)``.

    `shape` is that of k-space, ``(..., ny, nx)``, to which the mask broadcasts; image b of the flattened batch uses
    mask ``b // (batch / n_masks)``.
    """
    if mask.ndim < 3:  # nearly always, and small images wait for nothing else
        return mask.reshape((1, 1, *mask.shape)[-3:])
    mask = mask.reshape((1,) * (len(shape) - mask.ndim) + mask.shape)
    lead = list(mask.shape[:-2])
    while lead and lead[-1] == 1:
        lead.pop()
    outer = shape[: len(lead)]
    return mask.reshape(*lead, *mask.shape[-2:]).expand(*outer, -1, -1).reshape(math.prod(outer), *mask.shape[-2:])


def axes_of(planes: Sequence[int]) -> str:
    """Return the axes along which masks of a shape ``(n_masks, ny or 1, nx or 1)`` vary."""
    return "x" if planes[-2] == 1 else "y" if planes[-1] == 1 else "xy"


def lines_of(planes: Tensor, size: Sequence[int]) -> tuple[str, Tensor]:
    """Return the axes along which masks vary, by their shape, and the masks without the others.

    ``(n_masks, n)`` for one axis, ``(n_masks, ny, nx)`` for both; `size` ends with ny, nx.
    """
    axes = axes_of(planes.shape)
    if axes == "xy":
        return axes, planes
    n = size[-1] if axes == "x" else size[-2]
    masks = planes.flatten(1)
    return axes, masks if masks.shape[1] == n else masks.expand(-1, n)


def narrowed(planes: Tensor) -> Tensor:
    """Return the masks without the axes along which all of them are constant: masks of columns given in full shape.

    For real tensors on the CPU, whose values can be read without waiting: inside of ops, or where `readable`.
    """
    if planes.device.type != "cpu" or 1 in planes.shape[-2:] or planes.numel() == 0:
        return planes
    planes = planes.resolve_neg().contiguous()
    n_masks, ny, nx = planes.shape
    axes = _core.mask_axes(planes.data_ptr(), n_masks, ny, nx, planes.element_size())
    if axes == _core.Axes.x:
        return planes[:, :1]
    return planes[:, :, :1] if axes == _core.Axes.y else planes


def view_as_complex(x: Tensor) -> str:
    """Return what a message adds for real and imaginary parts along the last axis, fastMRI's old form."""
    pairs = x.is_floating_point() and x.ndim > 2 and x.shape[-1] == 2
    return "; torch.view_as_complex makes it of pairs along the last axis" if pairs else ""


def readable(x: Tensor) -> bool:
    """Whether Python may look at the values: in eager mode, where no trace would remember what it saw."""
    return (
        not torch.compiler.is_compiling()
        and type(x) in (Tensor, torch.nn.Parameter)
        and not torch._C._functorch.is_functorch_wrapped_tensor(x)
        and torch._C._len_torch_dispatch_stack() == 0
    )


def _pack_args(kspace: Tensor, mask: Tensor, samples: Tensor, axes: str) -> _core.PackArgs:
    batch = kspace.shape[0]
    return _core.PackArgs(
        shape=kspace_shape(batch, kspace.shape, axes, batch_per_mask=max(1, batch // max(1, mask.shape[0]))),
        kspace=address(kspace),
        mask=address(mask),
        samples=address(samples),
    )


def pack_now(kspace: Tensor, mask: Tensor, axes: str) -> Tensor:
    """Run what `pack` registers."""
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


def pack_mask_now(mask: Tensor, axes: str, ny: int, nx: int) -> Tensor:
    """Run what `pack_mask` registers."""
    mask = mask.contiguous()
    weights = mask.new_zeros(weights_shape(mask.shape[0], (ny, nx), axes))
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
    pack_now,
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
    pack_mask_now,
    fake=lambda mask, axes, ny, nx: mask.new_empty(weights_shape(mask.shape[0], (ny, nx), axes)),
    flops=lambda *_, **__: 0,
    constants=_MASK,
    batching=Batching(batched=("mask",)),
)
