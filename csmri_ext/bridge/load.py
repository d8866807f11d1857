"""`load`: any supported file, recognised by its content or else its extension, becomes an `Acquisition`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from csmri_ext.bridge.acquisition import Acquisition
from csmri_ext.bridge.arrays.images import read_image
from csmri_ext.bridge.arrays.mat import read_mat
from csmri_ext.bridge.arrays.nifti import read_nifti
from csmri_ext.bridge.arrays.npy import read_npy, read_npz
from csmri_ext.bridge.bart_files.kspace import load_cfl_kspace
from csmri_ext.bridge.fastmri.read import read_fastmri
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.from_kspace import FramesDifferError
from csmri_ext.bridge.ismrmrd.raw import is_raw, read_raw
from csmri_ext.bridge.maps_file import load_maps
from csmri_ext.bridge.phase_encoding import swapped
from csmri_ext.bridge.slice_checks import format_errors
from csmri_ext.bridge.trial import Trial, shared_trial

Reader = Callable[..., Acquisition]

BY_EXTENSION: dict[str, Reader] = {
    ".h5": read_fastmri,
    ".hdf5": read_fastmri,
    ".mrd": read_raw,
    ".cfl": load_cfl_kspace,
    ".hdr": load_cfl_kspace,
    ".ra": load_cfl_kspace,
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".img": read_nifti,
    ".png": read_image,
    ".tif": read_image,
    ".tiff": read_image,
    ".npy": read_npy,
    ".npz": read_npz,
    ".mat": read_mat,
}
"""Supported extensions and their readers."""

# What a file has at an offset; HDF5 is below, because MATLAB writes it too.
_SIGNATURES: dict[Reader, dict[int, tuple[bytes, ...]]] = {
    read_image: {0: (b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0")},
    read_npy: {0: (b"\x93NUMPY",)},
    read_npz: {0: (b"PK\x03\x04",)},
    read_mat: {0: (b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file")},
    read_nifti: {0: (b"\x1f\x8b",), 344: (b"n+1\0", b"ni1\0"), 4: (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n")},
}


def load(path: str | os.PathLike[str], *, axes: str | None = None, **options: Any) -> Acquisition:
    """Open any supported file; slices are read when they are indexed.

    ===========================  =========================================================================
    fastMRI ``.h5``              `fastmri.read_fastmri`; options ``axes``, ``key``, ``frames``, ``domain``
    ISMRMRD raw ``.h5, .mrd``    `ismrmrd.read_raw`; option ``frames``
    BART ``.cfl/.hdr``, ``.ra``  `kspace.load_cfl_kspace`; options ``axes``, ``x_dim``, ``frames``, ``domain``
    ``.nii``, ``.nii.gz``        `nifti.read_nifti`; options ``plane``, ``volume``
    ``.png``, ``.tif``           `images.read_image`
    ``.npy``, ``.npz``           `npy.read_npy`, `npy.read_npz`; options as HDF5, ``key`` of npz
    ``.mat``                     `mat.read_mat`; options ``axes``, ``key``, ``frames``, ``domain``
    ===========================  =========================================================================

    Parameters
    ----------
    path
        One file. For BART the name with or without extension. Several images of one volume: load each, then
        `stacks.stack_slices`.
    axes
        Which axis is which, one word per axis of the stored array, such as ``"coil y x"``: see `reading.parse_axes`.
    options
        Options of the reader, as above, and for every format: ``sens_maps``, a file of coil sensitivities (see
        `maps_file.load_maps`); ``phase_encoding="y"`` exchanges y and x, so that masks undersample what was y;
        ``force=True`` believes what looks wrong.

    Returns
    -------
        k-space as measured, or simulated from images (``attrs["simulated"]``). `reading.reading` says in one line how
        the file was read.

    Raises
    ------
    FileFormatError
        The type of the file is not supported, or the file is damaged or cannot be used. Also when a slice with NaN,
        infinite or only zero values is read.
    OSError
        The file does not exist or may not be read.
    ImportError
        The package for an optional format is not installed.
    TypeError
        An option that the reader does not have.
    """
    path = Path(path)
    with format_errors(path, "known"):
        reader = _reader(path)
    known = _options_of(reader)
    given = {name: value for name, value in {"axes": axes, **options}.items() if value is not None}
    own = {name: value for name, value in given.items() if name in known}
    maps, turn = given.get("sens_maps"), given.get("phase_encoding", "x")
    rest = sorted(set(given) - known - set(GENERAL))
    if rest:
        raise TypeError(f"{path}: {rest[0]} is no option of {reader.__name__}, which has {', '.join(sorted(known))}")
    with format_errors(path, reader.__name__.removeprefix("read_").removeprefix("load_")):
        try:
            acquisition = reader(path, **own)
        except FileFormatError:
            raise
        except ValueError as error:
            raise FileFormatError(str(error)) from error
    if maps is not None and "sens_maps" not in known:
        load_maps(maps, acquisition)
    if "phase_encoding" in known or turn == "x":
        return acquisition
    if turn != "y":
        raise FileFormatError(f"{path}: --phase-encoding {turn}; it is x or y for such a file")
    return swapped(acquisition)


def load_frames(path: str | os.PathLike[str], **options: Any) -> list[Acquisition]:
    """Open a file as `load` does; frames that were sampled differently become one acquisition each."""
    try:
        return [load(path, **options)]
    except FramesDifferError as error:
        frames: Sequence[int] = options.get("frames") or range(error.frames)
        acquisitions = [load(path, **{**options, "frames": (frame,)}) for frame in frames]
    for frame, acquisition in zip(frames, acquisitions, strict=True):
        acquisition.attrs["frame"] = frame
    return acquisitions


GENERAL = ("force", "phase_encoding", "sens_maps")
"""Options that every format has."""


@dataclass(frozen=True)
class Files:
    """Opens files with options that a user gave for all of them.

    Attributes
    ----------
    options
        Of `load`; those that are None are not given.
    trial
        Tries every file of HDF5 first, see `of_many`; None: they are opened at once.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    trial: Trial | None = None

    def of_many(self) -> Files:
        """Give the same for many files: one that never comes back from the HDF5 library does not cost the others."""
        return replace(self, trial=shared_trial())

    def open(self, path: str | os.PathLike[str]) -> list[Acquisition]:
        """Open a file: one acquisition, or one for each frame where frames were sampled differently.

        Raises
        ------
        FileFormatError
            As `load`; also for an option that the format of the file does not have.
        """
        if self.trial is not None:
            self.trial.check(path)
        given = {name: value for name, value in self.options.items() if value is not None}
        known = _options_of(_reader(Path(path))) | set(GENERAL)
        for name in given:
            if name not in known:
                raise FileFormatError(
                    f"{os.fspath(path)}: --{name.replace('_', '-')} does not go with such a file, which has "
                    f"{', '.join('--' + known_name.replace('_', '-') for known_name in sorted(known - {'x_dim'}))}"
                )
        return load_frames(path, **given)


_CONVERTERS = {
    ".dat": "; convert Siemens raw data with siemens_to_ismrmrd, or with `bart twixread -A`",
    ".7": "; convert GE's P-files with ge_to_ismrmrd",
    **dict.fromkeys((".lab", ".sin"), "; convert Philips raw data with philips_to_ismrmrd"),
    **dict.fromkeys((".gz", ".zip", ".bz2", ".xz"), "; unpack it first"),
}


def _options_of(reader: Reader) -> set[str]:
    return {name for name, p in inspect.signature(reader).parameters.items() if p.kind is p.KEYWORD_ONLY}


def _reader(path: Path) -> Reader:
    if path.is_dir():
        raise FileFormatError(f"{path} is a folder; give the files in it")
    if not path.is_file() and Path(f"{path}.hdr").is_file():  # BART's own way to name an array
        return load_cfl_kspace
    extension = ".nii.gz" if path.name.endswith(".nii.gz") else path.suffix.lower()
    if extension in (".cfl", ".hdr", ".ra") and not path.with_suffix(".img").is_file():
        return load_cfl_kspace
    with path.open("rb") as file:
        start = file.read(352)
    for reader, signatures in _SIGNATURES.items():
        if any(start[offset:].startswith(known) for offset, known in signatures.items()):
            return reader
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        if extension == ".mat":
            return read_mat
        return read_raw if is_raw(path) else read_fastmri
    if extension in BY_EXTENSION:
        return BY_EXTENSION[extension]
    hint = "; convert DICOM to NIfTI first, for example with dcm2niix" if start[128:132] == b"DICM" else ""
    hint = _CONVERTERS.get(extension, hint)
    raise FileFormatError(f"{path}: unknown file type; supported: {' '.join(BY_EXTENSION)}{hint}")
