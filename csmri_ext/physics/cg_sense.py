"""`cg_sense`: the iterative SENSE reconstruction (Pruessmann et al. 2001)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from csmri_ext.physics.conjugate_gradients import conjugate_gradients
from csmri_ext.physics.encoding import Encoding
from csmri_ext.physics.residual import sampled


def cg_sense(
    kspace: Tensor,
    mask: Tensor | None,
    sens_maps: Tensor | None = None,
    *,
    iterations: int = 30,
    tolerance: float = 1e-6,
    regularization: float = 0.0,
) -> Tensor:
    """Reconstruct by iterative SENSE: ``argmin_x ||A x - y||^2 + regularization ||x||^2``, conjugate gradients from 0.

    Parameters
    ----------
    kspace, mask, sens_maps
        y, M and S as in `Encoding`. k-space may come in any unit, the image follows.
    iterations
        At most this many.
    tolerance
        An image of the batch is done when ``||A^H y - (A^H A + regularization) x|| <= tolerance ||A^H y||``.
    regularization
        Tikhonov weight, >= 0.

    Returns
    -------
        Complex image, ``(ny, nx)`` or ``(batch, ny, nx)``.

    Raises
    ------
    TypeError, ValueError
        As in `Encoding`; k-space with NaN or infinite samples, maps with such values, a weight that is not 0 or more.
    """
    operator = Encoding(None, mask, sens_maps)
    if not 0 <= regularization < math.inf:
        raise ValueError(f"regularization must be a number of 0 or more, got {regularization}")
    if sens_maps is not None and not torch.isfinite(sens_maps).all():
        raise ValueError(f"sens_maps {tuple(sens_maps.shape)} have NaN or infinite values")
    measured = sampled(kspace, mask)
    finite = torch.isfinite(measured)
    if not finite.all():
        raise ValueError(
            f"kspace {tuple(kspace.shape)} has NaN or infinite values at {int((~finite).sum())} sampled positions"
        )
    # so that no sum of squares or of a transform leaves the range of the dtype
    peak = measured.abs().amax()
    peak = torch.where(peak > 0, peak, 1)
    image = conjugate_gradients(
        lambda x: operator.normal(x) + regularization * x,
        operator.adjoint(measured / peak),
        iterations=iterations,
        tolerance=tolerance,
        stop=True,
    )
    return image * peak
