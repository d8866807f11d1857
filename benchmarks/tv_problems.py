"""Undersampled slices for the comparisons of `csmri_ext.iterative.tv` with BART: from the phantom, or from files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge import ecalib, load
from csmri_ext.iterative.tv import TvResult, solve_tv
from csmri_ext.phantom.subjects import coil_maps, phantom_acquisition
from csmri_ext.physics import make_mask


@dataclass
class TvProblem:
    """One slice: k-space ``(coils, ny, nx)``, mask ``(nx,)`` or ``(ny, nx)``, maps or None for one coil."""

    name: str
    kspace: NDArray[np.complex64]
    mask: NDArray[np.bool_]
    sens_maps: NDArray[np.complex64] | None

    def solve(self, **options: Any) -> TvResult:
        """Our solution."""
        return solve_tv(self.kspace, self.mask, self.sens_maps, **options)


def phantom_problem(size: tuple[int, int], n_coils: int, mask: str, acceleration: float, seed: int = 0) -> TvProblem:
    """One phantom slice, with its true coil sensitivities."""
    kspace = np.asarray(phantom_acquisition(1, size, seed, n_coils=n_coils).kspace[0])
    sens_maps = coil_maps(size, n_coils, seed) if n_coils > 1 else None
    coils = "1 coil" if n_coils == 1 else f"{n_coils} coils"
    name = f"phantom {size[0]} x {size[1]}, {coils}, {mask} {acceleration:g}x"
    return TvProblem(name, kspace, make_mask(mask, kspace.shape, acceleration, seed=seed).numpy(), sens_maps)


def file_problems(paths: Sequence[str], masks: Sequence[str], accelerations: Sequence[float]) -> Iterator[TvProblem]:
    """Take the middle slice of each file at each mask, or with the mask of the file; maps from ``bart ecalib``."""
    for path in paths:
        acquisition = load(path)
        kspace = np.asarray(acquisition.kspace[acquisition.n_slices // 2])
        settings: list[tuple[str, NDArray[np.bool_]]]
        if acquisition.mask is not None:
            settings = [("own mask", np.asarray(acquisition.mask))]
        else:
            settings = [
                (f"{kind} {factor:g}x", make_mask(kind, kspace.shape, factor, seed=acquisition.name).numpy())
                for kind in masks
                for factor in accelerations
            ]
        for title, mask in settings:
            maps = ecalib(np.where(mask, kspace, np.complex64(0))) if len(kspace) > 1 else None
            yield TvProblem(f"{acquisition.name}, {title}", kspace, mask, maps)
