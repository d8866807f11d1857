"""One method on one volume at one mask setting: undersample, calibrate, reconstruct, crop, measure."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.fourier import center_crop
from csmri_ext.errors import InputError
from csmri_ext.recon.bart_methods import ecalib_around_echo
from csmri_ext.recon.methods import Method
from csmri_ext.recon.problem import Problem
from csmri_ext.recon.sampling import Sampling
from csmri_ext.recon.shared_setup import ECALIB, ECALIB_UNCROPPED, FROM_FILE, OWN, Setup, estimate_words
from csmri_ext.recon.volumes import Volume
from csmri_ext.report.rows import Row
from csmri_ext.stopping import check_stop


class Problems:
    """Makes the `Problem` of each run of slices, and keeps the last one for the next method.

    Parameters
    ----------
    setup
        What all methods share.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._key: tuple[Any, ...] = ()
        self._problems: dict[str | None, Problem] = {}  # by the source of their sensitivities
        self._estimated: tuple[NDArray[np.complex64], NDArray[np.bool_]] | None = None  # maps, and where the object is

    def get(self, volume: Volume, sampling: Sampling, slices: Sequence[int], method: Method | None = None) -> Problem:
        """Read, undersample and calibrate some slices of a volume, for a method (None: one that is no network)."""
        key = (volume.label, sampling, tuple(slices))
        if key != self._key:
            self._problems.clear()  # release the memory before reading more
            self._estimated = None
            self._key = key
        source = self.setup.maps_source(volume, sampling, method)
        if source not in self._problems:
            known = next(iter(self._problems.values()), None)
            base = self._without_maps(volume, sampling, slices) if known is None else known
            sens_maps = self._sens_maps(base, volume, slices, source)
            self._problems[source] = replace(base, sens_maps=sens_maps)
        return self._problems[source]

    def _without_maps(self, volume: Volume, sampling: Sampling, slices: Sequence[int]) -> Problem:
        mask = sampling.mask(volume, self.setup.seed) & volume.measured
        weights = self.setup.weights.get((sampling, volume.label), {})
        return Problem(
            np.where(mask, volume.kspace(slices), np.complex64(0)),
            mask,
            None,
            volume.image_size,
            {family: weight.value for family, weight in weights.items()},
            self.setup.iterations,
            self.setup.device,
            self.setup.workers,
            self.setup.bart,
        )

    def _sens_maps(
        self, problem: Problem, volume: Volume, slices: Sequence[int], source: str | None
    ) -> NDArray[np.complex64] | None:
        if source is None or source == OWN:
            return None
        if source == FROM_FILE:
            return volume.sens_maps(slices)
        return self._calibrate(problem.kspace, problem.mask, source)

    def _calibrate(self, kspace: NDArray[np.complex64], mask: NDArray[np.bool_], source: str) -> NDArray[np.complex64]:
        """Estimate maps ``(slices, coils, ny, nx)`` from undersampled k-space, one slice at a time."""
        if source in (ECALIB, ECALIB_UNCROPPED):
            return ecalib_around_echo(
                kspace,
                mask,
                options=["-c", "0"] if source == ECALIB_UNCROPPED else [],
                processes=self.setup.workers,
                binary=self.setup.bart,
            )
        if self._estimated is None:  # both kinds of maps come of it
            self._estimated = _estimated(kspace, mask, self.setup.way_out)
        maps, is_object = self._estimated
        return np.where(is_object[:, None], maps, np.complex64(0)) if source == estimate_words(cropped=True) else maps


def _estimated(
    kspace: NDArray[np.complex64], mask: NDArray[np.bool_], way_out: str
) -> tuple[NDArray[np.complex64], NDArray[np.bool_]]:
    """Estimate maps that are not cropped ``(slices, coils, ny, nx)``, and where the object is ``(slices, ny, nx)``."""
    import torch

    from csmri_ext.physics import estimate_maps_and_object

    sampled, maps = torch.from_numpy(mask), np.empty_like(kspace)
    is_object = np.empty((len(kspace), *kspace.shape[2:]), np.bool_)
    try:
        for i, item in enumerate(kspace):
            check_stop()  # in a thread, where no signal arrives
            found = estimate_maps_and_object(torch.from_numpy(item), sampled, told=_in_notes)
            maps[i], is_object[i] = found.sens_maps.numpy(), found.is_object.numpy()
        return maps, is_object
    except ValueError as error:
        raise InputError(f"coil sensitivities: {error}; {way_out}") from error


def _in_notes(_: str) -> None:
    """Say nothing: `Setup.notes` says where the echo is outside, once for all slices."""


def evaluate(
    method: Method, volume: Volume, sampling: Sampling, problems: Problems, advance: Callable[[int], None]
) -> tuple[Row, NDArray[np.complex64]]:
    """Reconstruct one volume with one method and measure the result.

    The mask multiplies the fully sampled k-space, the whole matrix is reconstructed, the complex image is
    centre-cropped to the reference, and the metrics compare magnitudes of the whole volume, as fastMRI does. The time
    excludes reading and the coil sensitivities, which all methods share, and the loading of a network.

    Parameters
    ----------
    method, volume, sampling
        What to run on what.
    problems
        Source of the undersampled slices.
    advance
        Called with the number of slices just finished.

    Returns
    -------
        The row, and the cropped images, complex64 ``(slices, h, w)``.

    Raises
    ------
    InputError
        If the method returned something that is no image: another shape, NaN.
    """
    images, targets, seconds, details = [], [], 0.0, {}
    missing, measured = 0.0, 0.0
    for slices in volume.chunks():
        problem = problems.get(volume, sampling, slices, method)
        method.load(problem)
        start = time.perf_counter()
        result = method.reconstruct(problem)
        seconds += time.perf_counter() - start
        expected = (len(slices), *problem.kspace.shape[2:])
        if result.image.shape != expected:
            raise InputError(f"{method.name} on {volume.label}: image {result.image.shape}, expected {expected}")
        if not np.isfinite(result.image).all():
            raise InputError(f"{method.name} on {volume.label}: the image has NaN or infinite pixels")
        details.update(result.details)
        if problems.setup.maps_source(volume, sampling, method) != OWN:  # without maps nothing predicts k-space
            difference, norm = kspace_distance(problem, result.image)
            missing, measured = missing + difference, measured + norm
        images.append(center_crop(result.image, volume.image_size).astype(np.complex64))
        target = volume.target(slices)
        if target is not None:
            targets.append(target)
        advance(len(slices))
    image = np.concatenate(images)
    weights = problems.setup.weights.get((sampling, volume.label), {})
    if method.weight in weights:
        details["weight_grid"] = weights[method.weight].reason
    source = problems.setup.maps_source(volume, sampling, method)
    if source is not None:
        details["sens_maps"] = source
        note = problems.setup.maps_note(volume, sampling)
        if note is not None:
            details["sens_maps_note"] = note
        if volume.unseen_share:
            details["sens_maps_zero"] = volume.unseen_share
    row = Row(
        method=method.name,
        mask=sampling.kind,
        acceleration=sampling.acceleration,
        volume=volume.label,
        slices=len(image),
        seconds=seconds,
        parameters=method.parameters,
        flops=method.flops(volume.acquisition.matrix_size),
        kspace_residual=float(np.sqrt(missing / measured)) if measured else None,
        details=details,
        **metrics_of(np.concatenate(targets) if targets else None, np.abs(image)),
    )
    return row, image


def metrics_of(target: NDArray[np.float32] | None, recon: NDArray[np.float32]) -> dict[str, Any]:
    """Compute fastMRI's metrics of a volume, float32 ``(slices, h, w)``; all None without a reference."""
    if target is None:
        return {"mse": None, "nmse": None, "psnr": None, "ssim": None}
    from csmri_ext import metrics

    return {
        "mse": float(metrics.mse(target, recon)),
        "nmse": float(metrics.nmse(target, recon)),
        "psnr": float(metrics.psnr(target, recon)),
        "ssim": float(metrics.ssim(target, recon)),
        "slice_psnr": [float(value) for value in metrics.slice_psnr(target, recon)],
        "slice_ssim": [float(value) for value in metrics.slice_ssim(target, recon)],
    }


def kspace_distance(problem: Problem, image: NDArray[np.complex64]) -> tuple[float, float]:
    """Squared norms ``||M F S x - y||^2`` and ``||y||^2`` over all slices and coils."""
    import torch

    from csmri_ext.physics import kspace_residual

    mask = torch.from_numpy(problem.mask)
    difference, energy = 0.0, 0.0
    for i, measured in enumerate(problem.kspace):  # one by one: a stack of coil images is large
        kspace, maps = torch.from_numpy(measured), None
        if problem.sens_maps is None:
            kspace = kspace[0]
        else:
            maps = torch.from_numpy(problem.sens_maps[i])
        norm = float(np.vdot(measured, measured).real)
        difference += kspace_residual(kspace, torch.from_numpy(image[i]), mask, maps) ** 2 * norm
        energy += norm
    return difference, energy
