"""Undersampled scans to learn from without a reference: measured samples, split into input and loss."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from csmri_ext.bridge.acquisition import Acquisition, middle_slices
from csmri_ext.bridge.file_errors import EmptySliceError
from csmri_ext.bridge.load import Files
from csmri_ext.data.dataset import Masks
from csmri_ext.data.images import Images, ImageVolume, files_of, first_filled
from csmri_ext.errors import InputError
from csmri_ext.physics import calibration_shortfall, estimate_sens_maps, fft2c, find_echo, ifft2c
from csmri_ext.physics.held_back import hold_back
from csmri_ext.progress import note_once

VALIDATION_SHARE = 0.2  # of the samples of a slice that its validation holds back
_MOST_TRIES = 20
WAY_OUT = "files with sensitivities of their own need no such centre (csmri train has no --sens-maps)"


class Scan(NamedTuple):
    """One measured slice.

    Attributes
    ----------
    kspace
        complex64 (coils, ny, nx), or (ny, nx) of one coil.
    mask
        bool (ny, nx); None: fully sampled.
    sens_maps
        complex64 (coils, ny, nx), None where the file has none.
    name
        Of the file.
    columns
        bool (nx,): False in columns that were not measured before any mask; None: all were.
    """

    kspace: Tensor
    mask: Tensor | None
    sens_maps: Tensor | None
    name: str
    columns: Tensor | None = None


class HeldBackSample(NamedTuple):
    """One slice, or a batch of equal sizes with a leading axis.

    Attributes
    ----------
    kspace
        complex64 (ny, nx), or (coils, ny, nx): everything that was acquired.
    mask
        bool (ny, nx): the samples that the network sees.
    target
        bool (ny, nx): the samples that it shall predict.
    sens_maps
        complex64 (coils, ny, nx); None for one coil.
    """

    kspace: Tensor
    mask: Tensor
    target: Tensor
    sens_maps: Tensor | None


def open_scans(
    paths: Sequence[str | os.PathLike[str]],
    *,
    slices: int | float | None = None,
    reading: Files | None = None,
    opened: Callable[[str, Acquisition], None] = lambda *_: None,
) -> Images:
    """Open files of k-space, undersampled or not; the slices are `Scan`, in volumes as `Images` has them.

    Parameters
    ----------
    paths, slices, reading, opened
        As in `open_images`. Frames that were sampled differently are volumes of their own.

    Raises
    ------
    FileFormatError
        An unreadable file. No file at all.
    InputError
        Undersampled coils without sensitivities and without a centre to estimate them from.
    """
    volumes = []
    files, reading = files_of(paths), reading or Files()
    reading = reading.of_many() if len(files) > 1 else reading
    for path, name in files:
        acquisitions = reading.open(path)
        for number, acquisition in enumerate(acquisitions):
            own = name if len(acquisitions) == 1 else f"{name} frame {number}"
            opened(own, acquisition)
            _require_center(acquisition, own)
            chosen = middle_slices(acquisition.n_slices, slices)
            read = partial(_scan, acquisition, chosen.start)
            volumes.append(ImageVolume(own, len(chosen), read))  # type: ignore[arg-type]
    return Images(volumes)


def _require_center(acquisition: Acquisition, name: str) -> None:
    """Refuse coils that cannot be calibrated before anything has been learnt, not when their turn comes."""
    if acquisition.mask is None or acquisition.n_coils == 1 or acquisition.sens_maps is not None:
        return
    mask, shape = np.asarray(acquisition.mask), acquisition.matrix_size
    reason = calibration_shortfall(mask, shape)
    if reason:  # around the middle; the lines may lie around an echo elsewhere
        try:
            middle = np.asarray(acquisition.kspace[acquisition.n_slices // 2])
        except EmptySliceError:
            middle = np.zeros((1, *shape))
        reason = calibration_shortfall(mask, shape, find_echo(np.where(mask, middle, 0)))
    if reason:
        raise InputError(f"{name}: {reason}; {WAY_OUT}")


def _scan(acquisition: Acquisition, first: int, i: int) -> Scan:
    kspace = torch.from_numpy(np.array(acquisition.kspace[first + i], np.complex64))
    mask, maps = acquisition.mask, acquisition.sens_maps
    several = kspace.shape[0] > 1
    return Scan(
        kspace if several else kspace[0],
        None if mask is None else torch.from_numpy(np.array(mask)).broadcast_to(kspace.shape[-2:]),
        torch.from_numpy(np.array(maps[first + i], np.complex64)) if several and maps is not None else None,
        acquisition.name,
        torch.from_numpy(np.atleast_2d(acquisition.measured).any(axis=0)),
    )


class HeldBackSamples(Dataset[HeldBackSample]):
    """Scans whose samples are split at random into what a network sees and what it shall predict, reproducibly.

    Samples ``k batch_size ... (k + 1) batch_size - 1`` have one shape.

    Parameters
    ----------
    scans
        `Scan` each.
    masks
        Applied to scans that are fully sampled.
    strip
        Rows of strips under masks of whole columns, see `UndersampledImages`; 0: whole slices.
    share
        Of the acquired samples that shall be predicted.
    splits
        Fixed splits of each slice to draw from (multi-mask); 0: a new one each time.
    length
        Samples of an epoch; None: every scan once, whole, with a split that stays (a validation set).
    batch_size
        See above.
    seed, epoch
        Of the random numbers.
    """

    def __init__(
        self,
        scans: Sequence[Scan],
        masks: Masks,
        *,
        strip: int = 0,
        share: float = 0.4,
        splits: int = 0,
        length: int | None = None,
        batch_size: int = 1,
        seed: int = 0,
        epoch: int = 0,
    ) -> None:
        if not len(scans):
            raise ValueError("a set without scans")
        if not 0 < share < 1 or splits < 0:
            raise ValueError(f"share {share:g}, {splits} splits: expected between 0 and 1, and 0 or more")
        self.scans, self.masks, self.share, self.splits, self.strip = scans, masks, share, splits, strip
        self.length, self.batch_size, self.seed, self.epoch = length, batch_size, seed, epoch

    def __len__(self) -> int:
        return len(self.scans) if self.length is None else self.length

    def __getitem__(self, i: int) -> HeldBackSample:
        if not 0 <= i < len(self):
            raise IndexError(i)
        if self.length is None:
            return self._sample(i, self.scans[i], np.random.default_rng([self.seed, 13, i]), VALIDATION_SHARE, 0, 1)
        number, scan = lead = self._drawn(self._rng(12, i // self.batch_size))
        rng = self._rng(13, i)
        if i % self.batch_size:
            number, scan = self._alike(lead, rng)
        return self._sample(number, scan, rng, self.share, self.strip, self.splits)

    def _rng(self, stream: int, i: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream, self.epoch, i])

    def _drawn(self, rng: np.random.Generator) -> tuple[int, Scan]:
        """Draw a scan and its number; one that is zero everywhere is drawn again."""
        return first_filled(self.scans, (int(rng.integers(len(self.scans))) for _ in range(_MOST_TRIES)))

    def _alike(self, lead: tuple[int, Scan], rng: np.random.Generator) -> tuple[int, Scan]:
        """Draw a scan of the shape of the first of the batch; after some misses that one serves again."""
        for _ in range(_MOST_TRIES):
            number, scan = self._drawn(rng)
            if scan.kspace.shape == lead[1].kspace.shape:
                return number, scan
        return lead

    def _sample(
        self, number: int, scan: Scan, rng: np.random.Generator, share: float, strip: int, splits: int
    ) -> HeldBackSample:
        kspace, mask = scan.kspace, scan.mask
        if mask is None:
            ny, nx = kspace.shape[-2:]
            mask = self.masks.draw(number, (ny, nx), scan.name)
        if scan.columns is not None:  # nothing to predict there
            mask = mask & scan.columns
        kspace = kspace * mask
        maps = scan.sens_maps
        if kspace.ndim == 3 and maps is None:
            told = partial(_note_outside, scan.name)
            try:
                maps = estimate_sens_maps(kspace, mask, cropped=False, told=told)
            except ValueError as error:
                raise InputError(f"{scan.name}: coil sensitivities: {error}; {WAY_OUT}") from error
        if 0 < strip < mask.shape[0] and bool((mask == mask[:1]).all()):
            first = int(rng.integers(mask.shape[0] - strip + 1))
            kept = slice(first, first + strip)
            mask = mask[kept]
            kspace = fft2c(ifft2c(kspace)[..., kept, :]) * mask
            maps = None if maps is None else maps[:, kept].contiguous()
        seed = int(rng.integers(2**31))
        if splits:
            fixed = np.random.default_rng([self.seed, 14, number, int(rng.integers(splits))])
            seed = int(fixed.integers(2**31))
        seen, judged = hold_back(mask, share, torch.Generator().manual_seed(seed), [find_echo(kspace)])
        return HeldBackSample(kspace, seen, judged, maps)


def _note_outside(name: str, text: str) -> None:
    note_once(f"{name}: {text}", f"{name}: echo")


def stacked_scans(samples: list[HeldBackSample]) -> HeldBackSample:
    """Make a batch of samples of one shape, each with a leading axis."""
    kspace, mask, target, maps = zip(*samples, strict=True)
    return HeldBackSample(
        torch.stack(kspace), torch.stack(mask), torch.stack(target), None if maps[0] is None else torch.stack(maps)
    )
