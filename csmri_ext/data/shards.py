"""Phantom volumes on disk: drawn once, read many times, so that training does not wait for the phantom."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.atomic import clear_leftovers, replacing
from csmri_ext.data.images import Images, ImageVolume
from csmri_ext.outputs import require_free
from csmri_ext.phantom.subjects import phantom_volume

_SETTINGS = "phantom.json"
_VERSION = 2  # raise it when the same seeds give other images: old folders are then refused


@dataclass(frozen=True)
class PhantomSettings:
    """Which phantom volumes a folder holds.

    Attributes
    ----------
    size
        Rows and columns of the images.
    slices
        Slices of a volume.
    seed
        The volume with number i is the phantom with this seed plus i.
    anatomies
        Anatomies, taken in turn.
    """

    size: int = 320
    slices: int = 4
    seed: int = 0
    anatomies: tuple[str, ...] = ("brain", "body", "brain", "abstract")

    def name(self, number: int) -> str:
        """Name of a volume, which is the stem of its file."""
        return f"{self.anatomies[number % len(self.anatomies)]}_{self.seed + number:06d}"


def phantom_shards(
    folder: str | os.PathLike[str],
    n_volumes: int,
    settings: PhantomSettings | None = None,
    *,
    workers: int = 1,
    progress: Callable[[int], object] | None = None,
) -> Images:
    """Draw the phantom volumes that a folder lacks, and open all of them.

    A volume is one ``.npy`` file of float16, ``(slices, size, size, 2)``, real and imaginary part: rounding of 5e-4,
    well below the noise. Files appear whole or not at all, so the work can be stopped, resumed, and shared by several
    processes.

    Parameters
    ----------
    folder
        Made where it does not exist; filled with other settings it is refused.
    n_volumes
        Number of volumes.
    settings
        Default: `PhantomSettings`.
    workers
        Processes that draw.
    progress
        Called with the number of volumes that are ready, after each.

    Returns
    -------
        The images, by volume.

    Raises
    ------
    ValueError
        No volumes; or the folder holds volumes of other settings, or files of these names that are no phantoms.
    OSError
        The folder cannot be written.
    """
    settings = settings or PhantomSettings()
    if n_volumes < 1:
        raise ValueError(f"{n_volumes} phantom volumes: expected at least 1")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    clear_leftovers(folder)
    paths = [folder / f"{settings.name(number)}.npy" for number in range(n_volumes)]
    require_free(folder, [path.name for path in paths], (_SETTINGS,), "--cache")
    _claim(folder, settings)
    missing = [number for number, path in enumerate(paths) if not path.is_file()]
    ready = n_volumes - len(missing)
    for _ in _drawn(folder, settings, missing, workers):
        ready += 1
        if progress is not None:
            progress(ready)
    return Images([ImageVolume(path.stem, settings.slices, partial(_read, path)) for path in paths])


def _drawn(folder: Path, settings: PhantomSettings, numbers: Sequence[int], workers: int) -> Iterator[None]:
    draw = partial(_draw, folder, settings)
    if workers <= 1 or len(numbers) <= 1:
        yield from map(draw, numbers)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(draw, number) for number in numbers]):
            yield future.result()


def _claim(folder: Path, settings: PhantomSettings) -> None:
    """Write the settings of a new folder, or compare those of an old one."""
    wanted = json.loads(json.dumps({"version": _VERSION, **asdict(settings)}))
    path = folder / _SETTINGS
    if not path.is_file():
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(wanted, indent=1) + "\n")
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise ValueError("no mapping")
    except ValueError as error:
        raise ValueError(f"{path} is not the record of drawn phantoms ({error}): choose another folder") from error
    if found != wanted:
        differing = [key for key in wanted if found.get(key) != wanted[key]]
        told = ", ".join(f"{key} {found.get(key)} instead of {wanted[key]}" for key in differing)
        raise ValueError(f"{folder} holds phantoms of other settings ({told}): choose another folder")


def _draw(folder: Path, settings: PhantomSettings, number: int) -> None:
    name = settings.name(number)
    anatomy = settings.anatomies[number % len(settings.anatomies)]
    volume = phantom_volume(settings.slices, settings.size, settings.seed + number, anatomy=anatomy)
    with replacing(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
        np.save(file, np.stack([volume.real, volume.imag], axis=-1).astype(np.float16))


def _read(path: Path, i: int) -> NDArray[np.complex64]:
    halves = np.load(path, mmap_mode="r")[i].astype(np.float32)
    return halves.view(np.complex64)[..., 0]
