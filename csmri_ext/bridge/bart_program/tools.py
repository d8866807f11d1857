"""``bart pics`` and ``bart ecalib`` in the axes of this package, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import LazyStack
from csmri_ext.bridge.bart_files.dims import from_bart, to_bart
from csmri_ext.bridge.bart_program.pics_centering import center_for_pics
from csmri_ext.bridge.bart_program.process import find_bart
from csmri_ext.bridge.bart_program.run import bart_map


class PicsResult(NamedTuple):
    """Images of `pics` and the command that made each of them."""

    image: NDArray[np.complex64]
    argv: list[str]


def pics(
    kspace: NDArray[Any] | LazyStack,
    sens_maps: NDArray[Any] | LazyStack | None = None,
    *,
    regularization: str | Sequence[str] | None,
    iterations: int = 200,
    pattern: NDArray[Any] | None = None,
    scale: float | None = None,
    options: Sequence[str] = (),
    processes: int | None = None,
    **bart_options: Any,
) -> PicsResult:
    r"""Reconstruct slices by parallel imaging and compressed sensing with ``bart pics``.

    ``bart pics -S -i iterations -R regularization -p pattern kspace sens_maps image`` for each slice, which solves
    :math:`\min_x \frac12 \|P F S x - y/s\|^2 + \lambda R(x)` and returns :math:`s x`, an image in the units
    of `kspace`. If a side is not a multiple of 4, BART is given k-space times a phase that makes up for an error in its
    own centring (see `pics_centering`).

    Parameters
    ----------
    kspace
        y, complex, (ny, nx), (coils, ny, nx) or (slices, coils, ny, nx), centred. A `LazyStack` is read slice by slice.
    sens_maps
        S, complex, (coils, ny, nx) for all slices or (slices, coils, ny, nx). May be left out for one coil.
    regularization
        Argument of ``-R``, or several of them, in BART's dimensions: x is 0, y is 1. ``"T:3:0:0.01"`` is isotropic
        total variation with weight 0.01, ``"W:3:0:0.01"`` an l1-wavelet term. None: least squares (CG-SENSE).
    iterations
        ``-i``. With total variation this caps the inner conjugate gradient steps, not the ADMM iterations:
        200 were 24 ADMM iterations in an example of 320 x 320.
    pattern
        P, (nx,), (ny, nx) or (slices, ny, nx), non-zero where acquired. Other samples are set to zero. Default: the
        samples that are not exactly zero in every coil. BART never guesses it.
    scale
        s, ``-w``. Default: estimated by BART from the centre of k-space for each slice by itself; the weight
        in `regularization` refers to data divided by s. The estimate differs by some percent between images stored
        as ``nx ny`` and as ``1 nx ny`` or ``ny nx``, hence between calls that are otherwise the same.
    options
        Further options, each its own element.
    processes
        As in `bart.bart_map`.
    **bart_options
        ``binary``, ``timeout``, ``debug_level``, ``folder`` as in `bart.bart`.

    Returns
    -------
        `image`, complex64, (ny, nx), or (slices, ny, nx) if `kspace` has four axes; `argv`, the command with the
        words ``pattern kspace sens_maps image`` in place of the names of temporary files.

    Raises
    ------
    ValueError
        Shapes do not fit; several coils and no `sens_maps`; data that are not finite, or all zero.
    BartError
        As in `bart.bart`.
    """
    slices = _with_slices(kspace)
    n_slices, _, ny, nx = slices.shape
    maps = _maps_of_slices(sens_maps, slices.shape)
    patterns = None if pattern is None else _patterns(pattern, (n_slices, ny, nx))
    terms = [regularization] if isinstance(regularization, str) else list(regularization or ())
    args = ["pics", "-S", "-i", str(iterations)]
    for term in terms:
        args += ["-R", term]
    if scale is not None:
        args += ["-w", repr(float(scale))]
    args += options
    program = find_bart(bart_options.get("binary"))

    def job(i: int) -> tuple[Any, ...]:
        data = np.asarray(slices[i])
        acquired = (data != 0).any(axis=0) if patterns is None else patterns[i]
        data = center_for_pics(np.where(acquired, data, np.complex64(0)), program)
        return [*args, "-p", to_bart(acquired)], to_bart(data), to_bart(np.asarray(maps[i]))

    results = bart_map((job(i) for i in range(n_slices)), processes=processes, **bart_options)
    images = np.stack([from_bart(result, ndim=2) for result in results])
    argv = ["bart", *args, "-p", "pattern", "kspace", "sens_maps", "image"]
    return PicsResult(images if kspace.ndim == 4 else images[0], argv)


def ecalib(
    kspace: NDArray[Any] | LazyStack,
    *,
    maps: int = 1,
    calibration_size: int | Sequence[int] = 24,
    options: Sequence[str] = (),
    processes: int | None = None,
    **bart_options: Any,
) -> NDArray[np.complex64]:
    """Estimate coil sensitivities by ESPIRiT from the fully sampled centre of k-space, with ``bart ecalib``.

    ``bart ecalib -m maps -r calibration_size kspace sens_maps`` for each slice.

    Parameters
    ----------
    kspace
        Complex, (ny, nx), (coils, ny, nx) or (slices, coils, ny, nx), centred, zero where not acquired.
    maps
        Sets of sensitivities; more than one where the field of view is smaller than the object.
    calibration_size
        ``-r``: largest side of the calibration region, or sizes along (y, x).
    options
        Further options, each its own element: ``["-c", "0.9"]`` crops the maps tighter.
    processes
        As in `bart.bart_map`.
    **bart_options
        ``binary``, ``timeout``, ``debug_level``, ``folder`` as in `bart.bart`.

    Returns
    -------
        complex64, (coils, ny, nx), or (slices, coils, ny, nx) if `kspace` has four axes; with ``maps > 1`` a
        maps axis before the coils. Zero outside of the object. For one coil: ones, as ESPIRiT cannot tell
        anything and would cut off part of the image.

    Raises
    ------
    ValueError
        `maps` is below 1 or above the number of coils; data that are not finite, or all zero.
    BartError
        As in `bart.bart`.
    """
    slices = _with_slices(kspace)
    n_coils = slices.shape[1]
    if not 1 <= maps <= n_coils:
        raise ValueError(f"maps must be between 1 and the number of coils, {n_coils}, got {maps}")
    if n_coils == 1:
        return np.ones(np.broadcast_shapes(kspace.shape, (1, 1, 1)), dtype=np.complex64)
    size = str(calibration_size) if np.ndim(calibration_size) == 0 else _sizes(calibration_size)
    args = ["ecalib", "-m", str(maps), "-r", size, *options]
    jobs = ((args, to_bart(np.asarray(item))) for item in slices)
    results = bart_map(jobs, processes=processes, **bart_options)
    sens_maps = np.stack([from_bart(result, ndim=5)[0] for result in results])
    if maps == 1:
        sens_maps = sens_maps[:, 0]
    return sens_maps if kspace.ndim == 4 else sens_maps[0]


def _sizes(calibration_size: Any) -> str:
    y, x = calibration_size
    return f"{x}:{y}:1"


def _with_slices(kspace: NDArray[Any] | LazyStack) -> NDArray[Any] | LazyStack:
    if not 2 <= kspace.ndim <= 4:
        raise ValueError(f"expected k-space (ny, nx), (coils, ny, nx) or (slices, coils, ny, nx), got {kspace.shape}")
    return kspace if isinstance(kspace, LazyStack) else kspace[(np.newaxis,) * (4 - kspace.ndim)]


def _maps_of_slices(sens_maps: NDArray[Any] | LazyStack | None, shape: tuple[int, ...]) -> NDArray[Any] | LazyStack:
    if sens_maps is None:
        if shape[1] > 1:
            raise ValueError(f"k-space (slices, coils, ny, nx) = {shape} has several coils: sens_maps are needed")
        return np.broadcast_to(np.complex64(1), shape)
    if sens_maps.shape not in (shape, shape[1:]):
        raise ValueError(f"sens_maps {sens_maps.shape} do not fit k-space (slices, coils, ny, nx) = {shape}")
    return sens_maps if sens_maps.shape == shape else np.broadcast_to(sens_maps, shape)


def _patterns(pattern: NDArray[Any], shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    if pattern.shape not in (shape, shape[1:], shape[2:]):
        raise ValueError(f"pattern {pattern.shape} does not fit k-space (slices, ny, nx) = {shape}")
    return np.broadcast_to(pattern != 0, shape)
