"""From an image to what a scanner would measure of it: coils, phase, echo shift, noise, mask, and calibrated maps."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from csmri_ext.phantom.coil_maps import loop_sensitivities
from csmri_ext.physics import estimate_sens_maps, fft2c, ifft2c, rss
from csmri_ext.progress import note_once

TARGETS = ("combined", "rss")
_FIELD_OF_VIEW_MM = 232.0  # of the longer side of an image, times what is drawn below; the coils stand around a head
_WAVES = 6  # of a random phase


class Sample(NamedTuple):
    """One slice, or a batch of equal sizes with a leading axis.

    Attributes
    ----------
    kspace
        complex64 (ny, nx), or (coils, ny, nx); zero where nothing was acquired.
    mask
        bool (ny, nx).
    target
        complex64 (ny, nx), the image.
    sens_maps
        complex64 (coils, ny, nx); None for k-space without a coil axis.
    """

    kspace: Tensor
    mask: Tensor
    target: Tensor
    sens_maps: Tensor | None = None


@dataclass(frozen=True)
class Measurement:
    """How images become data. By default as in both papers: one coil, no phase but the image's own, no noise added.

    Attributes
    ----------
    coils
        Numbers of coils; each batch draws one. 1: k-space without a coil axis.
    true_maps
        Probability that a slice of several coils comes with its true sensitivities. Otherwise they are estimated from
        the fully sampled centre of the undersampled data, as when a measured file is reconstructed
        (`physics.estimate_sens_maps`); where that centre is too small, the true ones serve.
    cropped_maps
        Probability that estimated sensitivities are 0 in air, as those of BART's ecalib; the target is too, there.
    phase
        Probability of a random smooth phase: a constant and a few waves of at most about one period over the image.
    echo_shift
        Largest distance of the echo from the centre of k-space, in samples along either axis; half of the slices have
        one, which is a phase that rises linearly.
    noise
        Smallest and largest standard deviation in real and imaginary part of every coil, relative to the brightest
        pixel; drawn log-uniformly. 0: none. Images that are measured coil by coil get none on top of their own.
    target
        What the network shall learn: ``combined``, the complex image ``sum_c conj(S_c) x_c`` of the coil images x_c
        without noise, by the maps S that the network is given; or ``rss``, ``sqrt(sum_c |x_c|^2)`` with the phase of
        the combined image, which is the reference of fastMRI's files. The same for one coil.
    """

    coils: tuple[int, ...] = (1,)
    true_maps: float = 0.2
    cropped_maps: float = 0.0
    phase: float = 0.0
    echo_shift: float = 0.0
    noise: tuple[float, float] = (0.0, 0.0)
    target: str = "combined"

    @classmethod
    def of(cls, settings: Any) -> Measurement:
        """Take what `settings` has under the same names, as a `csmri_ext.training.Recipe` has."""
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})

    def __post_init__(self) -> None:
        if not self.coils or min(self.coils) < 1:
            raise ValueError(f"coils {', '.join(map(str, self.coils))}: expected at least one number of at least 1")
        low, high = self.noise
        if not 0 <= low <= high < math.inf or not 0 <= self.echo_shift < math.inf:
            raise ValueError(
                f"noise {low:g} to {high:g}, echo shift {self.echo_shift:g}: expected 0 or more, in rising order"
            )
        shares = {"phase": self.phase, "true maps": self.true_maps, "cropped maps": self.cropped_maps}
        if not all(0 <= share <= 1 for share in shares.values()):
            told = ", ".join(f"{name} {share:g}" for name, share in shares.items())
            raise ValueError(f"{told}: expected probabilities of 0 to 1")
        if self.target not in TARGETS:
            raise ValueError(f"target is {self.target!r}, expected {' or '.join(TARGETS)}")

    def __call__(
        self,
        image: NDArray[np.complex64],
        mask: Tensor,
        n_coils: int,
        rng: np.random.Generator,
        rows: int | None = None,
    ) -> Sample:
        """Measure one image.

        Parameters
        ----------
        image
            complex64, (ny, nx), or (coils, ny, nx) of fully sampled coil images; maximum magnitude about 1.
        mask
            bool (ny, nx).
        n_coils
            Number of coils for an image without a coil axis.
        rng
            Source of the random numbers.
        rows
            Keep a strip of so many rows only. A mask of whole columns mixes pixels of one row, so a strip is an exact
            problem of its own, with the maps of the whole; for other masks it is none.
        """
        image = self._with_phase(image, rng)
        if image.ndim == 2 and n_coils == 1:
            coil_images, maps = torch.from_numpy(image)[None], None
        elif image.ndim == 2:
            maps = torch.from_numpy(_random_maps(image.shape, n_coils, rng))
            coil_images = maps * torch.from_numpy(image)
        else:
            coil_images = torch.from_numpy(np.ascontiguousarray(image))
            maps = estimate_sens_maps(fft2c(coil_images), cropped=False)
        kspace = fft2c(coil_images)
        if image.ndim == 2 and self.noise[1] > 0:
            kspace = kspace + self._noise(tuple(kspace.shape), rng)
        kspace = kspace * mask
        if maps is not None and rng.random() >= self.true_maps:
            maps = _estimated(kspace, mask, maps, cropped=rng.random() < self.cropped_maps)
        target = coil_images[0] if maps is None else (maps.conj() * coil_images).sum(0)
        if maps is not None and self.target == "rss":
            target = rss(coil_images) * target.sgn()
        if rows is not None and rows < target.shape[0]:
            kept = _strip(target, rows, rng)
            kspace = fft2c(ifft2c(kspace)[..., kept, :]) * mask[kept]
            mask, target = mask[kept], target[kept].contiguous()
            maps = None if maps is None else maps[:, kept].contiguous()
        return Sample(kspace[0] if maps is None else kspace, mask, target, maps)

    def _with_phase(self, image: NDArray[np.complex64], rng: np.random.Generator) -> NDArray[np.complex64]:
        """Multiply by ``exp(i phi)``, a smooth phase phi with the ramp of a shifted echo."""
        smooth, shifted = rng.random() < self.phase, rng.random() < 0.5 and self.echo_shift > 0
        if not smooth and not shifted:
            return image
        y, x = ((np.arange(n) - n // 2) / np.float32(n) for n in image.shape[-2:])
        phi = np.full(image.shape[-2:], rng.uniform(0, 2 * np.pi), np.float32)
        if smooth:
            strength = rng.uniform(0.2, 2.0)
            for _ in range(_WAVES):
                fy, fx = rng.normal(0, 0.7, 2)
                along = np.exp(2j * np.pi * fy * y), np.exp(2j * np.pi * (fx * x + rng.random()))
                phi += (strength * np.outer(*along).real).astype(np.float32)
        if shifted:
            dy, dx = 2 * np.pi * rng.uniform(-self.echo_shift, self.echo_shift, 2)
            phi += np.add.outer(dy * y, dx * x).astype(np.float32)
        return image * np.exp(1j * phi).astype(np.complex64)

    def _noise(self, shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
        low, high = (math.log(max(value, 1e-6)) for value in self.noise)
        parts = rng.standard_normal((*shape, 2), np.float32) * np.float32(math.exp(rng.uniform(low, high)))
        return torch.view_as_complex(torch.from_numpy(parts))


def stacked(samples: list[Sample]) -> Sample:
    """Make a batch of samples of one shape and one number of coils, each with a leading axis."""
    kspace, mask, target, maps = zip(*samples, strict=True)
    return Sample(
        torch.stack(kspace), torch.stack(mask), torch.stack(target), None if maps[0] is None else torch.stack(maps)
    )


def _random_maps(shape: tuple[int, ...], n_coils: int, rng: np.random.Generator) -> NDArray[np.complex64]:
    """Sensitivities of a random ring of loops around the middle of an image, root sum of squares 1."""
    pixel = _FIELD_OF_VIEW_MM * rng.uniform(0.85, 1.25) / max(shape)
    y, x = (((np.arange(n) - n // 2) * pixel).astype(np.float32) for n in shape)
    return loop_sensitivities(y, x, n_coils, int(rng.integers(2**31)))


def _estimated(kspace: Tensor, mask: Tensor, otherwise: Tensor, *, cropped: bool) -> Tensor:
    try:
        return estimate_sens_maps(kspace, mask, cropped=cropped, told=_note_outside)
    except ValueError as error:  # too few lines in the centre, which a drawn mask may have
        note_once(f"where sensitivities cannot be estimated, the true ones serve: {error}", "true sensitivities")
        return otherwise


def _note_outside(text: str) -> None:
    note_once(text, "echo outside")


def _strip(target: Tensor, rows: int, rng: np.random.Generator) -> slice:
    """Choose rows at random; a place with less than a quarter of the mean signal is drawn again, a few times."""
    strengths = target.abs().mean(1)
    for _ in range(5):
        first = int(rng.integers(target.shape[0] - rows + 1))
        if strengths[first : first + rows].mean() >= 0.25 * strengths.mean():
            break
    return slice(first, first + rows)
