"""What is unusual about k-space: each check looks at one convention that breaks reconstructions when it differs.

The checks take arrays in the conventions of `Acquisition`; `csmri doctor FILE` prints what they find.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge import Acquisition, FileFormatError
from csmri_ext.bridge.bart_files.dims import BART_NAMES
from csmri_ext.bridge.fourier import ifft2c
from csmri_ext.physics import calibration_block

MANY_SLICES = 5  # slices that the checks of content look at, spread over the volume
NEAR_ZERO = 1e-7  # below this fraction of the largest sample, "not exactly zero" is rounding: float32 has 7 digits
CLEARLY = 2.0  # one side must hold this many times the energy of the other

Level = Literal["OK", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the report: how serious, which convention, what was found."""

    level: Level
    topic: str
    text: str


def examine(acquisition: Acquisition) -> Iterator[Finding]:
    """Run every check on one volume, slice by slice.

    Parameters
    ----------
    acquisition
        From `bridge.load`.

    Yields
    ------
        Findings in reading order; the first problem with the samples themselves ends the examination.
    """
    yield Finding("OK", "format", str(acquisition.attrs.get("format", "unknown")))
    if "dims" in acquisition.attrs:
        yield Finding("OK", "BART dims", bart_dimensions(acquisition.attrs["dims"]))
    yield Finding("OK", "layout", layout(acquisition))
    try:
        for index in range(acquisition.n_slices):
            bad = check_values(np.asarray(acquisition.kspace[index]))
            if bad:
                yield Finding("problem", "values", f"slice {index}: {bad}")
                return
    except FileFormatError as error:
        yield Finding("problem", "values", str(error))
        return
    yield Finding("OK", "values", f"{_count(acquisition.n_slices, 'slice')}: finite, none all zero")
    chosen = sorted({round(i) for i in np.linspace(0, acquisition.n_slices - 1, MANY_SLICES + 2)[1:-1]})
    kspace = np.stack([np.asarray(acquisition.kspace[i]) for i in chosen])
    yield check_center(kspace)
    yield from check_image_center(kspace, undersampled=acquisition.mask is not None)
    yield from check_sampling(acquisition.mask)
    yield from check_padding(kspace, acquisition.mask)
    yield check_scale(kspace)
    yield from check_zeros(kspace)
    yield from check_coils(kspace)
    yield from check_description(acquisition)


def bart_dimensions(dims: Sequence[int]) -> str:
    """Name the BART dimensions larger than one: ``READ 180, PHS1 230, COIL 8``."""
    return ", ".join(f"{name} {size}" for name, size in zip(BART_NAMES, dims, strict=False) if size > 1) or "one number"


def layout(acquisition: Acquisition) -> str:
    """Extents in words: ``3 slices, 8 coils, ny x nx = 320 x 368``."""
    ny, nx = acquisition.matrix_size
    text = f"{_count(acquisition.n_slices, 'slice')}, {_count(acquisition.n_coils, 'coil')}, ny x nx = {ny} x {nx}"
    if acquisition.target is not None:
        h, w = acquisition.target.shape[1:]
        text += f", reference images {h} x {w}"
    return text + (", with sensitivity maps" if acquisition.sens_maps is not None else "")


def check_values(kspace: NDArray[Any]) -> str:
    """Say what makes one slice (coils, ny, nx) unusable: NaN, infinity, nothing but zeros. Empty when nothing does."""
    bad = int(np.count_nonzero(~np.isfinite(kspace)))
    if bad:
        return f"{bad} samples are NaN or infinite"
    return "" if kspace.any() else "every sample is zero"


def check_center(kspace: NDArray[Any]) -> Finding:
    """Find the strongest sample: it should be the zero frequency, at ``(ny // 2, nx // 2)``."""
    energy = _energy(kspace)
    ny, nx = energy.shape
    row, column = (int(i) for i in np.unravel_index(int(energy.argmax()), energy.shape))
    dy, dx = row - ny // 2, column - nx // 2
    if dy == dx == 0:
        return Finding("OK", "zero frequency", f"in the centre ({ny // 2}, {nx // 2})")
    corner_y, corner_x = (row + ny // 2) % ny - ny // 2, (column + nx // 2) % nx - nx // 2
    if abs(corner_y) <= 1 and abs(corner_x) <= 1:
        return Finding("problem", "zero frequency", f"at the corner ({row}, {column}): apply fftshift to k-space first")
    if abs(dy) <= 1 and abs(dx) <= 1:
        return Finding(
            "note",
            "zero frequency",
            f"strongest sample at ({row}, {column}), one beside the centre ({ny // 2}, {nx // 2}): common in measured "
            "data, and what exchanging fftshift and ifftshift does to an odd size",
        )
    return Finding(
        "note",
        "zero frequency",
        f"strongest sample at ({row}, {column}), not at the centre ({ny // 2}, {nx // 2}): asymmetric echo, "
        "or no k-space",
    )


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
        outside = np.concatenate([profile[: n // 4], profile[n - n // 4 :]]).mean() if n >= 4 else inside
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


def check_sampling(mask: NDArray[np.bool_] | None) -> Iterator[Finding]:
    """Describe the sampling: along which axis, what fraction, how wide the fully sampled centre is."""
    if mask is None:
        yield Finding("OK", "sampling", "fully sampled")
        return
    fraction = float(mask.mean())
    extent = f"{100 * fraction:.1f} % of k-space, acceleration {1 / fraction:.2f}"
    if mask.ndim == 1:
        yield Finding("OK", "sampling", f"columns along x (nx = {mask.size}): {extent}")
        (columns,) = calibration_block(mask)
        yield _calibration(f"{columns.stop - columns.start} columns", columns.stop - columns.start)
        return
    rows_only = bool((mask == mask[:, :1]).all())
    if rows_only:
        yield Finding(
            "problem",
            "sampling",
            f"whole rows are missing along y: {extent}. Undersampling runs along x, the last axis, here: "
            "transpose the slices",
        )
        return
    yield Finding("OK", "sampling", f"two-dimensional pattern: {extent}")
    height, width = (block.stop - block.start for block in calibration_block(mask))
    yield _calibration(f"{height} x {width}", min(height, width))


def _calibration(extent: str, width: int) -> Finding:
    if width >= 4:
        return Finding("OK", "calibration", f"fully sampled centre of {extent}")
    return Finding(
        "note",
        "calibration",
        f"fully sampled centre of only {extent}: too small to estimate coil sensitivities from it",
    )


def check_padding(kspace: NDArray[Any], mask: NDArray[np.bool_] | None) -> Iterator[Finding]:
    """Find empty rows or columns at the border: zero padding that is neither measured nor undersampled."""
    acquired = (kspace != 0).any(axis=(0, 1))
    for name, axis in (("rows", 0), ("columns", 1)):
        lines = np.flatnonzero(acquired.any(axis=1 - axis))
        before, after = int(lines[0]), int(acquired.shape[axis] - 1 - lines[-1])
        gap = 1 if mask is None else _largest_gap(lines)
        if max(before, after) >= max(gap, 2):
            yield Finding(
                "note", "padding", f"{before} empty {name} before and {after} after the samples: zero padding"
            )


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
    """Compare the energy of the coils: a dead or overwhelming one harms sensitivity estimates."""
    if kspace.shape[1] == 1:
        return
    energy = (np.abs(kspace).astype(np.float64) ** 2).sum(axis=(0, 2, 3))
    dead = np.flatnonzero(energy < 1e-6 * np.median(energy))
    if dead.size:
        yield Finding("note", "coils", f"no signal in coil {', '.join(str(i) for i in dead)}")
    else:
        yield Finding(
            "OK",
            "coils",
            f"{energy.size} coils, strongest {energy.max() / energy.min():.1f} times the weakest (energy)",
        )


def check_description(acquisition: Acquisition) -> Iterator[Finding]:
    """Report what the file says about itself: simulated k-space, orientation, crop."""
    attrs = acquisition.attrs
    if attrs.get("note"):
        yield Finding("note", "origin", str(attrs["note"]))
    if attrs.get("affine") is not None:
        yield Finding("OK", "orientation", orientation(np.asarray(attrs["affine"], dtype=float)))
    size = attrs.get("recon_size")
    if size is not None and tuple(size) != acquisition.matrix_size:
        yield Finding("OK", "crop", f"images are cropped to {size[0]} x {size[1]}")


def orientation(affine: NDArray[np.float64]) -> str:
    """Name the anatomical direction of each voxel axis of a NIfTI affine, and the voxel size in millimetres.

    ``RAS`` means that the first axis runs to the patient's right, the second to anterior, the third to superior.
    """
    axes = affine[:3, :3]
    size = np.sqrt((axes**2).sum(axis=0))
    if not (size > 0).all():
        return "the affine is singular: orientation unknown"
    cosines = axes / size
    letters = [
        ("LR", "PA", "IS")[int(abs(column).argmax())][int(column[abs(column).argmax()] > 0)] for column in cosines.T
    ]
    oblique = float(abs(cosines).max(axis=0).min()) < 0.99
    text = f"axes run to {''.join(letters)}, voxel {' x '.join(f'{mm:.3g}' for mm in size)} mm"
    return text + (", oblique" if oblique else "")


def _energy(array: NDArray[Any]) -> NDArray[np.float64]:
    """``sum |array|^2`` over slices and coils: float64 (ny, nx)."""
    return (np.abs(array).astype(np.float64) ** 2).sum(axis=(0, 1))


def _central_block(kspace: NDArray[Any]) -> NDArray[Any]:
    """Keep the fully sampled centre and set the rest to zero."""
    acquired = (kspace != 0).any(axis=(0, 1))
    block = np.zeros_like(kspace)
    rows, columns = calibration_block(acquired)
    block[..., rows, columns] = kspace[..., rows, columns]
    return block


def _largest_gap(lines: NDArray[np.intp]) -> int:
    return int(np.diff(lines).max()) if lines.size > 1 else 1


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
