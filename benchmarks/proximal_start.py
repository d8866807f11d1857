"""What mu of the proximal steps should be, and what removing the smooth phase is worth: phantoms with eight coils.

    python -m benchmarks.proximal_start [--seeds N] [--size N]

nasn_magnitude with its shipped weights, which were trained on one coil and know neither. "by noise" is the default,
mu by the noise that is found in each slice. PSNR of the magnitude, against the noiseless images combined by the same
sensitivities, in dB: for mu relative to gradient steps of size 1, for the phase as it is. Sensitivities are the true
ones, and those estimated from the undersampled data.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

from csmri_ext import models
from csmri_ext.metrics import psnr
from csmri_ext.nn import ProximalSteps, Reconstructor
from csmri_ext.phantom import coil_maps, phantom
from csmri_ext.physics import Encoding, estimate_sens_maps, fft2c, make_mask

COILS = 8
FIRST_SEED = 9000  # apart from those of the weights' training
NOISES = (0.002, 0.005, 0.01, 0.02)
MUS = (None, 0.01, 0.03, 0.05, 0.1, 0.2, 0.3)
MASKS = (("random", 4, False), ("equispaced", 4, False), ("equispaced", 8, False), ("radial_golden", 8, True))
SHIFTS = ((0, 0), (0, 3), (2, 5))


class GradientSteps(ProximalSteps):
    """What ProximalSteps replaces."""

    def forward(self, encoding: Encoding, image: Tensor, k: int) -> Tensor:  # noqa: ARG002
        """Take a step of size 1."""
        return encoding.step(image, 1.0)


class Case(NamedTuple):
    """Undersampled data of one phantom."""

    group: tuple[str, float]
    kspace: Tensor
    mask: Tensor
    sens_maps: Tensor
    target: Tensor


def cases(size: int, seeds: int, noises: tuple[float, ...], shift: tuple[int, int] = (0, 0)) -> Iterator[Case]:
    """Phantoms, heads and bodies in turn, with the echo shifted by some samples."""
    position = torch.arange(size) - size // 2
    turns = (shift[0] * position[:, None] + shift[1] * position) / size
    ramp = torch.polar(torch.ones_like(turns), 2 * math.pi * turns)
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        anatomy = ("brain", "body")[seed % 2]
        clean = ramp * torch.from_numpy(phantom(size, seed, n_coils=COILS, noise=0, anatomy=anatomy))
        true = torch.from_numpy(coil_maps(size, COILS, seed, anatomy=anatomy))
        random = torch.randn(COILS, size, size, 2, generator=torch.Generator().manual_seed(seed))
        for noise in noises:
            measured = fft2c(clean + noise * torch.view_as_complex(random))
            for kind, acceleration, plane in MASKS:
                mask = make_mask(kind, (size, size) if plane else (size,), acceleration, seed=seed)
                for name, maps in (("true", true), ("estimated", estimate_sens_maps(measured * mask, mask))):
                    yield Case((name, noise), measured * mask, mask, maps, (maps.conj() * clean).sum(0).abs())


@torch.inference_mode()
def quality(model: Reconstructor, case: Case) -> float:
    """PSNR of one image."""
    image = model(case.kspace[None], case.mask, case.sens_maps[None])[0].abs()
    return float(psnr(case.target.numpy(), image.numpy()))


def measure_mu(model: Reconstructor, size: int, seeds: int) -> None:
    """Print one line per mu, one column per kind of maps and noise."""
    drawn = list(cases(size, seeds, NOISES))
    groups = sorted({case.group for case in drawn})
    before, model.data_steps = model.data_steps, GradientSteps(len(model.reconstructions))
    gradient = [quality(model, case) for case in drawn]
    print("gradient steps, dB   " + "  ".join(f"{name} {noise:g}" for name, noise in groups))

    def line(values: list[float]) -> str:
        means = [fmean(v for v, case in zip(values, drawn, strict=True) if case.group == group) for group in groups]
        return "".join(f"{mean:+9.2f}" for mean in means) + f"   mean {fmean(values):+.2f}"

    print(f"{'':8}{line(gradient)}")
    for mu in MUS:
        model.data_steps = ProximalSteps(len(model.reconstructions), mu)
        label = "by noise" if mu is None else f"mu {mu:<5}"
        print(f"{label}{line([quality(model, c) - g for c, g in zip(drawn, gradient, strict=True)])}", flush=True)
    model.data_steps = before


def measure_phase(model: Reconstructor, size: int, seeds: int) -> None:
    """Print what a shifted echo costs with and without the phase."""
    print("echo shifted by   phase kept   removed, dB")
    for shift in SHIFTS:
        drawn = list(cases(size, seeds, (0.005,), shift))
        means = []
        for model.remove_phase in (False, True):
            means.append(fmean(quality(model, case) for case in drawn))
        print(f"{shift!s:16}{means[0]:12.2f}{means[1]:10.2f}", flush=True)


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4, help="number of phantoms")
    parser.add_argument("--size", type=int, default=160, help="pixels along each side")
    arguments = parser.parse_args()
    model = models.create("nasn_magnitude", pretrained=True).eval()
    measure_mu(model, arguments.size, arguments.seeds)
    measure_phase(model, arguments.size, arguments.seeds)


if __name__ == "__main__":
    main()
