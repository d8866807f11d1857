"""ISMRMRD raw data: the lines of a Cartesian 2-D scan, sorted into k-space.

Format: Inati et al., "ISMRM Raw data format", 2017, doi:10.1002/mrm.26089; read with the package ``ismrmrd``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.from_kspace import kspace_acquisition
from csmri_ext.bridge.ismrmrd.header import IsmrmrdHeader, parse_header
from csmri_ext.bridge.reading import choose_frames, note
from csmri_ext.bridge.size_limits import LONGEST_HEADER, require_plausible_dataset
from csmri_ext.bridge.slice_checks import format_errors

KIND = "ISMRMRD raw"
_NOT_IMAGING = (
    *("NOISE_MEASUREMENT", "NAVIGATION_DATA", "PHASECORR_DATA", "DUMMYSCAN_DATA", "HPFEEDBACK_DATA"),
    *("RTFEEDBACK_DATA", "SURFACECOILCORRECTIONSCAN_DATA", "PHASE_STABILIZATION", "PHASE_STABILIZATION_REFERENCE"),
)
_FRAME_COUNTERS = ("repetition", "phase", "contrast", "set")


def is_raw(path: str | os.PathLike[str]) -> bool:
    """Whether an HDF5 file is ISMRMRD raw data: a group with ``data`` and ``xml``, and no ``kspace``."""
    try:
        with h5py.File(path, "r") as file:
            return "kspace" not in file and _group(file) is not None
    except Exception:  # damaged: whatever h5py raises; the other reader says what is wrong
        return False


def read_raw(path: str | os.PathLike[str], *, frames: Sequence[int] | None = None, force: bool = False) -> Acquisition:
    """Read a Cartesian 2-D scan, one or several slices.

    Lines go to column ``step - center + ny / 2`` of the encoded matrix, partial echoes to the place of their centre;
    averages are averaged, reversed readouts turned. Noise scans, where there are any, pre-whiten the coils:
    ``W = L^-1 sqrt(trace(C) / coils)`` with ``C = L L^H`` their covariance. Readout oversampling is removed: the
    field of view along the readout becomes that of the reconstructed image.

    Parameters
    ----------
    path
        HDF5 file with a group ``dataset`` of ``xml`` and ``data``.
    frames
        Which repetitions, heart phases, contrasts and sets, counted together; default all, the slices of the first one
        first.
    force
        Take a trajectory that is not Cartesian.

    Returns
    -------
        ny is the readout, nx the phase encoding, as in fastMRI's files.

    Raises
    ------
    FileFormatError
        No image lines, a 3-D or non-Cartesian encoding, lines of several lengths, or a damaged file.
    FramesDifferError
        The frames were sampled differently: choose with `frames`.
    ImportError
        The package ``ismrmrd`` is not installed.
    """
    path = Path(path)
    try:
        import ismrmrd
    except ImportError as error:
        raise ImportError(
            f'{path}: ISMRMRD raw data need the package ismrmrd: pip install "csmri_ext[ismrmrd]"'
        ) from error
    with format_errors(path, KIND), h5py.File(path, "r") as file:
        group = _group(file)
        if group is None:
            raise FileFormatError(f"{path}: no group with 'data' and 'xml'")
        for part in ("xml", "data"):
            require_plausible_dataset(file[group][part], path)
        if file[group]["xml"].dtype.itemsize > LONGEST_HEADER:
            raise FileFormatError(f"{path}: the header has {file[group]['xml'].dtype.itemsize} bytes")
        xml = file[group]["xml"][0]
        heads = file[group]["data"].fields("head")[:]
    xml = xml.decode(errors="replace") if isinstance(xml, bytes) else str(xml)
    header = _header(xml, path, force=force)
    flags = {
        name.removeprefix("ACQ_IS_"): getattr(ismrmrd, name) for name in dir(ismrmrd) if name.startswith("ACQ_IS_")
    }
    attrs: dict[str, Any] = {"ismrmrd_header": xml, "axes": "slice coil y x", "axes_from": "ISMRMRD's counters"}
    lines = _image_lines(heads, flags, header, path)
    columns, nx = _columns(heads["idx"]["kspace_encode_step_1"][lines], header, attrs)
    keys = np.stack([heads["idx"][counter][lines] for counter in _FRAME_COUNTERS], axis=1)
    all_frames = sorted(set(map(tuple, keys.tolist())))
    slices = sorted(set(heads["idx"]["slice"][lines].tolist()))
    chosen = choose_frames(frames, len(all_frames), str(path))
    place = {(frame, number): i for i, (frame, number) in enumerate((all_frames[f], s) for f in chosen for s in slices)}
    sorted_lines: list[list[tuple[int, int]]] = [[] for _ in place]
    for line, key, number, column in zip(
        lines, map(tuple, keys.tolist()), heads["idx"]["slice"][lines], columns, strict=True
    ):
        if (key, int(number)) in place:
            sorted_lines[place[key, int(number)]].append((int(line), int(column)))
    missing = [i for i, found in enumerate(sorted_lines) if not found]
    if missing:
        raise FileFormatError(f"{path}: slice {missing[0]} of {len(place)} (slices and frames) has no lines")
    n_coils = int(heads["active_channels"][lines[0]])
    width = (header.encoding_size or (int(heads["number_of_samples"][lines].max()), 0, 1))[0]
    if int(heads["number_of_samples"][lines].max()) > width:
        note(
            attrs, f"lines have {heads['number_of_samples'][lines].max()} samples, the header says {width}: it is wrong"
        )
        width = int(heads["number_of_samples"][lines].max())
    kept = _without_oversampling(width, header)
    whitening = _whitening(path, group, np.flatnonzero(_flagged(heads, flags["NOISE_MEASUREMENT"])), n_coils)
    read = _RawSlices(path, group, tuple(map(tuple, sorted_lines)), width, nx, kept, flags["REVERSE"], whitening)
    n_averages = len(set(heads["idx"]["average"][lines].tolist()))
    done = ["readout oversampling removed"] * (kept < width) + ["noise pre-whitened"] * (whitening is not None)
    done += [f"{n_averages} averages"] * (n_averages > 1)
    attrs |= {"n_frames": len(chosen), "prepared": ", ".join(done)}
    recon = header.recon_size
    recon_size = (kept, min(nx, recon[1])) if recon else None
    shape = (len(place), n_coils, kept, nx)
    return kspace_acquisition(read, shape, path, KIND, recon_size=recon_size, force=force, attrs=attrs)


def _group(file: h5py.File) -> str | None:
    names = ["dataset", *file] if "dataset" in file else list(file)
    for name in names:
        group = file[name]
        if isinstance(group, h5py.Group) and {"data", "xml"} <= set(group) and group["data"].dtype.names:
            return str(name)
    return None


def _header(xml: str, path: Path, *, force: bool) -> IsmrmrdHeader:
    try:
        header = parse_header(xml)
    except ValueError as error:
        raise FileFormatError(f"{path}: {error}") from error
    if header.trajectory not in (None, "cartesian") and not force:
        raise FileFormatError(
            f"{path}: the trajectory is {header.trajectory}, and this package is Cartesian; --force goes on"
        )
    return header


def _flagged(heads: NDArray[Any], flag: int) -> NDArray[np.bool_]:
    return (heads["flags"] & np.uint64(1 << (flag - 1))) != 0


def _image_lines(heads: NDArray[Any], flags: dict[str, int], header: IsmrmrdHeader, path: Path) -> NDArray[np.intp]:
    other = np.zeros(len(heads), bool)
    for name in _NOT_IMAGING:
        if name in flags:
            other |= _flagged(heads, flags[name])
    if header.calibration in ("separate", "external"):  # other lines of the same numbers; embedded ones belong here
        also = _flagged(heads, flags["PARALLEL_CALIBRATION_AND_IMAGING"])
        other |= _flagged(heads, flags["PARALLEL_CALIBRATION"]) & ~also
    lines = np.flatnonzero(~other & (heads["encoding_space_ref"] == 0))
    if not lines.size:
        raise FileFormatError(f"{path}: {len(heads)} acquisitions, none of them a line of an image")
    if len(set(heads["idx"]["kspace_encode_step_2"][lines].tolist())) > 1:
        raise FileFormatError(f"{path}: a 3-D encoding; this package reads 2-D scans of one or several slices")
    if len(set(heads["active_channels"][lines].tolist())) > 1:
        raise FileFormatError(f"{path}: lines with different numbers of coils")
    return lines


def _columns(steps: NDArray[np.integer], header: IsmrmrdHeader, attrs: dict[str, Any]) -> tuple[NDArray[Any], int]:
    """Column of every line, and the number of columns: by the header's centre where all lines then fit."""
    steps = np.asarray(steps, np.int64)
    encoded = header.encoding_size[1] if header.encoding_size else int(steps.max()) + 1
    if header.padding is not None:
        columns = steps + header.padding[0]
        if columns.min() >= 0 and columns.max() < encoded:
            return columns, encoded
    nx = max(encoded, int(steps.max()) + 1)
    if header.padding is not None or nx > encoded:
        note(
            attrs,
            f"the ISMRMRD header says {encoded} columns and line 0 at column {(header.padding or (0, 0))[0]}, but "
            f"lines run from {steps.min()} to {steps.max()}: it is wrong, and line 0 is taken as column 0 of {nx}",
        )
    return steps, nx


def _without_oversampling(width: int, header: IsmrmrdHeader) -> int:
    """Count the samples along the readout whose field of view is that of the image."""
    if header.readout_fov and 0 < header.readout_fov[1] < header.readout_fov[0]:
        return max(1, round(width * header.readout_fov[1] / header.readout_fov[0]))
    if header.recon_size and header.readout_fov is None and width == 2 * header.recon_size[0]:
        return width // 2
    return width


def _whitening(path: Path, group: str, noise: NDArray[np.intp], n_coils: int) -> NDArray[np.complex64] | None:
    """Matrix that makes the coils' noise equal and independent, at its mean strength; None without noise scans."""
    samples = [line for line in (_line(path, group, int(i))[1] for i in noise) if line.shape[0] == n_coils]
    if not samples:
        return None
    values = np.concatenate(samples, axis=1).astype(np.complex128)
    covariance = values @ values.conj().T / values.shape[1]
    try:
        lower = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise FileFormatError(f"{path}: the noise scan has a coil without noise, or fewer samples than coils") from None
    scale = np.sqrt(np.trace(covariance).real / n_coils)
    return (np.linalg.inv(lower) * scale).astype(np.complex64)


def _line(path: Path, group: str, number: int) -> tuple[Any, NDArray[np.complex64]]:
    """Head of an acquisition, and its samples (coils, samples)."""
    import ismrmrd

    with format_errors(path, KIND):
        dataset = ismrmrd.Dataset(os.fspath(path), group, mode="r")
        try:
            acquisition = dataset.read_acquisition(number)
        finally:
            dataset.close()
    return acquisition, np.asarray(acquisition.data, np.complex64)


@dataclass(frozen=True)
class _RawSlices:
    """``read(i)``: the k-space of one slice of one frame, complex64 (coils, kept, nx).

    Attributes
    ----------
    path, group
        The file and the group in it.
    lines
        Of every slice: number and column of its lines.
    width, nx
        Encoded matrix.
    kept
        Samples along the readout after oversampling is removed.
    reverse
        Flag of lines that were read backwards.
    whitening
        (coils, coils), or None.
    """

    path: Path
    group: str
    lines: tuple[tuple[tuple[int, int], ...], ...]
    width: int
    nx: int
    kept: int
    reverse: int
    whitening: NDArray[np.complex64] | None

    def __call__(self, i: int) -> NDArray[np.complex64]:
        import ismrmrd

        total: NDArray[np.complex64] | None = None
        counts = np.zeros(self.nx, np.int64)
        dataset = ismrmrd.Dataset(os.fspath(self.path), self.group, mode="r")
        try:
            for number, column in self.lines[i]:
                acquisition = dataset.read_acquisition(number)
                if total is None:
                    total = np.zeros((acquisition.data.shape[0], self.width, self.nx), np.complex64)
                total[:, :, column] += self._placed(acquisition)
                counts[column] += 1
        finally:
            dataset.close()
        assert total is not None
        total /= np.maximum(counts, 1)
        if self.whitening is not None:
            total = np.einsum("ab,byx->ayx", self.whitening, total)
        return total if self.kept == self.width else _cropped(total, self.kept)

    def _placed(self, acquisition: Any) -> NDArray[np.complex64]:
        """Put samples into (coils, width), with the centre of the echo in the middle."""
        samples = np.array(acquisition.data, np.complex64)
        n = samples.shape[1]
        samples[:, : acquisition.discard_pre] = 0
        samples[:, n - acquisition.discard_post :] = 0
        center = int(acquisition.center_sample)
        if acquisition.is_flag_set(self.reverse):
            samples, center = samples[:, ::-1], n - 1 - center
        start = self.width // 2 - center if 0 < center < n else (self.width - n) // 2
        start = min(max(start, 0), self.width - n)
        placed = np.zeros((samples.shape[0], self.width), np.complex64)
        placed[:, start : start + n] = samples
        return placed


def _cropped(kspace: NDArray[np.complex64], kept: int) -> NDArray[np.complex64]:
    """Cut the middle of the field of view along y: to the image, crop, and back."""
    width = kspace.shape[1]

    def along_y(transform: Any, array: NDArray[Any]) -> NDArray[Any]:
        return np.fft.fftshift(transform(np.fft.ifftshift(array, axes=1), axis=1, norm="ortho"), axes=1)

    first = width // 2 - kept // 2
    image = along_y(np.fft.ifft, kspace)[:, first : first + kept]
    return along_y(np.fft.fft, image).astype(np.complex64)
