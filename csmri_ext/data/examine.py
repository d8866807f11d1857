"""What is unusual about a file: every check of `checks` on one volume, as findings in reading order.

`csmri doctor FILE` prints them all; recon, compare and train print the serious ones, one line each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge import Acquisition, FileFormatError, reading
from csmri_ext.bridge.bart_files.dims import BART_NAMES
from csmri_ext.data.checks import (
    Finding,
    check_center,
    check_coils,
    check_hybrid,
    check_image_center,
    check_mask,
    check_padding,
    check_readout,
    check_sampling,
    check_scale,
    check_spokes,
    check_values,
    check_zeros,
    count,
)

MANY_SLICES = 5  # slices that the checks of content look at, spread over the volume
SERIOUS = ("warning", "problem")


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
    if "axes" in acquisition.attrs:
        yield Finding("OK", "read as", reading(acquisition))
    for text in acquisition.attrs.get("warnings", []):
        yield Finding("warning", "reading", text)
    try:
        for index in range(acquisition.n_slices):
            bad = check_values(np.asarray(acquisition.kspace[index]))
            if bad:
                yield Finding("problem", "values", f"slice {index}: {bad}")
                return
    except FileFormatError as error:
        yield Finding("problem", "values", str(error))
        return
    yield Finding("OK", "values", f"{count(acquisition.n_slices, 'slice')}: finite, none all zero")
    chosen = sorted({round(i) for i in np.linspace(0, acquisition.n_slices - 1, MANY_SLICES + 2)[1:-1]})
    yield from _content(acquisition, chosen)
    yield from check_description(acquisition)


def serious(acquisition: Acquisition, index: int | None = None) -> list[str]:
    """Say what a user should hear before a reconstruction, from one slice: a line for each finding.

    Parameters
    ----------
    acquisition
        From `bridge.load`.
    index
        The slice to look at; default the middle one. One that cannot be used says nothing here: whoever reads it will.
    """
    lines = [f"reading: {text}" for text in acquisition.attrs.get("warnings", [])]
    try:
        findings = list(_content(acquisition, [acquisition.n_slices // 2 if index is None else index]))
    except FileFormatError:
        return lines
    return lines + [f"{finding.topic}: {finding.text}" for finding in findings if finding.level in SERIOUS]


def _content(acquisition: Acquisition, chosen: Sequence[int]) -> Iterator[Finding]:
    """Check what the samples of some slices say."""
    kspace = np.stack([np.asarray(acquisition.kspace[i]) for i in chosen])
    if check_values(kspace):
        return
    mask, dims = acquisition.mask, acquisition.attrs.get("image_dims")
    axes = ("y", "x") if dims is None else (f"y ({BART_NAMES[dims[0]]})", f"x ({BART_NAMES[dims[1]]})")
    simulated = bool(acquisition.attrs.get("simulated"))
    not_kspace = list(check_spokes(kspace)) or list(check_hybrid(kspace, axes))
    yield from not_kspace
    if not not_kspace:
        yield check_center(kspace, axes, simulated=simulated)
        yield from check_image_center(kspace, undersampled=mask is not None)
        yield from check_readout(kspace, axes, simulated=simulated, mask=mask)
    yield from check_sampling(mask, axes, acquisition.attrs.get("coverage"), kspace)
    yield from check_mask(mask)
    yield from check_padding(kspace, mask)
    yield check_scale(kspace)
    if not not_kspace:
        yield from check_zeros(kspace)
    yield from check_coils(kspace)


def bart_dimensions(dims: Sequence[int]) -> str:
    """Name the BART dimensions larger than one: ``READ 180, PHS1 230, COIL 8``."""
    return ", ".join(f"{name} {size}" for name, size in zip(BART_NAMES, dims, strict=False) if size > 1) or "one number"


def layout(acquisition: Acquisition) -> str:
    """Extents in words: ``3 slices, 8 coils, ny x nx = 320 x 368``."""
    ny, nx = acquisition.matrix_size
    text = f"{count(acquisition.n_slices, 'slice')}, {count(acquisition.n_coils, 'coil')}, ny x nx = {ny} x {nx}"
    if acquisition.target is not None:
        h, w = acquisition.target.shape[1:]
        text += f", reference images {h} x {w}"
    return text + (", with sensitivity maps" if acquisition.sens_maps is not None else "")


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
