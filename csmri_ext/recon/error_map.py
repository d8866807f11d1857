"""`error_map`: where a reconstruction is uncertain, from what it becomes when some of its samples are left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.fourier import center_crop
from csmri_ext.recon.evaluate import Problems
from csmri_ext.recon.methods import Method
from csmri_ext.recon.problem import Problem
from csmri_ext.recon.sampling import Sampling
from csmri_ext.recon.volumes import Volume

COUNT = 6  # reconstructions
SHARE = 0.25  # of the samples, that each leaves out
CENTER = 4  # samples on each side of the echo that all keep
SCALE = 2.0  # of the spread to the error: 1.7 to 2.3 for NasN on phantoms at 4x and 8x, 2.2 to 3.7 for TV


def error_map(
    reconstruct: Callable[[Problem], NDArray[np.complex64]],
    problem: Problem,
    image: NDArray[np.complex64],
    *,
    count: int = COUNT,
    share: float = SHARE,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Spread of reconstructions of parts of the same data, per pixel: an estimate of the error of each.

    ``scale sqrt(mean_j (|x_j| - |x|)^2)``, x_j from the samples without a random part of them, smoothed over 5 x 5
    pixels: lines where whole lines were acquired, else single samples; what is around the echo of any slice stays. It
    shows what the data leave open, and noise; an error that every part of the data shares it cannot see. Where the map
    says twice as much, the error is about twice as large; its absolute scale is that of the networks of this package.

    Parameters
    ----------
    reconstruct
        Of the method: complex64 images ``(slices, ny, nx)``.
    problem
        The data.
    image
        x, what `reconstruct` makes of all of them.
    count
        Number of reconstructions; time is proportional to it.
    share
        Part of the samples that each leaves out.
    seed
        Which.

    Returns
    -------
        float32 ``(slices, ny, nx)``.
    """
    from scipy.ndimage import uniform_filter

    from csmri_ext.physics import find_echo

    rng = np.random.default_rng([seed, 17])
    total = np.zeros(image.shape, np.float64)
    echoes = {find_echo(one) for one in problem.kspace}
    for _ in range(count):
        mask = _without_some(problem.mask, share, rng, echoes)
        part = replace(problem, kspace=np.where(mask, problem.kspace, np.complex64(0)), mask=mask)
        total += (np.abs(reconstruct(part)) - np.abs(image)) ** 2
    smooth = uniform_filter(total / count, size=(1, 5, 5))
    return (SCALE * np.sqrt(np.maximum(smooth, 0))).astype(np.float32)


def volume_error_map(
    method: Method, volume: Volume, sampling: Sampling, problems: Problems, advance: Callable[[int], None]
) -> NDArray[np.float32]:
    """Estimate the errors of all slices of a volume that a comparison looks at, see `error_map`.

    Parameters
    ----------
    method, volume, sampling, problems, advance
        As in `csmri_ext.recon.evaluate.evaluate`.

    Returns
    -------
        float32 ``(slices, h, w)``, cropped as the images are.
    """
    errors = []
    for slices in volume.chunks():
        problem = problems.get(volume, sampling, slices, method)
        method.load(problem)
        whole = method.reconstruct(problem).image
        error = error_map(lambda part: method.reconstruct(part).image, problem, whole)
        errors.append(center_crop(error, volume.image_size))
        advance(len(slices))
    return np.concatenate(errors).astype(np.float32)


def _without_some(
    mask: NDArray[np.bool_], share: float, rng: np.random.Generator, echoes: Iterable[tuple[int, int]]
) -> NDArray[np.bool_]:
    kept = rng.random(mask.shape) >= share
    for echo in echoes:
        around = tuple(slice(max(at - CENTER, 0), at + CENTER) for at in echo)
        kept[around[-mask.ndim :]] = True
    return mask & kept
