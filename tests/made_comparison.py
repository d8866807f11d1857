"""A comparison made of drawn slices, for the tests of the report: nothing here is a real reconstruction."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from csmri_ext.report.rows import Comparison, Panel, Row

Image = NDArray[np.float32]


def drawn_slice(shape: tuple[int, int], seed: int) -> Image:
    """A bright rim around textured tissue with a few dark and bright spots; float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    radius = np.hypot(x / 0.72, y / 0.88)
    image = np.where(radius < 1, 0.9, 0.0)
    image[radius < 0.9] = 0.15
    inside = radius < 0.84
    image[inside] = (0.5 + 0.4 * gaussian_filter(rng.standard_normal(shape), 3) * 8)[inside]
    for _ in range(6):
        center_x, center_y, size = *rng.uniform(-0.45, 0.45, 2), rng.uniform(0.04, 0.12)
        image[np.hypot(x - center_x, y - center_y) < size] = rng.choice([0.05, 1.0])
    return np.clip(gaussian_filter(image, 0.5), 0, 1).astype(np.float32)


def made_mask(shape: tuple[int, int], acceleration: float, seed: int) -> NDArray[np.bool_]:
    """Columns: the centre, and every `acceleration`-th."""
    columns = np.zeros(shape[1], dtype=bool)
    width = max(2, round(0.32 / acceleration * shape[1]))
    columns[(shape[1] - width) // 2 : (shape[1] + width) // 2] = True
    columns[seed % round(acceleration) :: round(acceleration)] = True
    return np.broadcast_to(columns, shape)


def zero_filled(image: Image, mask: NDArray[np.bool_]) -> Image:
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image)))
    return np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace * mask)))).astype(np.float32)


def made_comparison(
    *,
    methods: Sequence[str] = ("zero-filled", "tv", "tv-bart"),
    accelerations: Sequence[float] = (4.0, 8.0),
    volumes: Sequence[str] = ("volume_a.h5", "volume_b.h5"),
    slices: int = 2,
    shape: tuple[int, int] = (64, 64),
    reference: bool = True,
    mask: str = "equispaced_fraction",
) -> Comparison:
    """Comparison in which every method after the first comes nearer to the target."""
    rows: list[Row] = []
    panels: list[Panel] = []
    masks = []
    for acceleration in accelerations:
        for volume_number, volume in enumerate(volumes):
            targets = [drawn_slice(shape, 10 * volume_number + number) for number in range(slices)]
            sampling = made_mask(shape, acceleration, volume_number)
            digest = hashlib.sha256(sampling.tobytes()).hexdigest()[:16]
            shown = acceleration if reference else None
            recons: dict[str, list[Image]] = {}
            for number, method in enumerate(methods):
                share = np.float32(0.6 * number / max(len(methods) - 1, 1))
                recons[method] = [(1 - share) * zero_filled(target, sampling) + share * target for target in targets]
            scores = {
                method: [_scores(*pair) for pair in zip(targets, recons[method], strict=True)] for method in methods
            }
            for number, target in enumerate(targets):
                panels.append(
                    Panel(
                        volume=volume,
                        slice=number,
                        mask=mask,
                        acceleration=shown,
                        sampling=sampling,
                        target=target if reference else None,
                        mask_hash=digest,
                        recons={method: recons[method][number] for method in methods},
                        scores={method: scores[method][number] for method in methods} if reference else {},
                    )
                )
            for number, method in enumerate(methods):
                mean = {key: float(np.mean([one[key] for one in scores[method]])) for key in ("psnr", "ssim", "nmse")}
                rows.append(
                    Row(
                        method=method,
                        mask=mask,
                        acceleration=shown,
                        volume=volume,
                        slices=slices,
                        mse=mean["nmse"] / 10 if reference else None,
                        nmse=mean["nmse"] if reference else None,
                        psnr=mean["psnr"] if reference else None,
                        ssim=mean["ssim"] if reference else None,
                        seconds=0.25 * slices * (number + 1),
                        parameters=0,
                        flops=None,
                        kspace_residual=0.01 * (number + 1),
                        slice_psnr=[one["psnr"] for one in scores[method]] if reference else [],
                        slice_ssim=[one["ssim"] for one in scores[method]] if reference else [],
                        details={"weight": 0.003, "weight_grid": [0.001, 0.003, 0.01]} if "tv" in method else {},
                    )
                )
            masks.append(
                {
                    "kind": mask,
                    "acceleration": shown,
                    "volume": volume,
                    "shape": list(shape),
                    "hash": digest,
                    "sampled": float(sampling.mean()),
                }
            )
    provenance = {
        "command": "python -m baselines.compare --bart",
        "csmri_ext": "0.1.0",
        "python": "3.11.2",
        "torch": "2.13.0",
        "numpy": "2.4.6",
        "simd": "avx2",
        "bart": "v0.8.00",
        "bart_argv": {"tv-bart": ["pics", "-S", "-i", "200", "-R", "T:3:0:0.003", "-p", "pattern", "k space", "out"]},
        "masks": masks,
        "metric": "PSNR and SSIM per volume as fastMRI defines them",
        "seed": 0,
        "date": "2026-01-31T12:00:00+00:00",
        "inputs": list(volumes),
    }
    return Comparison(rows, panels, provenance)


def _scores(target: Image, recon: Image) -> dict[str, float]:
    error = float(np.mean((target - recon) ** 2))
    return {
        "psnr": float(10 * np.log10(target.max() ** 2 / error)),
        "ssim": float(structural_similarity(target, recon, data_range=float(target.max()))),
        "nmse": error / float(np.mean(target**2)),
    }
