"""`kspace_residual`: how far an image is from the measured data."""

from __future__ import annotations

import torch
from torch import Tensor

from csmri_ext.physics.encoding import Encoding
from csmri_ext.physics.fitting import require_broadcast, require_no_pairs
from csmri_ext.physics.mask_properties import check_mask


def kspace_residual(
    kspace: Tensor, image: Tensor, mask: Tensor | None = None, sens_maps: Tensor | None = None
) -> float:
    """How far an image is from the measured data: ``||A x - M y|| / ||M y||``, over the whole batch.

    Parameters
    ----------
    kspace, mask, sens_maps
        As in `Encoding`.
    image
        x, complex, ``(..., ny, nx)``; a magnitude image has lost its phase and gives a meaningless number.

    Returns
    -------
        0 for perfect consistency, 1 for a zero image.

    Raises
    ------
    TypeError, ValueError
        As in `Encoding`; no measured energy at all.
    """
    measured = sampled(kspace, mask)
    scale = torch.linalg.vector_norm(measured)
    if scale == 0:
        raise ValueError(f"kspace {tuple(kspace.shape)} is zero at every sampled position")
    predicted = Encoding(None, mask, sens_maps).forward(image)
    if predicted.shape != measured.shape:
        raise ValueError(
            f"image {tuple(image.shape)} has k-space {tuple(predicted.shape)}, but kspace is {tuple(kspace.shape)}"
        )
    return float(torch.linalg.vector_norm(predicted - measured) / scale)


def sampled(kspace: Tensor, mask: Tensor | None) -> Tensor:
    """``M y``: k-space with zeros wherever the mask is False, whatever was there, NaN included.

    Parameters
    ----------
    kspace, mask
        As in `Encoding`.
    """
    require_no_pairs("kspace", kspace)
    if mask is None:
        return kspace
    check_mask(mask)
    require_broadcast(mask, "kspace", kspace)
    return torch.where(mask, kspace, 0)
