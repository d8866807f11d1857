"""The methods that BART's own program computes: total variation and l1-wavelets."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge import ecalib, pics

CALIBRATION_SIZE = 24  # BART's default, and fastMRI's


@dataclass(frozen=True)
class BartReconstruction:
    """Images from BART, and how they were made.

    Attributes
    ----------
    image
        complex64 ``(ny, nx)``, or ``(slices, ny, nx)`` of a volume.
    argv
        The commands, each the same for every slice; names of arrays stand for files.
    sens_maps
        Coil sensitivities that were used, shape of k-space; None for one coil (maps of ones).
    """

    image: NDArray[np.complex64]
    argv: list[list[str]] = field(default_factory=list)
    sens_maps: NDArray[np.complex64] | None = None


def tv_bart(
    kspace: NDArray[Any],
    mask: NDArray[Any],
    sens_maps: NDArray[Any] | None = None,
    *,
    weight: float = 0.01,
    iterations: int = 200,
    processes: int | None = None,
    binary: str | os.PathLike[str] | None = None,
) -> BartReconstruction:
    r"""Total variation by BART: ``bart pics -S -i iterations -R T:3:0:weight -p mask``.

    ``min_x 0.5 ||M F S x - y / s||^2 + weight sum |G x|``, times ``s``; `csmri_ext.iterative.tv.tv` computes the same
    without BART. ADMM with ``rho = 0.5``; `iterations` caps its inner conjugate-gradient steps in total.

    Parameters
    ----------
    kspace
        y, complex ``(ny, nx)``, ``(coils, ny, nx)`` or ``(slices, coils, ny, nx)``, centred.
    mask
        M, bool ``(nx,)``, ``(ny, nx)`` or ``(slices, ny, nx)``, True where acquired. Always passed on as the pattern.
    sens_maps
        S, complex ``(coils, ny, nx)`` or ``(slices, coils, ny, nx)``. None: ones for one coil, and ``bart ecalib -m 1``
        for several. One coil never goes through ``ecalib``, which would cut off the background.
    weight
        Regularization weight for data divided by BART's scale ``s``, which each slice has for itself.
    iterations
        ``-i``.
    processes
        Slices solved at once, one thread each; default: the number of CPUs. More threads per slice would slow it down.
    binary
        BART's program or its folder; default as in `csmri_ext.bridge.find_bart`.

    Returns
    -------
        Images, commands and sensitivities.

    Raises
    ------
    ValueError
        Shapes do not fit; data that are not finite, or all zero.
    BartError
        BART is missing (`BartNotFoundError`) or failed.
    """
    return _pics(f"T:3:0:{float(weight)}", kspace, mask, sens_maps, iterations, processes, binary)


def wavelet_bart(
    kspace: NDArray[Any],
    mask: NDArray[Any],
    sens_maps: NDArray[Any] | None = None,
    *,
    weight: float = 0.01,
    iterations: int = 200,
    processes: int | None = None,
    binary: str | os.PathLike[str] | None = None,
) -> BartReconstruction:
    r"""l1-wavelets by BART: ``bart pics -S -i iterations -R W:3:0:weight -p mask``.

    ``min_x 0.5 ||M F S x - y / s||^2 + weight ||W x||_1``, times ``s``, with Daubechies wavelets of 4 taps down to 16
    pixels, each coefficient thresholded by itself. FISTA with step 0.95 and exactly `iterations` steps, each on
    another shift of the wavelets; the shifts are the same in every run.

    Parameters, results and errors are those of `tv_bart`.
    """
    return _pics(f"W:3:0:{float(weight)}", kspace, mask, sens_maps, iterations, processes, binary)


def ecalib_around_echo(kspace: NDArray[np.complex64], mask: NDArray[np.bool_], **options: Any) -> NDArray[np.complex64]:
    """Estimate sensitivities by ``bart ecalib -m 1 -r 24`` from the calibration region around the echo of each slice.

    BART takes the region around the middle of the matrix. Where the echo lies elsewhere, it is given k-space rolled by
    `csmri_ext.physics.calibration_offset`, which leaves sensitivities as they are.

    Parameters
    ----------
    kspace
        complex ``(coils, ny, nx)`` or ``(slices, coils, ny, nx)``, zero where not acquired.
    mask
        bool ``(nx,)``, ``(ny, nx)`` or ``(slices, ny, nx)``.
    **options
        As in `bridge.ecalib`.

    Returns
    -------
        Shape of `kspace`.
    """
    from csmri_ext.physics import calibration_offset, find_echo

    slices = kspace if kspace.ndim == 4 else kspace[np.newaxis]
    masks = mask if mask.ndim == 3 else [mask] * len(slices)
    offsets = [
        calibration_offset(own, slices.shape[-2:], find_echo(item)) for own, item in zip(masks, slices, strict=True)
    ]
    if any(map(any, offsets)):
        slices = np.stack([np.roll(item, by, (-2, -1)) for item, by in zip(slices, offsets, strict=True)])
    maps = ecalib(slices, calibration_size=CALIBRATION_SIZE, **options)
    return maps if kspace.ndim == 4 else maps[0]


def _pics(
    regularization: str,
    kspace: NDArray[Any],
    mask: NDArray[Any],
    sens_maps: NDArray[Any] | None,
    iterations: int,
    processes: int | None,
    binary: str | os.PathLike[str] | None,
) -> BartReconstruction:
    kspace = np.asarray(kspace)
    mask = np.asarray(mask, dtype=bool)
    options: dict[str, Any] = {"processes": processes, "binary": binary}
    commands = []
    n_coils = 1 if kspace.ndim == 2 else kspace.shape[-3]
    if sens_maps is None and n_coils > 1:
        acquired = np.where(mask[..., None, :, :] if mask.ndim == 3 else mask, kspace, np.complex64(0))
        sens_maps = ecalib_around_echo(acquired, mask, **options)
        commands.append(["bart", "ecalib", "-m", "1", "-r", str(CALIBRATION_SIZE), "kspace", "sens_maps"])
    result = pics(kspace, sens_maps, regularization=regularization, iterations=iterations, pattern=mask, **options)
    return BartReconstruction(result.image, [*commands, result.argv], sens_maps)
