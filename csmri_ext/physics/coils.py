"""Combination of coil images."""

from __future__ import annotations

import torch
from torch import Tensor

from csmri_ext.physics.fitting import require_no_pairs


def rss(x: Tensor, dim: int = -3) -> Tensor:
    """Root sum of squares, ``sqrt(sum_c |x_c|^2)``: the coil combination that needs no sensitivities.

    Parameters
    ----------
    x
        Coil images, real or complex, any shape but real ones of two columns, which are taken for real and imaginary
        parts.
    dim
        Coil axis; the default fits ``(..., coils, ny, nx)``.

    Returns
    -------
        Real, shape of `x` without the coil axis.

    Raises
    ------
    TypeError
        No tensor; real and imaginary parts along a last axis.
    """
    require_no_pairs("rss: x", x)
    return torch.linalg.vector_norm(x, dim=dim)


def align_phase(sens_maps: Tensor, reference: Tensor) -> Tensor:
    """Turn each pixel of the maps such that the principal virtual coil of the reference is real and positive there.

    The data do not determine a phase that all coils share. The principal combination ``p`` of the coils, the first
    eigenvector of ``sum m m^H`` over the reference, sees ``p^H S``; dividing by its phase gives an image whose phase is
    what this coil sees, which is smooth (Buehrer et al., "Virtual coil concept for improved parallel MRI", 2009; `bart
    ecalib` does the same).

    Parameters
    ----------
    sens_maps
        S, complex, ``(batch, coils, ny, nx)``.
    reference
        m, complex, ``(batch, coils, my, mx)``: images or k-space of the same coils.

    Returns
    -------
        Shape and magnitude of `sens_maps`.
    """
    covariance = torch.einsum("bcyx,bdyx->bcd", reference, reference.conj())
    principal = torch.linalg.eigh(covariance).eigenvectors[..., -1]
    virtual = torch.einsum("bc,bcyx->byx", principal.conj(), sens_maps)
    turn = torch.where(virtual == 0, 1, virtual.sgn().conj())
    return sens_maps * turn[:, None]
