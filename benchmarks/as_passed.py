"""What users pass, and what they call beside: full masks, unprepared calls, encoding, FFT, layouts, metrics.

``python -m benchmarks.as_passed`` prints one table, ours first, every way in the same run and in rotating order. Times
are processor time of one thread, so that other work on the machine counts as little as possible.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import fft

from benchmarks import timing
from csmri_ext import metrics, nn, ops
from csmri_ext.ops import reference
from csmri_ext.physics import fft2c, ifft2c

Ways = dict[str, Callable[[], Any]]


def data_steps() -> dict[str, Ways]:
    """8 x 320 x 320, complex64, 31 % of the columns."""
    image, kspace = torch.randn(2, 8, 320, 320, dtype=torch.complex64)
    mask, eta = torch.rand(320) < 0.31, torch.tensor(0.5)
    full, plane = mask.expand(8, 320, 320).contiguous(), torch.rand(320, 320) < 0.31
    prepared, in_full = ops.prepare_data_consistency(kspace, mask), ops.prepare_data_consistency(kspace, full)
    of_plane = ops.prepare_data_consistency(kspace, plane)
    maps = torch.randn(8, 320, 320, dtype=torch.complex64)
    weighted, kept = 0.5 * mask * kspace, 1 - 0.5 * mask.float()
    return {
        "data step, prepared": {
            "ours": lambda: ops.data_consistency_prepared(image, prepared, eta),
            "mask in full shape": lambda: ops.data_consistency_prepared(image, in_full, eta),
            "plain call": lambda: ops.data_consistency(image, kspace, mask, eta),
            "plain call, mask in full shape": lambda: ops.data_consistency(image, kspace, full, eta),
            "torch, no shifts": lambda: fft.ifft2(torch.addcmul(weighted, kept, fft.fft2(image))),
            "copy of the images": image.clone,
        },
        "data step, 2-D mask, prepared": {
            "ours": lambda: ops.data_consistency_prepared(image, of_plane, eta),
            "plain call": lambda: ops.data_consistency(image, kspace, plane, eta),
        },
        "sense_normal, 8 coils": {
            "ours": lambda: ops.sense_normal(image[0], maps, mask),
            "mask in full shape": lambda: ops.sense_normal(image[0], maps, full[0]),
        },
    }


def encoding() -> dict[str, Ways]:
    """8 coils, 320 x 320, and 8 images for the transforms alone."""
    image, images = torch.randn(320, 320, dtype=torch.complex64), torch.randn(8, 320, 320, dtype=torch.complex64)
    maps, mask = torch.randn(8, 320, 320, dtype=torch.complex64), torch.rand(320) < 0.31
    kspace, smaller = ops.encode(image, maps, mask), torch.randn(8, 256, 256, dtype=torch.complex64)
    return {
        "encode, 8 coils": {
            "ours": lambda: ops.encode(image, maps, mask),
            "torch": lambda: reference.encode(image, maps, mask),
        },
        "encode_adjoint, 8 coils": {
            "ours": lambda: ops.encode_adjoint(kspace, maps, mask),
            "torch": lambda: reference.encode_adjoint(kspace, maps, mask),
        },
        "fft2c, 8 images": {
            "ours": lambda: fft2c(images),
            "torch, centred": lambda: reference.fft2c(images),
            "torch, no shifts": lambda: fft.fft2(images, norm="ortho"),
        },
        "ifft2c, 8 images": {
            "ours": lambda: ifft2c(images),
            "torch, centred": lambda: reference.ifft2c(images),
            "torch, no shifts": lambda: fft.ifft2(images, norm="ortho"),
        },
        "fft2c, one image, 8 times": {
            "ours": lambda: [fft2c(images[0]) for _ in range(8)],
            "torch, centred": lambda: [reference.fft2c(images[0]) for _ in range(8)],
            "torch, no shifts": lambda: [fft.fft2(images[0], norm="ortho") for _ in range(8)],
        },
        "fft2c, 8 images of 256 x 256": {
            "ours": lambda: fft2c(smaller),
            "torch, centred": lambda: reference.fft2c(smaller),
            "torch, no shifts": lambda: fft.fft2(smaller, norm="ortho"),
        },
    }


def small() -> dict[str, Ways]:
    """One image of 16 x 16: the cost of a call, 200 of them."""
    image, kspace = torch.randn(2, 1, 16, 16, dtype=torch.complex64)
    mask, eta = torch.rand(16) < 0.5, torch.tensor(0.5)
    prepared = ops.prepare_data_consistency(kspace, mask)
    weighted, kept = 0.5 * mask * kspace, 1 - 0.5 * mask.float()

    def often(call: Callable[[], Any]) -> Callable[[], None]:
        def repeated() -> None:
            for _ in range(200):
                call()

        return repeated

    return {
        "200 data steps, 16 x 16, prepared": {
            "ours": often(lambda: ops.data_consistency_prepared(image, prepared, eta)),
            "plain call": often(lambda: ops.data_consistency(image, kspace, mask, eta)),
            "torch, no shifts": often(lambda: fft.ifft2(torch.addcmul(weighted, kept, fft.fft2(image)))),
        }
    }


def layouts() -> dict[str, Ways]:
    """Time a layer between point-wise convolutions, or with a residual, on contiguous and on channels_last memory."""
    last, wide = torch.channels_last, torch.randn(1, 64, 160, 160)
    layer, x = nn.SplitDepthwiseConv(64), torch.randn(1, 16, 160, 160)
    expand, project = torch.nn.Conv2d(16, 64, 1), torch.nn.Conv2d(64, 16, 1)

    def block(x: torch.Tensor, back: bool = False) -> torch.Tensor:
        inner = layer(torch.relu(expand(x)))
        return x + project(torch.relu(inner.contiguous(memory_format=last) if back else inner))

    def residual(x: torch.Tensor, back: bool = False) -> torch.Tensor:
        inner = layer(x)
        return torch.relu(x + (inner.contiguous(memory_format=last) if back else inner))

    cases: dict[str, Ways] = {}
    for name, function, image in (("block", block, x), ("residual", residual, wide)):
        moved = image.contiguous(memory_format=last)
        cases[f"SplitDepthwiseConv, {name}"] = {
            "ours": lambda f=function, x=image: f(x),
            "channels_last in": lambda f=function, x=moved: f(x),
            "channels_last in and out": lambda f=function, x=moved: f(x, back=True),
        }
    return cases


def image_quality() -> dict[str, Ways]:
    """One volume, 8 x 320 x 320, float32; against the formulae of fastMRI's evaluate.py, which stay in float32."""
    generator = np.random.default_rng(0)
    target = np.abs(generator.standard_normal((8, 320, 320))).astype(np.float32)
    recon = target + 0.1 * generator.standard_normal(target.shape).astype(np.float32)

    def similarity() -> float:
        pairs = zip(target, recon, strict=True)
        return float(sum(structural_similarity(t, r, data_range=target.max()) for t, r in pairs) / len(target))

    return {
        "nmse": {
            "ours": lambda: metrics.nmse(target, recon),
            "numpy, float32": lambda: np.linalg.norm(target - recon) ** 2 / np.linalg.norm(target) ** 2,
        },
        "psnr": {
            "ours": lambda: metrics.psnr(target, recon),
            "scikit-image": lambda: peak_signal_noise_ratio(target, recon, data_range=target.max()),
        },
        "ssim": {"ours": lambda: metrics.ssim(target, recon), "scikit-image": similarity},
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=15)
    repetitions = parser.parse_args().repetitions
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{timing.machine()}; 1 thread, processor time, median of {repetitions} alternating repetitions\n")
    print("| case | ours, ms | against | times our time |\n|---|---|---|---|")
    with torch.inference_mode():
        for make in (data_steps, encoding, small, layouts, image_quality):
            for case, ways in make().items():
                measured = timing.side_by_side(ways, repetitions, clock=time.process_time)
                first = f"| {case} | {measured.milliseconds['ours']:.3g} "
                for name, ratio in measured.ratios.items():
                    print(f"{first}| {name} | {ratio:.2f} |")
                    first = "| | "


if __name__ == "__main__":
    main()
