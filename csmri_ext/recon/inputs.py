"""From what the user named to volumes: files, folders, or a procedural phantom when nothing is named."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from csmri_ext.bridge import Acquisition
from csmri_ext.bridge.acquisition import middle_slices
from csmri_ext.bridge.bart_files.cfl import data_file
from csmri_ext.bridge.load import BY_EXTENSION, Files
from csmri_ext.errors import InputError, expected_errors, one_line
from csmri_ext.recon.volumes import Volume
from csmri_ext.report.provenance import file_sha256, shareable

PHANTOM_ANATOMIES = ("brain", "body")
PHANTOM_SIZE = 256
LONGEST_LABEL = 120  # bytes; mask, acceleration and method are added to it
PHANTOM_SLICES = 3  # of each subject: `make compare` takes about a minute
PHANTOM_NOISE = 0.003  # of the brightest tissue; noise in the reference punishes every method that removes it
_VALIDATION_SEED = 10_000  # added to the seed of reported subjects: weights are tuned on other people, so to say


def open_volumes(
    paths: Sequence[str],
    n_slices: int | float | None,
    files: Files | None = None,
    failed: list[tuple[str, str]] | None = None,
) -> list[Volume]:
    """Open every file, and every supported file of every folder, without reading all samples.

    Frames that were sampled differently become a volume each.

    Parameters
    ----------
    paths
        Files and folders.
    n_slices
        Number, or share, of the slices of each volume to take, see `middle_slices`.
    files
        How files are read.
    failed
        Takes a file of several that cannot be read, and why, and the others are opened; None: its error ends
        everything.

    Raises
    ------
    InputError
        If a path does not exist or a folder holds nothing that can be read.
    FileFormatError, CflError
        If a file is damaged and `failed` is not given, or there is no other.
    """
    files = files or Files()
    found = files_of(paths)
    files = files.of_many() if len(found) > 1 else files
    volumes = []
    for file, label in zip(found, _labels(found), strict=True):
        try:
            acquisitions = files.open(file)
        except expected_errors() as error:
            if failed is None or len(found) == 1 or isinstance(error, FileNotFoundError):  # a mistyped name
                raise
            failed.append(_failure(file, error))
            continue
        for acquisition in acquisitions:
            frame = f" frame {acquisition.attrs['frame']}" if "frame" in acquisition.attrs else ""
            chosen = middle_slices(acquisition.n_slices, n_slices)
            volumes.append(Volume(label + frame, acquisition, chosen, _source(file)))
    if not volumes and found:
        raise InputError(f"none of the {len(found)} files can be read{_last(failed)}")
    return volumes


def files_of(paths: Sequence[str]) -> list[Path]:
    """List files, and the supported files of folders, as `open_volumes` opens them.

    Raises
    ------
    InputError
        A folder holds nothing that can be read.
    """
    return [file for path in paths for file in _files(Path(path))]


def phantom_volumes(seed: int, n_slices: int | float | None) -> tuple[list[Volume], list[Volume]]:
    """Make the data of a comparison without files: two procedural subjects, and others to tune weights on.

    Parameters
    ----------
    seed
        Of the first subject.
    n_slices
        Slices of each subject; a share is one of `PHANTOM_SLICES`, None takes these.

    Returns
    -------
        Volumes to report (a head and a trunk, one coil), and volumes to tune on.
    """
    count = n_slices if isinstance(n_slices, int) else len(middle_slices(PHANTOM_SLICES, n_slices))
    return (
        [_phantom(anatomy, seed, count) for anatomy in PHANTOM_ANATOMIES],
        [_phantom(anatomy, seed + _VALIDATION_SEED, 1) for anatomy in PHANTOM_ANATOMIES],
    )


def _phantom(anatomy: str, seed: int, n_slices: int) -> Volume:
    from csmri_ext.phantom.subjects import phantom_acquisition

    acquisition = phantom_acquisition(
        n_slices, PHANTOM_SIZE, seed, anatomy=anatomy, noise=PHANTOM_NOISE, processed=False
    )
    acquisition.kspace, acquisition.target = np.asarray(acquisition.kspace), np.asarray(acquisition.target)
    return Volume(
        acquisition.name,
        acquisition,
        range(n_slices),
        f"procedural phantom: {anatomy}, seed {seed}, noise {PHANTOM_NOISE:g}",
    )


def inspect(
    volumes: Sequence[Volume],
    advance: Callable[[int], None],
    failed: list[tuple[str, str]] | None = None,
) -> list[Volume]:
    """Read every volume once: hash it for the provenance, and refuse what no method could use.

    Parameters
    ----------
    volumes
        From `open_volumes`; their ``sha256`` is filled in.
    advance
        Called with the number of slices just read.
    failed
        Takes a volume of several that cannot be used, and why; None: its error ends everything.

    Returns
    -------
        The volumes that can be used.

    Raises
    ------
    InputError, FileFormatError
        For NaN, infinite or all-zero slices, masks or maps of another shape, references that cannot be compared with,
        where `failed` is not given or nothing is left.
    """
    usable = []
    for volume in volumes:
        try:
            volume.check()
            volume.check_reference()
        except expected_errors() as error:
            if failed is None or len(volumes) == 1:
                raise
            failed.append(_failure(Path(volume.source), error))
            continue
        usable.append(volume)
        path = volume.acquisition.attrs.get("path")
        volume.sha256 = file_sha256(data_file(Path(path))) if path else _array_sha256(volume.acquisition)
        advance(len(volume.slices))
    if volumes and not usable:
        raise InputError(f"none of the {len(volumes)} volumes can be used{_last(failed)}")
    return usable


def _failure(file: Path, error: Exception) -> tuple[str, str]:
    """Name a file that cannot be used, and the reason without the file's name, with which errors begin."""
    return shareable(file), one_line(error).removeprefix(f"{file}: ")


def _last(failed: list[tuple[str, str]] | None) -> str:
    return f"; the last: {': '.join(failed[-1])}" if failed else ""


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]  # also BART's names without an extension; `load` says what is wrong with the rest
    suffixes = tuple(BY_EXTENSION)
    found = [file for file in sorted(path.iterdir()) if file.is_file() and file.name.lower().endswith(suffixes)]
    found = [file for file in found if file.suffix != ".hdr" and not file.name.startswith(".")]
    if not found:
        raise InputError(f"{path}: the folder holds no file that can be read ({', '.join(suffixes)})")
    return found


def _source(file: Path) -> str:
    return shareable(file).encode("utf-8", "backslashreplace").decode("utf-8")


def _labels(files: Sequence[Path]) -> list[str]:
    """File names; with their folder where two files share a name, with their number where that is not enough.

    Names become names of results, of which the file system takes 255 bytes: long ones are cut and told apart by a
    hash.
    """
    names = [_printable(file.name) for file in files]
    counts = Counter(names)
    labels = [
        name if counts[name] == 1 else f"{_printable(file.parent.name)}/{name}"
        for file, name in zip(files, names, strict=True)
    ]
    again = Counter(labels)
    return [label if again[label] == 1 else f"{label} ({i + 1})" for i, label in enumerate(labels)]


def _printable(name: str) -> str:
    """Write a name in UTF-8 without control characters, and in at most `LONGEST_LABEL` bytes."""
    text = name.encode("utf-8", "backslashreplace").decode("utf-8")
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    if len(text.encode()) <= LONGEST_LABEL:
        return text
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    suffix = "".join(Path(text).suffixes[-2:])[-12:]
    head = text.encode()[: LONGEST_LABEL - len(digest) - len(suffix.encode()) - 1].decode("utf-8", "ignore")
    return f"{head}~{digest}{suffix}"


def _array_sha256(acquisition: Acquisition) -> str:
    digest = hashlib.sha256()
    for index in range(acquisition.n_slices):
        digest.update(np.ascontiguousarray(acquisition.kspace[index]).tobytes())
    return digest.hexdigest()
