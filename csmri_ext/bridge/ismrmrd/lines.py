"""Which acquisitions of ISMRMRD raw data are lines of the image; what becomes of the others and of repeated ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.ismrmrd.header import IsmrmrdHeader
from csmri_ext.bridge.reading import note
from csmri_ext.bridge.slice_checks import format_errors

KIND = "ISMRMRD raw"
FRAME_COUNTERS = ("repetition", "phase", "contrast", "set")

_NOT_IMAGING = {
    "NOISE_MEASUREMENT": "noise",
    "NAVIGATION_DATA": "navigator",
    "PHASECORR_DATA": "phase correction",
    "DUMMYSCAN_DATA": "dummy",
    "HPFEEDBACK_DATA": "feedback",
    "RTFEEDBACK_DATA": "feedback",
    "SURFACECOILCORRECTIONSCAN_DATA": "coil correction",
    "PHASE_STABILIZATION": "phase stabilization",
    "PHASE_STABILIZATION_REFERENCE": "phase stabilization",
}
_FEW = 8  # repeated lines whose likeness is looked at, those nearest to the centre
_ALIKE = 0.25  # of the energy: what two measurements of one line near the centre may differ by, noise and drift


def flagged(heads: NDArray[Any], name: str) -> NDArray[np.bool_]:
    """Whether acquisitions have a flag, ``NOISE_MEASUREMENT`` for ``ACQ_IS_NOISE_MEASUREMENT``."""
    import ismrmrd

    flag = getattr(ismrmrd, name if name.startswith("ACQ_") else f"ACQ_IS_{name}", None)
    if flag is None:  # younger than the installed package
        return np.zeros(len(heads), bool)
    return np.asarray((heads["flags"] & np.uint64(1 << (flag - 1))) != 0)


def image_lines(
    heads: NDArray[Any], header: IsmrmrdHeader, path: Path, attrs: dict[str, Any]
) -> tuple[NDArray[np.intp], str]:
    """Choose the lines of the image: of the first encoding, and no noise, navigator or separate calibration.

    Parameters
    ----------
    heads
        Heads of all acquisitions.
    header
        Says where calibration lines are.
    path
        The file, for errors.
    attrs
        Told of lines of other encodings, and of calibration lines that cannot be told from others.

    Returns
    -------
        Their numbers, and in words how many of which kind were left out, empty for none.

    Raises
    ------
    FileFormatError
        No image lines, a 3-D encoding, compressed samples, or lines with different numbers of coils.
    """
    if any(flagged(heads, f"ACQ_COMPRESSION{i}").any() for i in range(1, 5)):
        raise FileFormatError(f"{path}: its samples are compressed, which this package does not read")
    kinds = np.full(len(heads), "", dtype="U32")
    for name, word in _NOT_IMAGING.items():
        kinds[flagged(heads, name) & (kinds == "")] = word
    for space in sorted(set(heads["encoding_space_ref"].tolist()) - {0}):
        others = (heads["encoding_space_ref"] == space) & (kinds == "")
        kinds[others] = f"of encoding {space}"
        if others.any():
            note(
                attrs,
                f"{int(others.sum())} lines of encoding {space} are left out: a second scan in the file, such as a "
                "reference for calibration; only encoding 0 is read",
            )
    if header.calibration in ("separate", "external"):  # other lines of the same numbers; embedded ones belong here
        calibration = flagged(heads, "PARALLEL_CALIBRATION") & ~flagged(heads, "PARALLEL_CALIBRATION_AND_IMAGING")
        if not calibration.any() and not any(kind.startswith("of encoding") for kind in kinds):
            note(
                attrs,
                f"the header says that calibration lines are {header.calibration}, and none is marked as such: all "
                "lines are taken as lines of the image",
            )
        kinds[calibration & (kinds == "")] = "separate calibration"
    lines = np.flatnonzero(kinds == "")
    counts = {kind: int((kinds == kind).sum()) for kind in dict.fromkeys(kinds.tolist()) if kind}
    left_out = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    if not lines.size:
        kinds_found = f" ({left_out})" if left_out else ""
        raise FileFormatError(f"{path}: {len(heads)} acquisitions, none of them a line of an image{kinds_found}")
    if len(set(heads["idx"]["kspace_encode_step_2"][lines].tolist())) > 1:
        raise FileFormatError(f"{path}: a 3-D encoding; this package reads 2-D scans of one or several slices")
    if len(set(heads["active_channels"][lines].tolist())) > 1:
        raise FileFormatError(f"{path}: lines with different numbers of coils")
    return lines, f"left out: {left_out}" if left_out else ""


def say_repeated(
    heads: NDArray[Any],
    lines: NDArray[np.intp],
    distances: NDArray[np.integer],
    path: Path,
    group: str,
    attrs: dict[str, Any],
    *,
    force: bool = False,
) -> None:
    """Say which lines were measured more than once though no counter of averages says so.

    Parameters
    ----------
    heads, lines
        Heads of all acquisitions, and the numbers of the image lines.
    distances
        Of each line from the centre of k-space, where the signal is strongest.
    path, group
        The file and the group in it.
    attrs
        Told that such lines are averaged.
    force
        Average them even where they differ.

    Raises
    ------
    FileFormatError
        Two measurements of a line differ by more than noise: a calibration scan without its flag, another contrast...
    """
    index = heads["idx"][lines]
    names = (*FRAME_COUNTERS, "slice", "average", "kspace_encode_step_1")
    keys = np.stack([index[name] for name in names], axis=1)
    _, group_of, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    group_of = group_of.reshape(-1)
    repeated = np.flatnonzero(counts > 1)
    if not repeated.size:
        return
    by_group = np.split(np.argsort(group_of, kind="stable"), np.cumsum(counts)[:-1])
    members = [by_group[number] for number in repeated]
    members.sort(key=lambda found: int(distances[found[0]]))
    other = [name for name in ("segment", "user") if any((index[name][m] != index[name][m[0]]).any() for m in members)]
    what = f"{int(repeated.size)} lines were measured more than once under the same counters"
    what += f", and differ in {' and '.join(other)}" if other else ""
    differ = [found for found in members[:_FEW] if not _alike(path, group, lines[found])]
    if differ and not force:
        step, number = (int(index[name][differ[0][0]]) for name in ("kspace_encode_step_1", "slice"))
        raise FileFormatError(
            f"{path}: {what}, but their samples are not alike, as of line {step} of slice {number}: calibration lines "
            "without their flag, or another contrast? --force averages them"
        )
    note(attrs, f"{what}: they are averaged")


def _alike(path: Path, group: str, numbers: Sequence[int] | NDArray[np.intp]) -> bool:
    first, *others = (samples for _, samples in read_lines(path, group, numbers))
    energy = float((np.abs(first).astype(np.float64) ** 2).sum())
    for other in others:
        if other.shape != first.shape:
            return False
        difference = float((np.abs(other - first).astype(np.float64) ** 2).sum())
        if difference > _ALIKE * max(energy, float((np.abs(other).astype(np.float64) ** 2).sum())):
            return False
    return True


def read_lines(
    path: Path, group: str, numbers: Sequence[int] | NDArray[np.intp]
) -> Iterator[tuple[Any, NDArray[np.complex64]]]:
    """Read acquisitions: of each its head with data, and its samples (coils, samples)."""
    import ismrmrd

    with format_errors(path, KIND):
        dataset = ismrmrd.Dataset(os.fspath(path), group, mode="r")
        try:
            for number in numbers:
                acquisition = dataset.read_acquisition(int(number))
                yield acquisition, np.asarray(acquisition.data, np.complex64)
        finally:
            dataset.close()
