"""Images of an experiment: brought to the paper's size, split so that no patient is in two parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge import Acquisition
from csmri_ext.bridge.acquisition import LazyStack
from csmri_ext.bridge.file_marks import file_marks
from csmri_ext.bridge.first_few import first_few
from csmri_ext.bridge.fourier import fft2c
from csmri_ext.bridge.load import Files
from csmri_ext.data import Images, ImageVolume, open_images, split_by_volume
from csmri_ext.data.images import files_of
from csmri_ext.data.transforms import center_section
from csmri_ext.errors import InputError
from csmri_ext.experiments.experiment import SIZES, Experiment
from csmri_ext.recon import volumes

ENDINGS = (".h5", ".nii", ".nii.gz")
_PARTS = ("training", "validation", "test")


@dataclass(frozen=True)
class Prepared:
    """Images of one experiment.

    Attributes
    ----------
    train, validation, test
        complex64 ``(size, size)``, or ``(coils, size, size)``, of different patients.
    format
        ``"fastMRI HDF5"`` or ``"NIfTI"``.
    real
        Whether the images have no phase.
    opened
        Names of the files of all three parts, and what was read of them.
    files
        Which files they are, see `csmri_ext.bridge.file_marks`.
    """

    train: Images
    validation: Images
    test: Images
    format: str
    real: bool
    opened: list[tuple[str, Acquisition]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, list[str]]:
        """Names of the volumes of each part."""
        parts = (self.train, self.validation, self.test)
        return {name: [part.name for part in images.parts] for name, images in zip(_PARTS, parts, strict=True)}


def prepare(
    folder: Path,
    experiment: Experiment,
    *,
    seed: int = 0,
    n_patients: int | None = None,
    slices: int | float | None = None,
    size: int | None = None,
    acquisitions: Sequence[str] | None = None,
    coils: bool = False,
    reading: Files | None = None,
) -> Prepared:
    """Open the volumes below a folder, and split them by patient.

    fastMRI's single-coil k-space becomes a complex image, its multi-coil k-space the root sum of squares with zero
    phase, as in the NasN paper; slices are cut from their centre, or padded with zeros, to the paper's size.

    Parameters
    ----------
    folder
        Of fastMRI's ``.h5`` or of NIfTI files, not both; searched recursively.
    experiment
        Gives the split, the number of patients, and whether phases are dropped.
    seed
        Of the split, and of the choice of patients where there are more than wanted.
    n_patients
        Fewer patients than the experiment's.
    slices
        Number, or share, of the slices of each volume, around its middle; None: all.
    size
        Rows and columns other than the paper's.
    acquisitions
        What the files call the scans that are wanted, in place of the experiment's; empty: all.
    coils
        Keep several coils apart, and the phases of all images, whatever the experiment does.
    reading
        How files are read.

    Raises
    ------
    InputError
        No such files, none of the acquisition wanted, both formats, too few patients, or a patient id in some of the
        files only.
    FileFormatError
        A file that cannot be used.
    """
    files = files_below(folder)
    if not files:
        raise InputError(f"{folder}: no {', '.join(ENDINGS)} files below it; the paper has {experiment.images}")
    reading = reading or Files()
    every = [reading.of_many().open(file)[0] for file in files]
    formats = sorted({str(acquisition.attrs["format"]) for acquisition in every})
    if len(formats) > 1:
        raise InputError(f"{folder} holds {' and '.join(formats)}: an experiment has images of one kind")
    wanted = experiment.acquisitions if acquisitions is None else acquisitions
    chosen = _acquired_as(wanted, [str(acquisition.attrs.get("acquisition", "")) for acquisition in every])
    files, opened = [files[i] for i in chosen], [every[i] for i in chosen]
    patients = _patients([str(acquisition.attrs.get("patient_id", "")) for acquisition in opened], files)
    magnitude = experiment.magnitude and not coils
    real = not coils and (magnitude or formats[0] == "NIfTI" or max(a.n_coils for a in opened) > 1)
    side = size or SIZES[formats[0]]
    parts = []
    read: dict[str, Acquisition] = {}
    for part in open_images(files, slices=slices, coils=coils, reading=reading, opened=read.__setitem__).parts:
        parts.append(ImageVolume(part.name, part.n_slices, partial(_fitted, part.read, side, magnitude)))
    train, validation, test = split = _split(parts, patients, experiment, seed, n_patients)
    taken = [part.name for images in split for part in images.parts]
    marks = file_marks((file, name) for file, name in files_of(files) if name in set(taken))
    return Prepared(train, validation, test, formats[0], real, [(name, read[name]) for name in taken], marks)


def files_below(folder: Path) -> list[Path]:
    """List the files of images below a folder."""
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.name.lower().endswith(ENDINGS))


def volumes_of(images: Images) -> list[volumes.Volume]:
    """Make the test volumes for `evaluate.evaluate`: k-space simulated from the complex images, as in the papers."""
    found = []
    for part in images.parts:
        *coils, ny, nx = part.read(0).shape
        acquisition = Acquisition(
            LazyStack(partial(_kspace, part.read), part.n_slices, (*(coils or [1]), ny, nx), np.complex64),
            part.name,
            target=LazyStack(partial(_magnitude, part.read), part.n_slices, (ny, nx), np.float32),
        )
        found.append(volumes.Volume(part.name, acquisition, range(part.n_slices), part.name))
    return found


def _acquired_as(wanted: Sequence[str], named: Sequence[str]) -> list[int]:
    """Numbers of the files of the wanted acquisitions; all where nothing is wanted, or where no file says its own."""
    if not wanted or not any(named):
        return list(range(len(named)))
    chosen = [i for i, name in enumerate(named) if name in wanted]
    if not chosen:
        found = ", ".join(first_few(sorted({name or "unnamed" for name in named}), 12))
        raise InputError(
            f"none of {len(named)} files is {' or '.join(wanted)}, they are {found}; --acquisition all takes any"
        )
    return chosen


def _patients(named: Sequence[str], files: Sequence[Path]) -> list[str]:
    """Patient of each file: its id where the files have one, else the file itself."""
    if not any(named):
        return [str(file) for file in files]
    without = [file for name, file in zip(named, files, strict=True) if not name]
    if without:
        raise InputError(f"{without[0]} has no patient_id and other files have: patients could be in two parts")
    return list(named)


def _split(
    parts: Sequence[ImageVolume], patients: Sequence[str], experiment: Experiment, seed: int, n_patients: int | None
) -> list[Images]:
    everyone = sorted(set(patients))
    wanted = min(n_patients or len(everyone), experiment.n_volumes or len(everyone), len(everyone))
    if wanted < len(_PARTS):
        raise InputError(f"{wanted} patients: training, validation and test need at least one each")
    chosen = {everyone[i] for i in np.random.default_rng([seed, 11]).permutation(len(everyone))[:wanted]}
    kept = [(part, who) for part, who in zip(parts, patients, strict=True) if who in chosen]
    split = split_by_volume(Images([part for part, _ in kept]), experiment.split, seed, [who for _, who in kept])
    if experiment.n_volumes is None:
        return split
    owner = {part.name: who for part, who in kept}
    return [_first_scans(part, owner, round(share)) for part, share in zip(split, experiment.split, strict=True)]


def _first_scans(images: Images, owner: Mapping[str, str], most: int) -> Images:
    """Keep as many scans as the paper's part has, first one of every patient, then the second ones."""
    seen: dict[str, int] = {}
    ranked = []
    for part in images.parts:
        rank = seen[owner[part.name]] = seen.get(owner[part.name], -1) + 1
        ranked.append((rank, part))
    return Images([part for _, part in sorted(ranked, key=lambda pair: pair[0])[:most]])


Read = Callable[[int], NDArray[np.complex64]]


def _fitted(read: Read, size: int, magnitude: bool, i: int) -> NDArray[np.complex64]:
    image = center_section(read(i), size)
    return np.abs(image).astype(np.complex64) if magnitude else image


def _kspace(read: Read, i: int) -> NDArray[np.complex64]:
    kspace = fft2c(read(i))
    return kspace if kspace.ndim == 3 else kspace[np.newaxis]


def _magnitude(read: Read, i: int) -> NDArray[np.float32]:
    image = read(i)
    return (np.linalg.norm(image, axis=0) if image.ndim == 3 else np.abs(image)).astype(np.float32)
