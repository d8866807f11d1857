"""Cases of the data-consistency operator: column masks, 2-D masks, sizes of the fastMRI data, call overhead."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fft

from benchmarks.timing import Case
from csmri_ext import ops
from csmri_ext.ops import reference

ETA = 0.5
SAMPLED = 0.31


def _inference(function: Callable[[], Any]) -> Callable[[], Any]:
    def call() -> Any:
        with torch.inference_mode():
            return function()

    return call


def _flops(batch: int, ny: int, nx: int, transforms: int) -> int:
    """5 n log2 n for a complex transform of length n, forward and inverse, along 1 or 2 axes."""
    per_pixel = 2 * 5 * (math.log2(nx) if transforms == 1 else math.log2(ny) + math.log2(nx))
    return int(batch * ny * nx * per_pixel)


def data_consistency(batch: int, ny: int, nx: int, *, two_d: bool) -> Callable[[bool], Case]:
    """One data step with data prepared once, as every stage of an unrolled network takes it.

    Rivals: the centred form that people write (four shifts a step), the best form of torch.fft (mask and data shifted
    and weighted beforehand, no shifts), for column masks also the 1-D form (the transform along the readout cancels).
    """

    def build(compiled: bool) -> Case:
        torch.manual_seed(0)
        image = torch.randn(batch, ny, nx, dtype=torch.complex64)
        kspace = torch.randn(batch, ny, nx, dtype=torch.complex64)
        mask = torch.rand((ny, nx) if two_d else (nx,)) < SAMPLED
        prepared, eta = ops.prepare_data_consistency(kspace, mask), torch.tensor(ETA)
        weights = mask.float()
        weighted, kept = ETA * weights * kspace, 1 - ETA * weights

        def centred(x: Tensor) -> Tensor:
            return reference.data_consistency(x, kspace, weights, ETA)

        def unshifted(x: Tensor) -> Tensor:
            return fft.ifft2(torch.addcmul(weighted, kept, fft.fft2(x)))

        def one_axis(x: Tensor) -> Tensor:
            return fft.ifft(torch.addcmul(weighted, kept, fft.fft(x)))

        forms: dict[str, Callable[[Tensor], Tensor]] = {
            "torch.fft, centred": centred,
            "torch.fft, no shifts": unshifted,
        }
        if not two_d:
            forms["torch.fft, one axis, no shifts"] = one_axis
        rivals = {name: _inference(lambda form=form: form(image)) for name, form in forms.items()}
        if compiled:
            step = torch.compile(unshifted)
            rivals["torch.compile, no shifts"] = _inference(lambda: step(image))
        kind = "2-D mask" if two_d else "column mask"
        n_packed = kspace.numel() if two_d else batch * ny * int(mask.sum())
        passes = 6 if two_d else 2  # images read and written
        targets = "1.5x no shifts; aim 3x" if two_d else "5x / 8x centred, 3x / 4x no shifts; aim 10x / 15x, 5x / 8x"
        return Case(
            name=f"K1 data consistency, {kind}, {batch} x {ny} x {nx}",
            ours=_inference(lambda: ops.data_consistency_prepared(image, prepared, eta)),
            rivals=rivals,
            n_bytes=8 * (passes * image.numel() + n_packed),
            flops=_flops(batch, ny, nx, 2 if two_d else 1),
            target=targets if (batch, ny, nx) == (8, 320, 320) else "",
            check=lambda: _error(image, kspace, mask),
        )

    return build


def sense_normal(batch: int, coils: int, ny: int, nx: int, *, two_d: bool) -> Callable[[bool], Case]:
    """One application of the normal operator, the step of conjugate gradients.

    Rivals: the centred form, and the best form of torch.fft (mask shifted beforehand, no shifts).
    """

    def build(compiled: bool) -> Case:
        generator = torch.Generator().manual_seed(0)
        image = torch.randn(batch, ny, nx, dtype=torch.complex64, generator=generator)
        maps = torch.randn(batch, coils, ny, nx, dtype=torch.complex64, generator=generator) / coils**0.5
        mask = torch.rand((ny, nx) if two_d else (nx,), generator=generator) < SAMPLED
        weights = mask.float()
        shifted = fft.ifftshift(weights)

        def unshifted(x: Tensor) -> Tensor:
            return (maps.conj() * fft.ifft2(shifted * fft.fft2(maps * x.unsqueeze(1)))).sum(1)

        def error() -> float:
            wide = (image.to(torch.complex128), maps.to(torch.complex128), mask.double())
            truth = reference.sense_normal(*wide)
            return float((ops.sense_normal(image, maps, mask) - truth).norm() / truth.norm())

        rivals = {
            "torch.fft, centred": _inference(lambda: reference.sense_normal(image, maps, weights)),
            "torch.fft, no shifts": _inference(lambda: unshifted(image)),
        }
        if compiled:
            step = torch.compile(unshifted)
            rivals["torch.compile, no shifts"] = _inference(lambda: step(image))
        transforms, passes = (2, 6) if two_d else (1, 1)  # of coil images, read and written
        return Case(
            name=f"SENSE normal operator, {'2-D' if two_d else 'column'} mask, {batch} x {coils} x {ny} x {nx}",
            ours=_inference(lambda: ops.sense_normal(image, maps, mask)),
            rivals=rivals,
            n_bytes=8 * (passes * maps.numel() + 2 * image.numel()),
            flops=_flops(batch * coils, ny, nx, transforms) + 16 * maps.numel(),
            check=error,
        )

    return build


def _error(image: Tensor, kspace: Tensor, mask: Tensor) -> float:
    value = ops.data_consistency(image, kspace, mask, ETA).to(torch.complex128)
    truth = reference.data_consistency(image.to(torch.complex128), kspace.to(torch.complex128), mask.double(), ETA)
    return float((value - truth).norm() / truth.norm())


def cases() -> dict[str, Callable[[bool], Case]]:
    """All cases of this file by short name."""
    return {
        "data_consistency column 8x320": data_consistency(8, 320, 320, two_d=False),
        "data_consistency 2-D 8x320": data_consistency(8, 320, 320, two_d=True),
        "data_consistency column 1x320": data_consistency(1, 320, 320, two_d=False),
        "data_consistency column 8x640x368": data_consistency(8, 640, 368, two_d=False),
        "data_consistency column 8x640x372": data_consistency(8, 640, 372, two_d=False),
        "data_consistency column 8x256": data_consistency(8, 256, 256, two_d=False),
        "data_consistency column 8x217 (prime factors 7, 31)": data_consistency(8, 217, 217, two_d=False),
        "data_consistency column 8x257 (prime)": data_consistency(8, 257, 257, two_d=False),
        "sense_normal column 1x16x320": sense_normal(1, 16, 320, 320, two_d=False),
        "sense_normal 2-D 1x16x320": sense_normal(1, 16, 320, 320, two_d=True),
        "sense_normal column 4x15x640x368": sense_normal(4, 15, 640, 368, two_d=False),
        "data_consistency overhead": data_consistency(1, 16, 16, two_d=False),
    }
