"""From a ``.cfl`` or ``.ra`` file of k-space to an `Acquisition`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition, LazyStack
from csmri_ext.bridge.bart_files.cfl import read_cfl, read_cfl_header
from csmri_ext.bridge.bart_files.dims import MAPS_DIM, from_bart, image_plane
from csmri_ext.bridge.bart_files.header import CflError
from csmri_ext.bridge.from_slices import kspace_acquisition


def load_cfl_kspace(
    path: str | os.PathLike[str], *, sens_maps: str | os.PathLike[str] | None = None, x_dim: int | None = None
) -> Acquisition:
    """Read centred k-space as BART stores it; slices are read when they are used.

    Parameters
    ----------
    path
        ``name``, ``name.cfl``, ``name.hdr`` or ``name.ra``. BART dimensions as in `bart_dims.from_bart`: one
        image plane in dimensions 0 to 2, coils on 3, slices on 10, 13 or 15.
    sens_maps
        A second file with coil sensitivities, for example from ``bart ecalib -m 1``: for each slice or one for all.
    x_dim
        BART dimension that becomes x, the axis that masks of this package undersample. Default: the lower one of the
        image plane, so that nothing moves in memory. ``x_dim=1`` for a file with the readout on dimension 0.

    Returns
    -------
        `mask` is found from samples that are exactly zero in every coil of the first slice; it is None, and `target`
        the root sum of squares of the coil images, where the data are fully sampled. `attrs` holds ``dims`` (BART's),
        ``image_dims`` (BART dimensions of y and x), ``command`` and ``provenance``.

    Raises
    ------
    CflError
        The file cannot be read, holds several sets of maps (an image or sensitivities), or other dimensions.
    FileFormatError
        A slice has NaN or infinite values, is zero everywhere, or was sampled elsewhere than the first one.
    """
    kspace = _CflSlices(path, x_dim)
    dims, shape = kspace.describe("k-space")
    maps = None
    if sens_maps is not None:
        maps_reader = _CflSlices(sens_maps, x_dim)
        _, maps_shape = maps_reader.describe("coil sensitivities")
        if maps_shape[1:] != shape[1:] or maps_shape[0] not in (1, shape[0]):
            raise CflError(
                f"{os.fspath(sens_maps)}: sensitivities of (slices, coils, ny, nx) = {maps_shape} do not fit "
                f"k-space {shape} of {os.fspath(path)}"
            )
        read_maps = maps_reader if maps_shape[0] == shape[0] else _First(maps_reader)
        maps = LazyStack(read_maps, shape[0], shape[1:], np.complex64)
    plane = image_plane(dims)
    x = plane[0] if x_dim is None else x_dim
    attrs: dict[str, Any] = {"dims": dims, "image_dims": (plane[1] if x == plane[0] else plane[0], x)}
    if not os.fspath(path).endswith(".ra"):
        header = read_cfl_header(path)
        attrs |= {"command": header.command, "creator": header.creator, "provenance": header.provenance}
    file = _file(path)
    return kspace_acquisition(kspace, shape, file, file.suffix[1:], sens_maps=maps, attrs=attrs)


@dataclass(frozen=True)
class _CflSlices:
    """``read(i)``: slice i as (coils, ny, nx). Maps the file anew each time, so that it can go to other processes."""

    path: str | os.PathLike[str]
    x_dim: int | None

    def __call__(self, i: int) -> NDArray[np.complex64]:
        return np.asarray(from_bart(read_cfl(self.path), x_dim=self.x_dim)[i])

    def describe(self, what: str) -> tuple[tuple[int, ...], tuple[int, int, int, int]]:
        """BART dimensions, and shape as (slices, coils, ny, nx)."""
        array = read_cfl(self.path)
        if array.shape[MAPS_DIM] > 1:
            raise CflError(
                f"{os.fspath(self.path)}: BART dimension {MAPS_DIM} (maps) has size {array.shape[MAPS_DIM]}, "
                f"expected {what} with one set"
            )
        try:
            slices, coils, ny, nx = from_bart(array, x_dim=self.x_dim).shape
        except CflError as error:
            raise CflError(f"{os.fspath(self.path)}: {error}") from None
        return array.shape, (slices, coils, ny, nx)


@dataclass(frozen=True)
class _First:
    read: _CflSlices

    def __call__(self, _: int) -> NDArray[np.complex64]:
        return self.read(0)


def _file(path: str | os.PathLike[str]) -> Path:
    """Name the file of the data, with extension: ``name`` becomes ``name.cfl``."""
    name = os.fspath(path)
    if name.endswith(".ra"):
        return Path(name)
    return Path(name.removesuffix(".hdr").removesuffix(".cfl") + ".cfl")
