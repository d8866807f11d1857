"""What the operators with coils share: checks of images, sensitivities and masks, and products of complex numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from csmri_ext.ops import _packed_kspace as packed
from csmri_ext.ops._arguments import require_tensors
from csmri_ext.ops.broadcasting import broadcasts, of_pairs


def check_forward(
    op: str,
    image: Tensor,
    sens_maps: Tensor | None,
    mask: Tensor | None,
    optional: tuple[str, ...] = ("sens_maps", "mask"),
) -> torch.Size:
    """Check an operator on images ``(..., ny, nx)``; return the leading axes that images and maps broadcast to."""
    require_tensors(op, optional, image=image, sens_maps=sens_maps, mask=mask)
    _check_tensor(op, "image", image)
    if image.ndim < 2:
        raise ValueError(f"{op}: image {tuple(image.shape)} must be (..., ny, nx)")
    batch = image.shape[:-2]
    kspace = tuple(image.shape)
    if sens_maps is not None:
        batch = _check_sens_maps(op, "image", image, sens_maps, image.shape[:-2])
        kspace = (*batch, *sens_maps.shape[-3:])
    _check_mask(op, "image", image, mask, kspace)
    return batch


def check_adjoint(op: str, kspace: Tensor, sens_maps: Tensor | None, mask: Tensor | None) -> torch.Size:
    """Check an operator on k-space ``(..., coils, ny, nx)``, or ``(..., ny, nx)`` without maps; return leading axes."""
    require_tensors(op, ("sens_maps", "mask"), kspace=kspace, sens_maps=sens_maps, mask=mask)
    _check_tensor(op, "kspace", kspace)
    if kspace.ndim < (2 if sens_maps is None else 3):
        expected = "(..., ny, nx)" if sens_maps is None else "(..., coils, ny, nx)"
        raise ValueError(f"{op}: kspace {tuple(kspace.shape)} must be {expected}")
    if sens_maps is None:
        _check_mask(op, "kspace", kspace, mask, tuple(kspace.shape))
        return kspace.shape[:-2]
    batch = _check_sens_maps(op, "kspace", kspace, sens_maps, kspace.shape[:-3])
    if kspace.shape[-3] != sens_maps.shape[-3]:
        raise ValueError(
            f"{op}: kspace {tuple(kspace.shape)}, sens_maps {tuple(sens_maps.shape)}: their numbers of coils differ"
        )
    _check_mask(op, "kspace", kspace, mask, (*batch, *kspace.shape[-3:]))
    return batch


def _check_tensor(op: str, name: str, x: Tensor) -> None:
    if x.dtype not in packed.REAL_DTYPES:
        raise TypeError(
            f"{op}: {name} is {x.dtype}, expected torch.complex64 or torch.complex128{packed.view_as_complex(x)}"
        )


def _check_mask(op: str, name: str, x: Tensor, mask: Tensor | None, kspace: tuple[int, ...]) -> None:
    if mask is None:
        return
    packed.check_mask(op, name, x, mask)
    if not broadcasts(mask.shape, kspace):
        raise ValueError(
            f"{op}: mask {tuple(mask.shape)} does not broadcast to k-space {tuple(kspace)}"
            f"{of_pairs(mask.shape, kspace)}"
        )


def _check_sens_maps(op: str, name: str, x: Tensor, sens_maps: Tensor, batch: torch.Size) -> torch.Size:
    if sens_maps.dtype != x.dtype:
        raise TypeError(f"{op}: {name} is {x.dtype}, sens_maps {sens_maps.dtype}")
    if sens_maps.device != x.device:
        raise ValueError(f"{op}: {name} is on {x.device}, sens_maps on {sens_maps.device}")
    if sens_maps.ndim < 3 or x.shape[-2:] != sens_maps.shape[-2:]:
        expected = "(..., ny, nx)" if name == "image" else "(..., coils, ny, nx)"
        raise ValueError(
            f"{op}: {name} {tuple(x.shape)}, sens_maps {tuple(sens_maps.shape)}: expected {expected} and "
            "(..., coils, ny, nx)"
        )
    try:
        return torch.broadcast_shapes(batch, sens_maps.shape[:-3])
    except RuntimeError:
        raise ValueError(
            f"{op}: {name} {tuple(x.shape)}, sens_maps {tuple(sens_maps.shape)}: their leading axes do not broadcast"
        ) from None


def product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply by real products: torch's complex product rounds differently at the end of each thread's share."""
    a, b = a.resolve_conj(), b.resolve_conj()  # torch.vmap does not know the imaginary part of a lazy conjugate
    return torch.complex(a.real * b.real - a.imag * b.imag, a.real * b.imag + a.imag * b.real)


def conjugate_product(a: Tensor, b: Tensor) -> Tensor:
    """``conj(a) b``, likewise."""
    a, b = a.resolve_conj(), b.resolve_conj()
    return torch.complex(a.real * b.real + a.imag * b.imag, a.real * b.imag - a.imag * b.real)
