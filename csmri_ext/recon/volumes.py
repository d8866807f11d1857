"""The volumes of a comparison: files, folders or the procedural phantom, opened, checked and cut to slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge import Acquisition, reading
from csmri_ext.bridge.file_errors import EmptySliceError
from csmri_ext.errors import InputError

CHUNK_BYTES = 64 * 2**20  # k-space held in memory at once
CHUNK_SLICES = 16  # and at most this many slices, so that progress shows
SMALLEST_IMAGE = 7  # the window of SSIM
FLOAT32_RANGE = 1e-18, 1e18  # of the largest sample: its square, summed over an image, must stay a float32


@dataclass
class Volume:
    """One input volume and the slices of it that take part.

    Attributes
    ----------
    label
        Unique name in tables and results: the file name, with its folder where two files share a name.
    acquisition
        What the bridge read.
    slices
        Indices into the file's slices.
    source
        Where it came from, for the provenance.
    sha256
        Of the file's bytes; of the k-space for the phantom.
    skipped
        Empty slices among `slices` that were left out of them.
    """

    label: str
    acquisition: Acquisition
    slices: Sequence[int]
    source: str
    sha256: str = ""
    skipped: list[int] = field(default_factory=list)
    _echoes: dict[tuple[int, bytes], tuple[int, int]] = field(default_factory=dict, repr=False, compare=False)

    def echoes(self, mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
        """Row and column of the strongest sample of each of `slices` under a mask, ``(nx,)`` or ``(ny, nx)``."""
        return [self.echo(index, mask) for index in self.slices]

    def echo(self, index: int, mask: NDArray[np.bool_]) -> tuple[int, int]:
        """Row and column of the strongest sample of a slice under a mask; the middle where it is empty."""
        from csmri_ext.physics import find_echo

        def found(key: tuple[int, bytes], seen: NDArray[np.bool_] | bool) -> tuple[int, int]:
            if key not in self._echoes:
                try:
                    samples = self.kspace([index])[0]
                except EmptySliceError:
                    samples = np.zeros((1, *self.acquisition.matrix_size), np.complex64)
                self._echoes[key] = find_echo(np.where(seen, samples, 0))
            return self._echoes[key]

        whole = found((index, b""), True)
        return whole if mask[whole[-mask.ndim :]] else found((index, np.packbits(mask).tobytes()), mask)

    @property
    def seed_name(self) -> str:
        """The file name that seeds masks, in UTF-8 for the record."""
        return self.acquisition.name.encode("utf-8", "backslashreplace").decode("utf-8")

    @property
    def image_size(self) -> tuple[int, int]:
        """``(h, w)`` that reconstructions are centre-cropped to: the reference's size, else the matrix size."""
        target, matrix_size = self.acquisition.target, self.acquisition.matrix_size
        if target is not None:
            return target.shape[1], target.shape[2]
        height, width = self.acquisition.attrs.get("recon_size", matrix_size)
        return min(height, matrix_size[0]), min(width, matrix_size[1])

    @property
    def measured(self) -> NDArray[np.bool_]:
        """What was acquired before any mask, see `Acquisition.measured`."""
        return self.acquisition.measured

    def chunks(self, most: int = CHUNK_SLICES) -> Iterator[list[int]]:
        """Cut the slices into runs of at most so many, whose k-space fits into `CHUNK_BYTES`."""
        slice_bytes = 8 * self.acquisition.n_coils * int(np.prod(self.acquisition.matrix_size))
        length = int(np.clip(CHUNK_BYTES // slice_bytes, 1, most))
        for start in range(0, len(self.slices), length):
            yield list(self.slices[start : start + length])

    def kspace(self, slices: Sequence[int]) -> NDArray[np.complex64]:
        """Read k-space of some slices: complex64 ``(len(slices), coils, ny, nx)``."""
        return np.stack([np.asarray(self.acquisition.kspace[i], np.complex64) for i in slices])

    def sens_maps(self, slices: Sequence[int]) -> NDArray[np.complex64] | None:
        """Read the file's own sensitivity maps of some slices, or None where it has none."""
        maps = self.acquisition.sens_maps
        return None if maps is None else np.stack([np.asarray(maps[i], np.complex64) for i in slices])

    @cached_property
    def unseen_share(self) -> float:
        """Share of the pixels, over all slices, where every one of the file's own sensitivity maps is 0.

        No coil sees such a pixel, so that no sample says anything about it. ``bart ecalib`` writes maps that are 0 in
        air. Without maps, and with one coil, for which they are not used, it is 0.
        """
        if self.acquisition.sens_maps is None or self.acquisition.n_coils == 1:
            return 0.0
        unseen = [~np.asarray(self.acquisition.sens_maps[i]).any(axis=0) for i in self.slices]
        return float(np.mean(unseen))

    def target(self, slices: Sequence[int]) -> NDArray[np.float32] | None:
        """Read the reference magnitude of some slices, float32 ``(len(slices), h, w)``; None where there is none."""
        reference = self.acquisition.target
        return None if reference is None else np.stack([np.asarray(reference[i], np.float32) for i in slices])

    def is_empty(self, index: int) -> bool:
        """Whether nothing was measured in a slice."""
        try:
            return not self.kspace([index]).any()
        except EmptySliceError:
            return True

    def check(self) -> None:
        """Read every slice once and refuse what no method could use.

        Raises
        ------
        InputError
            For NaN or infinite samples, an all-zero slice, samples whose squares leave the range of float32, or a mask
            or maps of another shape.
        FileFormatError
            For a slice or a reference image that the bridge refuses.
        """
        acquisition, where = self.acquisition, self.source
        ny, nx = acquisition.matrix_size
        mask, maps = acquisition.mask, acquisition.sens_maps
        if mask is not None and mask.shape not in {(nx,), (ny, nx)}:
            raise InputError(f"{where}: mask {mask.shape} does not fit k-space (ny, nx) = {(ny, nx)}")
        if maps is not None and maps.shape[1:] != acquisition.kspace.shape[1:]:
            raise InputError(
                f"{where}: sensitivity maps (slices, coils, ny, nx) = {maps.shape} do not fit "
                f"k-space {acquisition.kspace.shape}"
            )
        for index in self.slices:
            samples = self.kspace([index])
            bad = int(np.count_nonzero(~np.isfinite(samples)))
            if bad:
                raise InputError(f"{where}: k-space of slice {index} has {bad} NaN or infinite samples")
            if not samples.any():
                raise InputError(f"{where}: k-space of slice {index} is all zero")
            largest = float(np.abs(samples).max())
            if not FLOAT32_RANGE[0] < largest < FLOAT32_RANGE[1]:
                raise InputError(
                    f"{where}: the largest sample of slice {index} is {largest:.3g}, whose square leaves the range of "
                    "float32; rescale the data"
                )

    def check_reference(self) -> None:
        """Read every reference image once and refuse what no metric is defined for.

        Raises
        ------
        InputError
            For images smaller than the window of SSIM.
        FileFormatError
            For a reference with NaN or infinite values, or of zeros.
        """
        if self.acquisition.target is None:
            return
        if min(self.image_size) < SMALLEST_IMAGE:
            h, w = self.image_size
            raise InputError(f"{self.source}: images of {h} x {w}; SSIM needs {SMALLEST_IMAGE} x {SMALLEST_IMAGE}")
        for index in self.slices:
            self.target([index])

    def describe(self) -> dict[str, Any]:
        """Entry of ``provenance["inputs"]``."""
        return {
            "volume": self.label,
            "source": self.source,
            "sha256": self.sha256,
            "slices": [min([*self.slices, *self.skipped]), max([*self.slices, *self.skipped]) + 1],
            **({"skipped": self.skipped} if self.skipped else {}),
            "kspace": list(self.acquisition.kspace.shape),
            "image_size": list(self.image_size),
            "fully_sampled": self.acquisition.mask is None,
            "reading": reading(self.acquisition),
            "warnings": list(self.acquisition.attrs.get("warnings", [])),
        }


def spread(n_slices: int, count: int) -> list[int]:
    """Pick `count` positions spread over a volume, away from its ends: ``spread(9, 2) == [2, 6]``."""
    count = min(count, n_slices)
    return sorted({round((i + 1) * (n_slices + 1) / (count + 1)) - 1 for i in range(count)})
