"""Checks of k-space: each looks at one convention that breaks reconstructions when it differs.

They take arrays in the conventions of `Acquisition`: complex (slices, coils, ny, nx), zero frequency at ``n // 2``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge import looks_dc_at_corner
from csmri_ext.bridge.conventions import has_peak, image_axis, looks_like_coils, looks_like_spokes
from csmri_ext.bridge.fourier import ifft2c
from csmri_ext.physics import calibration_block, find_echo
from csmri_ext.physics.mask_properties import SMALLEST_BLOCK, holds

NEAR_ZERO = 1e-7  # below this fraction of the largest sample, "not exactly zero" is rounding: float32 has 7 digits
CLEARLY = 2.0  # one side must hold this many times the energy of the other
SMOOTH = 0.8  # correlation of neighbours in an image
FAR = 0.03  # of an axis: echoes of measured data lie a sample or two beside the centre, not further
ONE_SIDED = 0.05  # of an axis: zero padding is alike on both sides but for a few lines
EMPTY = 0.02  # of the energy of the middle half, beyond which the outer half is empty, but for ringing

Level = Literal["OK", "note", "warning", "problem"]

READ_AS_IMAGES = "k-space that was read as images; --domain kspace reads it"


@dataclass(frozen=True)
class Finding:
    """One line of the report: how serious, which convention, what was found."""

    level: Level
    topic: str
    text: str


def check_values(kspace: NDArray[Any]) -> str:
    """Say what makes one slice (coils, ny, nx) unusable: NaN, infinity, nothing but zeros. Empty when nothing does."""
    bad = int(np.count_nonzero(~np.isfinite(kspace)))
    if bad:
        return f"{bad} samples are NaN or infinite"
    return "" if kspace.any() else "every sample is zero"


def check_center(kspace: NDArray[Any], axes: tuple[str, str] = ("y", "x"), *, simulated: bool = False) -> Finding:
    """Find the strongest sample: it should be the zero frequency, at ``(ny // 2, nx // 2)``.

    `simulated`: from images.
    """
    energy = _energy(kspace)
    ny, nx = energy.shape
    if not has_peak(energy):
        if _is_smooth(kspace):
            text = "a complex image, not k-space? --domain image reads it"
            if simulated:
                text = READ_AS_IMAGES
            return Finding("warning", "zero frequency", f"no sample stands out and neighbours are alike: {text}")
        return Finding("warning", "zero frequency", "no sample stands out: noise, or no k-space")
    row, column = (int(i) for i in np.unravel_index(int(energy.argmax()), energy.shape))
    dy, dx = row - ny // 2, column - nx // 2
    if dy == dx == 0:
        return Finding("OK", "zero frequency", f"in the centre ({ny // 2}, {nx // 2})")
    corner_y, corner_x = (row + ny // 2) % ny - ny // 2, (column + nx // 2) % nx - nx // 2
    if (abs(corner_y) <= 1 and abs(corner_x) <= 1) or looks_dc_at_corner(kspace):
        return Finding("problem", "zero frequency", f"at the corner ({row}, {column}): apply fftshift to k-space first")
    if abs(dy) <= 1 and abs(dx) <= 1:
        return Finding(
            "note",
            "zero frequency",
            f"strongest sample at ({row}, {column}), one beside the centre ({ny // 2}, {nx // 2}): common in measured "
            "data, and what exchanging fftshift and ifftshift does to an odd size",
        )
    far = [name for name, shift, n in (("y", dy, ny), ("x", dx, nx)) if abs(shift) > max(2, FAR * n)]
    if not far:
        return Finding(
            "note",
            "zero frequency",
            f"strongest sample at ({row}, {column}), near the centre ({ny // 2}, {nx // 2}): a phase does this",
        )
    if simulated:
        text = f"strongest frequency at ({row}, {column}), far from the centre ({ny // 2}, {nx // 2}): "
        return Finding("warning", "zero frequency", f"{text}a phase of many turns, or {READ_AS_IMAGES}")
    lines = "partial Fourier whose missing lines were cut off instead of filled with zeros"
    echo = "an echo that was not placed, as of partial readouts"
    reasons = {name: echo if _is_readout(axis, name == "y") else lines for name, axis in zip("yx", axes, strict=True)}
    return Finding(
        "warning",
        "zero frequency",
        f"strongest sample at ({row}, {column}), far from the centre ({ny // 2}, {nx // 2}): "
        f"{' and '.join(reasons[name] for name in reversed(far))}, or no k-space; pad with zeros until it is at n // 2",
    )


def _is_smooth(array: NDArray[Any]) -> bool:
    """Whether neighbours along y and x correlate, as in images and never in k-space of more than a point."""
    power = float((np.abs(array).astype(np.float64) ** 2).sum())
    beside = (array[..., 1:, :] * array[..., :-1, :].conj(), array[..., 1:] * array[..., :-1].conj())
    return power > 0 and min(float(products.sum().real) for products in beside) > SMOOTH * power


def _is_readout(axis: str, usually: bool) -> bool:
    """Whether an axis is the readout: by BART's name for it, as in ``y (PHS1)``."""
    return "READ" in axis if "PHS" in axis or "READ" in axis else usually


def check_image_center(kspace: NDArray[Any], *, undersampled: bool) -> Iterator[Finding]:
    """Look whether the object lies in the middle of the image, axis by axis, or is rolled by half the field of view."""
    if undersampled:  # aliasing moves energy about; only the fully sampled centre shows where the object is
        kspace = _central_block(kspace)
    image = _energy(ifft2c(kspace))
    rolled = []
    for name, axis in (("y", 0), ("x", 1)):
        profile = image.sum(axis=1 - axis)
        n = profile.size
        inside = profile[n // 4 : n - n // 4].mean()
        # both ends: one strong coil at one end is no rolled object
        outside = min(profile[: n // 4].mean(), profile[n - n // 4 :].mean()) if n >= 4 else inside
        if outside > CLEARLY * inside:
            rolled.append(name)
    if rolled:
        yield Finding(
            "problem",
            "image centre",
            f"the image is rolled by half the field of view along {' and '.join(rolled)}: k-space lacks the factor "
            "(-1)^k of a centred transform (apply ifftshift to the image before its FFT)",
        )
    else:
        yield Finding("OK", "image centre", "the object lies in the middle of the image")


def check_spokes(kspace: NDArray[Any]) -> Iterator[Finding]:
    """Look whether rows or columns are radial spokes: only read with ``--force``."""
    if looks_like_spokes(kspace[0]):
        yield Finding(
            "problem",
            "trajectory",
            "every row or column has its peak at one place, as spokes have: not a Cartesian grid",
        )


def check_hybrid(kspace: NDArray[Any], axes: tuple[str, str]) -> Iterator[Finding]:
    """Look whether one axis is image space already: data that were transformed along the other one only."""
    axis = image_axis(kspace)
    if axis is not None:
        yield Finding(
            "problem",
            "hybrid space",
            f"{axes[axis]} looks like an image already and {axes[1 - axis]} like k-space: apply a centred FFT along "
            f"{axes[axis]} first",
        )


def check_readout(
    kspace: NDArray[Any], axes: tuple[str, str], *, simulated: bool, mask: NDArray[np.bool_] | None
) -> Iterator[Finding]:
    """Look whether x is an oversampled readout: then the object fills only half of it, and y is the phase encoding."""
    if simulated or mask is not None:
        return
    ny, nx = kspace.shape[-2:]
    profile = _energy(ifft2c(kspace)).sum(axis=0)
    inside = float(profile[nx // 4 : nx - nx // 4].sum())
    outside = float(profile.sum()) - inside
    if outside < EMPTY * inside and nx >= 1.2 * ny:  # a small object in a square field of view is no oversampling
        yield Finding(
            "warning",
            "phase encoding",
            f"the object fills only the middle half of {axes[1]}, as along an oversampled readout, and masks "
            f"undersample x: --phase-encoding y if {axes[0]} is the phase encoding",
        )
    elif "READ" in axes[1]:
        yield Finding(
            "note",
            "phase encoding",
            f"masks undersample {axes[1]}; --phase-encoding y undersamples {axes[0]} instead",
        )


def check_sampling(
    mask: NDArray[np.bool_] | None,
    axes: tuple[str, str] = ("y", "x"),
    coverage: NDArray[np.bool_] | None = None,
    kspace: NDArray[Any] | None = None,
) -> Iterator[Finding]:
    """Describe the sampling: along which axis, what fraction, how wide the fully sampled centre is.

    It lies around the strongest sample of each slice of `kspace`; None: around the middle.
    """
    if mask is None:
        part = (
            f" on a part without holes, {100 * float(coverage.mean()):.0f} % of k-space" if coverage is not None else ""
        )
        yield Finding("OK", "sampling", f"fully sampled{part}")
        return
    fraction = float(mask.mean())
    extent = f"{100 * fraction:.1f} % of k-space, acceleration {1 / fraction:.2f}"
    if mask.ndim == 1:
        yield Finding("OK", "sampling", f"columns along x (nx = {mask.size}): {extent}")
        yield _calibration(mask, kspace)
        return
    rows_only = bool((mask == mask[:, :1]).all())
    if rows_only:
        yield Finding(
            "problem",
            "sampling",
            f"whole rows are missing along {axes[0]}: {extent}. Undersampling runs along x here, {axes[1]}: "
            "--phase-encoding y makes y the undersampled axis (transpose the slices)",
        )
        return
    yield Finding("OK", "sampling", f"two-dimensional pattern: {extent}")
    yield _calibration(mask, kspace)


def check_mask(mask: NDArray[np.bool_] | None) -> Iterator[Finding]:
    """Look whether the mask, not the data, has its centre at index 0."""
    if mask is not None and looks_dc_at_corner(mask):
        yield Finding("warning", "mask", "densest at index 0, not in the centre: apply fftshift to it, or to the data")


def _calibration(mask: NDArray[np.bool_], kspace: NDArray[Any] | None) -> Finding:
    """Describe the block that sensitivities would be estimated from: of several slices, the one that is worst off."""
    middle = mask.shape[0] // 2 if mask.ndim == 2 else 0, mask.shape[-1] // 2
    echoes = [middle] if kspace is None else [find_echo(np.where(mask, one, 0)) for one in kspace]
    blocks = [(calibration_block(mask, echo), echo) for echo in dict.fromkeys(echoes)]
    return _of_block(mask, *min(blocks, key=lambda found: _goodness(*found)))


def _goodness(block: tuple[slice, ...], echo: tuple[int, int]) -> tuple[bool, bool, int]:
    """Whether a block has the samples that are needed, whether it has the echo, and its shorter side."""
    side = min(_sides(block))
    return side >= SMALLEST_BLOCK, holds(block, echo), side


def _of_block(mask: NDArray[np.bool_], block: tuple[slice, ...], echo: tuple[int, int]) -> Finding:
    sides, at = _sides(block), echo[-mask.ndim :]
    extent = count(sides[0], "column") if mask.ndim == 1 else " x ".join(map(str, sides))
    if min(sides) < SMALLEST_BLOCK:
        return Finding(
            "note",
            "calibration",
            f"fully sampled centre of only {extent}: too small to estimate coil sensitivities from it; --sens-maps "
            "FILE gives them",
        )
    place = f"row {echo[0]}, column {echo[1]}" if mask.ndim == 2 else f"column {echo[1]}"
    if not holds(block, echo):
        return Finding(
            "note",
            "calibration",
            f"fully sampled centre of {extent}, and the echo, at {place}, is not in it: coil sensitivities are "
            "estimated without it; --sens-maps FILE gives better ones",
        )
    beside = [abs(own - n // 2) > 1 for own, n in zip(at, mask.shape, strict=True)]
    where = f" around the echo at {place}" if any(beside) else ""
    return Finding("OK", "calibration", f"fully sampled centre of {extent}{where}")


def _sides(block: tuple[slice, ...]) -> list[int]:
    return [one.stop - one.start for one in block]


def check_padding(kspace: NDArray[Any], mask: NDArray[np.bool_] | None) -> Iterator[Finding]:
    """Find empty rows or columns at the border: zero padding that is neither measured nor undersampled."""
    acquired = (kspace != 0).any(axis=(0, 1))
    for name, axis in (("rows", 0), ("columns", 1)):
        lines = np.flatnonzero(acquired.any(axis=1 - axis))
        before, after = int(lines[0]), int(acquired.shape[axis] - 1 - lines[-1])
        gap = 1 if mask is None else _largest_gap(lines)
        if max(before, after) < max(gap, 2):
            continue
        n = acquired.shape[axis]
        text = f"{before} empty {name} before and {after} after the samples: "
        if mask is not None or max(abs(before - after) / n, (before + after) / n - 0.5) <= ONE_SIDED:
            yield Finding("note", "padding", text + "zero padding")
        elif abs(before - after) > ONE_SIDED * n:
            what = "partial Fourier" if axis == 1 else "a partial echo"
            yield Finding("warning", "padding", f"{text}{what}, and the reference images lack these {name}, too")
        else:
            yield Finding("warning", "padding", f"{text}images have the resolution of {n - before - after} {name}")


def check_scale(kspace: NDArray[Any]) -> Finding:
    """State the scale: the largest sample and the largest pixel of an orthonormal transform."""
    largest = float(np.abs(kspace).max())
    pixel = float(np.sqrt(_energy(ifft2c(kspace)).max() / kspace.shape[0]))
    text = f"largest sample {largest:.3g}, largest pixel about {pixel:.3g} (orthonormal FFT)"
    if not 1e-18 < pixel < 1e18:
        return Finding("problem", "scale", text + ": squares leave the range of float32; rescale the data")
    return Finding("OK", "scale", text)


def check_zeros(kspace: NDArray[Any]) -> Iterator[Finding]:
    """Look for zeros that are none: rounding where nothing was acquired, and zeros with a minus sign."""
    magnitude = np.abs(kspace)
    rounding = (magnitude > 0) & (magnitude < NEAR_ZERO * magnitude.max())
    share = float(rounding.mean())
    if share > 0.05:
        yield Finding(
            "problem",
            "zeros",
            f"{100 * share:.0f} % of the samples are tiny but not zero: programs that find the sampling from zeros, "
            "BART among them, take them as acquired. Set them to exactly zero",
        )
    zero = magnitude == 0
    negative = zero & (np.signbit(kspace.real) | np.signbit(kspace.imag))
    if negative.any():
        yield Finding(
            "note",
            "zeros",
            f"{int(negative.sum())} zeros are -0.0, as a product with a mask leaves them: equal to 0, "
            "but not the same bytes",
        )


def check_coils(kspace: NDArray[Any]) -> Iterator[Finding]:
    """Look whether coils see one object, and compare their energy: a dead or overwhelming one harms estimates."""
    if kspace.shape[1] == 1:
        return
    energy = (np.abs(kspace).astype(np.float64) ** 2).sum(axis=(0, 2, 3))
    if looks_like_coils(kspace[0]) is False:
        text = (
            f"the {energy.size} coils look like images of different slices or frames, which would be mixed: say --axes"
        )
        yield Finding("warning", "coils", text)
    dead = np.flatnonzero(energy < 1e-6 * np.median(energy))
    if dead.size:
        yield Finding("note", "coils", f"no signal in coil {', '.join(str(i) for i in dead)}")
    else:
        yield Finding(
            "OK",
            "coils",
            f"{energy.size} coils, strongest {energy.max() / energy.min():.1f} times the weakest (energy)",
        )


def _energy(array: NDArray[Any]) -> NDArray[np.float64]:
    """``sum |array|^2`` over slices and coils: float64 (ny, nx)."""
    return (np.abs(array).astype(np.float64) ** 2).sum(axis=(0, 1))


def _central_block(kspace: NDArray[Any]) -> NDArray[Any]:
    """Keep the fully sampled centre and set the rest to zero."""
    acquired = (kspace != 0).any(axis=(0, 1))
    block = np.zeros_like(kspace)
    rows, columns = (slice(0, 1), *calibration_block(acquired, find_echo(kspace)))[-2:]
    block[..., rows, columns] = kspace[..., rows, columns]
    return block


def _largest_gap(lines: NDArray[np.intp]) -> int:
    return int(np.diff(lines).max()) if lines.size > 1 else 1


def count(number: int, noun: str) -> str:
    """Write a number with its noun in the singular or plural."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
