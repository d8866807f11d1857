"""Which mask a comparison applies to which volume, and how the mask is seeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge import FileFormatError
from csmri_ext.bridge.mask_file import fit_mask, is_mask_file, read_mask
from csmri_ext.errors import InputError, unknown
from csmri_ext.recon.volumes import Volume
from csmri_ext.report.provenance import shareable

OWN_MASK = "acquired"  # mask name of data that were undersampled by the scanner


@dataclass(frozen=True)
class Sampling:
    """One mask setting: the kind, its nominal acceleration and fully sampled centre.

    ``acceleration`` is None for `OWN_MASK`, where the scanner decided, and for a mask from a file, whose `kind` is the
    name of the file and `path` where it is. ``center_fraction`` None means the mask kind's own choice (fastMRI: 0.08 at
    4x, 0.04 at 8x).
    """

    kind: str
    acceleration: float | None = None
    center_fraction: float | None = None
    path: str | None = None

    @property
    def title(self) -> str:
        """For example ``equispaced_fraction 4x``."""
        return self.kind if self.acceleration is None else f"{self.kind} {self.acceleration:g}x"

    def mask(self, volume: Volume, seed: int | None) -> NDArray[np.bool_]:
        """Make the mask of one volume: bool ``(nx,)`` or ``(ny, nx)``, True where acquired, centred.

        Parameters
        ----------
        volume
            Gives the matrix size, the file name and, for `OWN_MASK`, the mask.
        seed
            Seed of the mask; None seeds by the file name, as fastMRI does: ``tuple(map(ord, name))``.

        Raises
        ------
        InputError
            If this setting is impossible for the volume's matrix size.
        """
        if self.path is not None:
            return self._from_file(volume)[0]
        if self.kind == OWN_MASK:
            assert volume.acquisition.mask is not None
            return volume.acquisition.mask
        from csmri_ext.physics import default_center_fraction, make_mask
        from csmri_ext.physics.masks.kinds import require_room

        shape = volume.acquisition.matrix_size
        assert self.acceleration is not None
        try:
            if self.kind == "random":  # fastMRI's is the centre alone then, which nobody means by this acceleration
                fraction = self.center_fraction
                require_room(
                    shape[-1:],
                    self.acceleration,
                    default_center_fraction(self.acceleration) if fraction is None else fraction,
                )
            mask = make_mask(
                self.kind,
                shape,
                self.acceleration,
                self.center_fraction,
                volume.acquisition.name if seed is None else seed,
            )
        except ValueError as error:
            raise InputError(f"mask {self.title} for {volume.label}: {error}") from error
        return mask.numpy()

    def _from_file(self, volume: Volume) -> tuple[NDArray[np.bool_], str]:
        """Read the file's mask for one volume, and say what was done to it."""
        assert self.path is not None
        try:
            return fit_mask(read_mask(self.path), volume.acquisition.matrix_size)
        except FileFormatError:
            raise
        except ValueError as error:
            raise InputError(f"mask {self.title} for {volume.label}: {error}") from error

    def note(self, volume: Volume) -> str | None:
        """Say what was done to the mask of a file, and whether it leaves out rows; None for neither."""
        if self.path is None:
            return None
        mask, changed = self._from_file(volume)
        rows = undersampled_axes(mask) == "y"
        said = [f"was {changed}"] * bool(changed) + ["leaves out whole rows, along y; see --phase-encoding"] * rows
        return f"the mask {' and '.join(said)}" if said else None

    def describe(self, volume: Volume, seed: int | None, *, read: bool = False) -> dict[str, Any]:
        """Entry of ``provenance["masks"]``: kind, acceleration, shape, hash and sampled fraction on one volume.

        `read`: the volume can be read, so that ``center`` is what is fully sampled around the echo of its middle slice.
        """
        from csmri_ext.physics import describe_mask

        mask = self.mask(volume, seed)
        facts = describe_mask(mask, volume.echo(volume.slices[len(volume.slices) // 2], mask) if read else None)
        own = self.kind == OWN_MASK or self.path is not None
        from_file = {}
        if self.path is not None:
            from_file = {"file": shareable(self.path), "changed": self._from_file(volume)[1]}
        return {
            "setting": self.title,
            "kind": self.kind,
            "acceleration": self.acceleration,
            "center_fraction": self.center_fraction,
            "volume": volume.label,
            "shape": facts["shape"],
            "hash": facts["hash"],
            "sampled": facts["fraction"],
            "center": facts["center"],
            "seed": None if own else (volume.seed_name if seed is None else seed),
            "undersamples": undersampled_axes(mask),
            **from_file,
        }


def undersampled_axes(mask: NDArray[np.bool_]) -> str:
    """Name the axes along which a mask leaves samples out: ``x``, ``y``, ``y and x``, or ``none``."""
    plane = np.atleast_2d(mask)
    if plane.all():
        return "none"
    if (plane == plane[0]).all():
        return "x"
    return "y" if (plane == plane[:, :1]).all() else "y and x"


def sampling_grid(
    kinds: Sequence[str], accelerations: Sequence[float], center_fractions: Sequence[float] | None
) -> list[Sampling]:
    """Cross the mask kinds with the accelerations.

    Parameters
    ----------
    kinds, accelerations
        What the user asked for. A kind that is a file is one setting of its own, without acceleration.
    center_fractions
        One for all accelerations, or one for each, as in fastMRI; None leaves it to the mask kind.

    Raises
    ------
    InputError
        For an unknown kind, an acceleration below 1, a fraction outside (0, 1], or lists of different lengths.
    """
    from csmri_ext.physics import mask_kinds

    files = [kind for kind in kinds if kind not in mask_kinds() and is_mask_file(kind)]
    for file in files:
        read_mask(file)  # complain before anything else is read
    for kind in kinds:
        if kind not in mask_kinds() and kind not in files:
            raise unknown("mask", kind, mask_kinds())
    for acceleration in accelerations:
        if not acceleration >= 1:
            raise InputError(f"acceleration {acceleration:g}: it must be at least 1 (1 keeps every sample)")
    fractions: Sequence[float | None] = center_fractions or [None]
    if len(fractions) == 1:
        fractions = list(fractions) * len(accelerations)
    if len(fractions) != len(accelerations):
        raise InputError(
            f"--center-fraction has {len(fractions)} values and --acceleration {len(accelerations)}: "
            "give one, or as many"
        )
    for fraction in fractions:
        if fraction is not None and not 0 < fraction <= 1:
            raise InputError(f"center fraction {fraction:g}: it must lie in (0, 1]")
    pairs = list(zip(accelerations, fractions, strict=True))
    drawn = [kind for kind in kinds if kind not in files]
    own = [Sampling(name, path=file) for file, name in zip(files, _names(files), strict=True)]
    return [Sampling(kind, acceleration, fraction) for kind in drawn for acceleration, fraction in pairs] + own


def _names(files: Sequence[str]) -> list[str]:
    """Names of files, with their folders where two are the same."""
    names = [Path(file).name for file in files]
    return [
        name if names.count(name) == 1 else f"{Path(file).parent.name}/{name}"
        for name, file in zip(names, files, strict=True)
    ]


def samplings_of(volume: Volume, grid: Sequence[Sampling]) -> list[Sampling]:
    """List the settings that apply to a volume: the grid, or its own mask where the scanner undersampled it."""
    return [Sampling(OWN_MASK)] if volume.acquisition.mask is not None else list(grid)
