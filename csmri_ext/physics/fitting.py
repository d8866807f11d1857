"""Whether k-space, mask, sensitivities and images fit together: one line that names both shapes where they do not."""

from __future__ import annotations

from torch import Tensor

from csmri_ext.ops.broadcasting import broadcast_together, broadcasts, of_pairs
from csmri_ext.physics.mask_properties import check_mask


def check_measurement(kspace: Tensor | None, mask: Tensor | None, sens_maps: Tensor | None) -> None:
    """Raise TypeError or ValueError unless the three fit together."""
    for name, x in {"kspace": kspace, "mask": mask, "sens_maps": sens_maps}.items():
        if x is not None:
            require_tensor(name, x)
    if mask is not None:
        check_mask(mask)
    if sens_maps is not None:
        if not sens_maps.is_complex():
            raise TypeError(
                f"sens_maps {tuple(sens_maps.shape)} is {sens_maps.dtype}, expected complex"
                f"{_view_as_complex(sens_maps)}"
            )
        if sens_maps.ndim not in (3, 4):
            raise ValueError(f"sens_maps {tuple(sens_maps.shape)}: expected (coils, ny, nx) or (batch, coils, ny, nx)")
        if mask is not None:
            require_broadcast(mask, "sens_maps", sens_maps, 2)
    if kspace is None:
        return
    if not kspace.is_complex():
        raise TypeError(f"kspace {tuple(kspace.shape)} is {kspace.dtype}, expected complex{_view_as_complex(kspace)}")
    if kspace.ndim not in (2, 3, 4) or 0 in kspace.shape:
        raise ValueError(
            f"kspace {tuple(kspace.shape)}: expected (batch, ny, nx) or (batch, coils, ny, nx), none of them 0"
        )
    if mask is not None:
        require_broadcast(mask, "kspace", kspace)
    if sens_maps is not None:
        _check_coils(kspace, sens_maps)
    elif kspace.ndim == 4 and kspace.shape[1] != 1:
        raise ValueError(
            f"kspace {tuple(kspace.shape)} has {kspace.shape[1]} coils, but sens_maps is None: pass sensitivities of "
            f"shape {tuple(kspace.shape[1:])}, for example from csmri_ext.physics.estimate_sens_maps"
        )


def require_tensor(name: str, x: object) -> None:
    """Raise TypeError, which names the class, unless `x` is a tensor."""
    if not isinstance(x, Tensor):
        remedy = "; torch.from_numpy makes one" if type(x).__name__ == "ndarray" else ""
        raise TypeError(f"{name} is a {type(x).__module__}.{type(x).__name__}, expected a torch.Tensor{remedy}")


def require_no_pairs(name: str, x: Tensor, nx: int | None = None) -> None:
    """Raise TypeError unless `x` is a tensor without real and imaginary parts along a last axis, fastMRI's old form.

    A real tensor whose last axis has two elements is taken for that, unless images have `nx` = 2 columns.
    """
    require_tensor(name, x)
    if nx != 2 and _view_as_complex(x):
        raise TypeError(f"{name} {tuple(x.shape)} is {x.dtype}, expected complex{_view_as_complex(x)}")


def _view_as_complex(x: Tensor) -> str:
    pairs = x.is_floating_point() and x.ndim > 2 and x.shape[-1] == 2
    return "; torch.view_as_complex makes it of pairs along the last axis" if pairs else ""


def _check_coils(kspace: Tensor, sens_maps: Tensor) -> None:
    if kspace.ndim < sens_maps.ndim:
        raise ValueError(
            f"kspace {tuple(kspace.shape)} has no coil axis, but sens_maps {tuple(sens_maps.shape)} were given"
        )
    if sens_maps.shape[-3:] != kspace.shape[-3:] or (
        sens_maps.ndim == 4 and sens_maps.shape[0] not in (1, kspace.shape[0])
    ):
        raise ValueError(
            f"sens_maps {tuple(sens_maps.shape)} do not fit kspace {tuple(kspace.shape)}: expected "
            f"{tuple(kspace.shape[-3:])}"
        )


def require_fit(name: str, x: Tensor, sens_maps: Tensor, n_axes: int) -> None:
    """Equal last axes (those of an image, or of coil images), and batches that broadcast."""
    batch, of_maps = x.shape[:-n_axes], sens_maps.shape[:-3]
    fits = x.ndim >= n_axes and x.shape[-n_axes:] == sens_maps.shape[-n_axes:]
    if not fits or not broadcast_together(batch, of_maps):
        raise ValueError(f"{name} {tuple(x.shape)} does not fit sens_maps {tuple(sens_maps.shape)}")


def require_broadcast(mask: Tensor, name: str, x: Tensor, n_axes: int | None = None) -> None:
    """Raise unless the mask, or its last axes, broadcast to those of `x`."""
    small, large = (mask.shape, x.shape) if n_axes is None else (mask.shape[-n_axes:], x.shape[-n_axes:])
    if not broadcasts(small, large):
        raise ValueError(
            f"mask {tuple(mask.shape)} does not broadcast to {name} {tuple(x.shape)}{of_pairs(small, large)}"
        )
