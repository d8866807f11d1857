"""What a method is given, and what it returns: undersampled slices of one volume, and images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

TV_WEIGHT = 0.01  # fastMRI's compressed-sensing baseline, and the setting of most papers
TV_ITERATIONS = 200


@dataclass
class Problem:
    """Undersampled slices of one volume, and what a method may use to reconstruct them.

    Attributes
    ----------
    kspace
        y, complex64 ``(slices, coils, ny, nx)``, centred, exactly zero where not sampled.
    mask
        M, bool ``(nx,)`` or ``(ny, nx)``, True where acquired.
    sens_maps
        S, complex64 ``(slices, coils, ny, nx)``, or None for one coil.
    image_size
        ``(h, w)`` that images are centre-cropped to afterwards.
    weights
        Regularisation weight by family (``"tv"``, ``"wavelet"``), relative to BART's data scaling;
        `TV_WEIGHT` where it is missing.
    iterations
        Iteration budget of the iterative methods, as ``bart pics -i``.
    device
        ``"cpu"`` or ``"cuda"``, for the methods that can choose.
    workers
        Slices solved at the same time by methods that treat them one by one.
    bart
        BART's program, for the methods that call it; None: as `bridge.find_bart` finds it.
    """

    kspace: NDArray[np.complex64]
    mask: NDArray[np.bool_]
    sens_maps: NDArray[np.complex64] | None = None
    image_size: tuple[int, int] = (0, 0)
    weights: dict[str, float] = field(default_factory=dict)
    iterations: int = TV_ITERATIONS
    device: str = "cpu"
    workers: int = 1
    bart: str | None = None


@dataclass
class Reconstruction:
    """What a method returns: complex64 images ``(slices, ny, nx)`` on the full matrix, and what it chose."""

    image: NDArray[np.complex64]
    details: dict[str, Any] = field(default_factory=dict)
