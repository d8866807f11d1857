"""Exchange y and x of an acquisition, for files whose phase encoding is the axis that was read as y."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition, LazyStack


def swapped(acquisition: Acquisition) -> Acquisition:
    """Transpose every slice, so that masks undersample the axis that was y.

    Parameters
    ----------
    acquisition
        As a reader made it; it is not changed.

    Returns
    -------
        Everything transposed: k-space, mask, sensitivities, target, sizes, affine.
    """
    ny, nx = acquisition.matrix_size
    attrs = dict(acquisition.attrs)
    mask = acquisition.mask
    if mask is not None:
        mask = np.broadcast_to(mask, (ny, nx)).T
        mask = mask[0].copy() if (mask == mask[0]).all() else mask.copy()
    for name in ("recon_size", "image_dims"):
        if name in attrs:
            attrs[name] = tuple(attrs[name])[::-1]
    paddings = (("padding", attrs.pop("row_padding", None)), ("row_padding", attrs.pop("padding", None)))
    attrs |= {name: padding for name, padding in paddings if padding is not None}
    for name in ("coverage", "mask_beside"):
        if attrs.get(name) is not None:
            attrs[name] = np.broadcast_to(attrs[name], (ny, nx)).T.copy()
    if attrs.get("affine") is not None:
        attrs["affine"] = np.asarray(attrs["affine"])[:, [0, 2, 1, 3]]
    if "axes" in attrs:
        attrs["axes"] = " ".join({"y": "x", "x": "y"}.get(word, word) for word in str(attrs["axes"]).split())
    attrs["phase_encoding"] = "y and x exchanged by the user, masks undersample the new x"
    return Acquisition(
        kspace=_transposed(acquisition.kspace),
        name=acquisition.name,
        mask=mask,
        sens_maps=None if acquisition.sens_maps is None else _transposed(acquisition.sens_maps),
        target=None if acquisition.target is None else _transposed(acquisition.target),
        attrs=attrs,
    )


def _transposed(stack: NDArray[Any] | LazyStack) -> LazyStack:
    *leading, ny, nx = stack.shape[1:]
    return LazyStack(_Transposed(stack), stack.shape[0], (*leading, nx, ny), stack.dtype)


@dataclass(frozen=True)
class _Transposed:
    stack: NDArray[Any] | LazyStack

    def __call__(self, i: int) -> NDArray[Any]:
        return np.ascontiguousarray(np.swapaxes(self.stack[i], -2, -1))
