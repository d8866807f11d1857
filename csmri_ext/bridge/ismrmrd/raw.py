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
from csmri_ext.bridge.ismrmrd.lines import FRAME_COUNTERS, KIND, flagged, image_lines, read_lines, say_repeated
from csmri_ext.bridge.reading import choose_frames, note
from csmri_ext.bridge.size_limits import LONGEST_HEADER, require_plausible_dataset
from csmri_ext.bridge.slice_checks import format_errors


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
    averages are averaged, reversed readouts turned. Lines that repeat without a counter of averages are averaged where
    they are alike. Noise scans, where there are any, pre-whiten the coils: ``W = L^-1 sqrt(trace(C) / coils)`` with
    ``C = L L^H`` their covariance. Readout oversampling is removed: the field of view along the readout becomes that of
    the reconstructed image. ``attrs["prepared"]`` and ``attrs["warnings"]`` say what was averaged and left out.

    Parameters
    ----------
    path
        HDF5 file with a group ``dataset`` of ``xml`` and ``data``.
    frames
        Which repetitions, heart phases, contrasts and sets, counted together; default all, the slices of the first one
        first.
    force
        Take a trajectory that is not Cartesian, and average repeated lines that are not alike.

    Returns
    -------
        ny is the readout, nx the phase encoding, as in fastMRI's files.

    Raises
    ------
    FileFormatError
        No image lines, a 3-D or non-Cartesian encoding, compressed samples, repeated lines that are not alike, or a
        damaged file.
    FramesDifferError
        The frames were sampled differently: choose with `frames`.
    ImportError
        The package ``ismrmrd`` is not installed.
    """
    path = Path(path)
    try:
        import ismrmrd  # noqa: F401
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
    attrs: dict[str, Any] = {"ismrmrd_header": xml, "axes": "slice coil y x", "axes_from": "ISMRMRD's counters"}
    lines, left_out = image_lines(heads, header, path, attrs)
    columns, nx = _columns(heads["idx"]["kspace_encode_step_1"][lines], header, attrs)
    say_repeated(heads, lines, np.abs(columns - nx // 2), path, group, attrs, force=force)
    keys = np.stack([heads["idx"][counter][lines] for counter in FRAME_COUNTERS], axis=1)
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
    n_samples = int(heads["number_of_samples"][lines].max())
    width = _width(heads[lines], header, attrs)
    kept = _without_oversampling(width, header)
    noise = np.flatnonzero(flagged(heads, "NOISE_MEASUREMENT"))
    whitening = _whitening(path, group, noise, n_coils, attrs)
    read = _RawSlices(path, group, tuple(map(tuple, sorted_lines)), width, nx, kept, whitening)
    n_averages = len(set(heads["idx"]["average"][lines].tolist()))
    done = ["readout oversampling removed"] * (kept < width) + ["noise pre-whitened"] * (whitening is not None)
    done += [f"lines of {n_samples} samples placed among {width}"] * (n_samples < width)
    done += [f"mean of {n_averages} averages"] * (n_averages > 1) + [left_out] * bool(left_out)
    attrs |= {"n_frames": len(chosen), "prepared": ", ".join(done)}
    recon_size = _recon_size(header, (kept, nx), attrs)
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


def _width(heads: NDArray[Any], header: IsmrmrdHeader, attrs: dict[str, Any]) -> int:
    """Count the samples of a whole line: by the header, or those of the longest line where that has more."""
    longest = heads[heads["number_of_samples"].argmax()]
    n = int(longest["number_of_samples"])
    width = header.encoding_size[0] if header.encoding_size else n
    if n > width:
        note(attrs, f"lines have {n} samples, the header says {width}: it is wrong")
        return n
    if n < width and not 0 < int(longest["center_sample"]) < n:
        note(attrs, f"lines have {n} of {width} samples and do not say where their echo is: put in the middle")
    elif n < width and abs(int(longest["center_sample"]) - n // 2) <= 1:
        note(attrs, f"lines have {n} samples about their echo, the header says {width}: filled with zeros")
    return width


def _recon_size(header: IsmrmrdHeader, matrix_size: tuple[int, int], attrs: dict[str, Any]) -> tuple[int, int] | None:
    """Size of images: the reconSpace where it is as k-space, or larger along both axes; fewer columns crop."""
    if header.recon_size is None:
        return None
    (h, w), (ny, nx) = header.recon_size[:2], matrix_size
    if h > ny and w >= nx:
        return h, w
    if h > ny or w > nx:
        note(attrs, f"the header asks for images of {h} x {w}; k-space has {ny} x {nx}, which is not filled")
    return ny, min(nx, w)


def _without_oversampling(width: int, header: IsmrmrdHeader) -> int:
    """Count the samples along the readout whose field of view is that of the image."""
    if header.readout_fov and 0 < header.readout_fov[1] < header.readout_fov[0]:
        return max(1, round(width * header.readout_fov[1] / header.readout_fov[0]))
    if header.recon_size and header.readout_fov is None and width == 2 * header.recon_size[0]:
        return width // 2
    return width


def _whitening(
    path: Path, group: str, noise: NDArray[np.intp], n_coils: int, attrs: dict[str, Any]
) -> NDArray[np.complex64] | None:
    """Matrix that makes the coils' noise equal and independent, at its mean strength; None without noise scans."""
    scans = [samples for _, samples in read_lines(path, group, noise)]
    samples = [scan for scan in scans if scan.shape[0] == n_coils]
    if scans and not samples:
        note(attrs, f"the noise scan has {scans[0].shape[0]} coils, the image {n_coils}: noise is not pre-whitened")
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
    whitening
        (coils, coils), or None.
    """

    path: Path
    group: str
    lines: tuple[tuple[tuple[int, int], ...], ...]
    width: int
    nx: int
    kept: int
    whitening: NDArray[np.complex64] | None

    def __call__(self, i: int) -> NDArray[np.complex64]:
        total: NDArray[np.complex64] | None = None
        counts = np.zeros(self.nx, np.int64)
        places = self.lines[i]
        found = read_lines(self.path, self.group, [number for number, _ in places])
        for (_, column), (acquisition, samples) in zip(places, found, strict=True):
            if total is None:
                total = np.zeros((samples.shape[0], self.width, self.nx), np.complex64)
            total[:, :, column] += self._placed(acquisition, samples)
            counts[column] += 1
        assert total is not None
        total /= np.maximum(counts, 1)
        if self.whitening is not None:
            total = np.einsum("ab,byx->ayx", self.whitening, total)
        return total if self.kept == self.width else _cropped(total, self.kept)

    def _placed(self, acquisition: Any, measured: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """Put samples into (coils, width), with the centre of the echo in the middle."""
        import ismrmrd

        samples = measured.copy()
        n = samples.shape[1]
        samples[:, : acquisition.discard_pre] = 0
        samples[:, n - acquisition.discard_post :] = 0
        center = int(acquisition.center_sample)
        if acquisition.is_flag_set(ismrmrd.ACQ_IS_REVERSE):
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
