"""From a ``.cfl`` or ``.ra`` file of k-space to an `Acquisition`."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition, LazyStack
from csmri_ext.bridge.arrays.axes import array_acquisition
from csmri_ext.bridge.arrays.domain import domain_of
from csmri_ext.bridge.arrays.order import order_of, tiny_axis
from csmri_ext.bridge.bart_files.cfl import read_cfl, read_cfl_header
from csmri_ext.bridge.bart_files.dims import (
    BART_NAMES,
    FRAME_DIMS,
    MAPS_DIM,
    SLICE_DIM,
    from_bart,
    image_plane,
    phase_encoding_dim,
)
from csmri_ext.bridge.bart_files.header import CflError
from csmri_ext.bridge.from_images import image_acquisition
from csmri_ext.bridge.from_kspace import kspace_acquisition
from csmri_ext.bridge.reading import choose_frames, note


def load_cfl_kspace(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    sens_maps: str | os.PathLike[str] | None = None,
    x_dim: int | None = None,
    phase_encoding: str | None = None,
    frames: Sequence[int] | None = None,
    domain: str | None = None,
    force: bool = False,
) -> Acquisition:
    """Read centred k-space as BART stores it; slices are read when they are used.

    Parameters
    ----------
    path
        ``name``, ``name.cfl``, ``name.hdr`` or ``name.ra``. BART dimensions as in `bart_dims.from_bart`: one
        image plane in dimensions 0 to 2, coils on 3, slices on 13, frames on 10 to 12, 14 and
        15: the slices of the first frame come first.
    axes
        Another order of the first dimensions, see `reading.parse_axes`; the others must be 1.
    sens_maps
        A second file with coil sensitivities, for example from ``bart ecalib -m 1``: for each slice or one for all. Of
        several sets the first is taken.
    x_dim
        BART dimension that becomes x, the axis that masks of this package undersample. Default: the lower one of the
        image plane, so that nothing moves in memory. ``x_dim=1`` for a file with the readout on dimension 0.
    phase_encoding
        The same in words: ``READ``, ``PHS1``, ``PHS2``, a number, or ``y``, the other one than by default.
    frames
        Those to read; default all.
    domain
        ``image``: the file holds images, as ``bart pics`` writes them; without coils.
    force
        Take data that look non-Cartesian.

    Returns
    -------
        `mask` is found from samples that are exactly zero in every coil of the first slice; it is None, and `target`
        the root sum of squares of the coil images, where the data are fully sampled. `attrs` holds ``dims`` (BART's),
        ``image_dims`` (BART dimensions of y and x), ``loop_dims`` (dimensions and sizes that slices run over, slowest
        first), ``command`` and ``provenance``.

    Raises
    ------
    CflError
        The file cannot be read, holds several sets of maps (an image or sensitivities), or other dimensions.
    FileFormatError
        A slice has NaN or infinite values, is zero everywhere, or was sampled elsewhere than the first one; the data
        look non-Cartesian.
    """
    file = _file(path)
    array = read_cfl(path)
    attrs: dict[str, Any] = {}
    if not os.fspath(path).endswith(".ra"):
        header = read_cfl_header(path)
        attrs |= {"command": header.command, "creator": header.creator, "provenance": header.provenance}
    if axes is not None:
        n_named = len(axes.replace(",", " ").split())
        shape = array.shape[: n_named if n_named > 1 else len(axes)]
        order = order_of(shape, {}, file, "", axes)
        if math.prod(array.shape[len(shape) :]) > 1:
            raise CflError(f"{file}: dimensions {array.shape}, and axes {axes!r} name {len(shape)} of them only")
        read = _Squeezed(path, len(shape))
        kind = file.suffix[1:]
        return array_acquisition(
            read, shape, array.dtype, order, file, kind, frames=frames, domain=domain, force=force, attrs=attrs
        )
    if phase_encoding is not None:
        x_dim = phase_encoding_dim(phase_encoding, array.shape, os.fspath(path))
    kspace, dims, shape = _described(path, x_dim, "k-space")
    tiny = tiny_axis(dict(zip("scyx", shape, strict=True)))
    if tiny and not force:
        raise CflError(
            f"{file}: by BART's dimensions, {' x '.join(map(str, dims[: _last_used(dims) + 1]))}, {tiny} would have "
            f"{shape['scyx'.index(tiny)]} samples: coils belong on dimension 3 and slices on 13 (`bart transpose`), or "
            "say --axes; --force goes on"
        )
    chosen = choose_frames(frames, len(kspace.places) // kspace.n_slices, str(file))
    places = tuple(kspace.places[f * kspace.n_slices + s] for f in chosen for s in range(kspace.n_slices))
    kspace = _CflSlices(path, x_dim, places, kspace.n_slices)
    shape = (len(places), *shape[1:])
    maps = None
    if sens_maps is not None:
        maps_reader, maps_dims, maps_shape = _described(sens_maps, x_dim, "coil sensitivities")
        if maps_shape[1:] != shape[1:] or maps_shape[0] not in (1, kspace.n_slices, shape[0]):
            raise CflError(
                f"{os.fspath(sens_maps)}: sensitivities of (slices, coils, ny, nx) = {maps_shape} do not fit "
                f"k-space {shape} of {os.fspath(path)}"
            )
        if maps_dims[MAPS_DIM] > 1:
            name = Path(sens_maps).name
            note(attrs, f"{name} holds {maps_dims[MAPS_DIM]} sets of coil sensitivities: the first is used")
        maps = LazyStack(_Repeated(maps_reader, maps_shape[0]), shape[0], shape[1:], np.complex64)
        n_sets = maps_dims[MAPS_DIM]
        attrs["maps_from"] = Path(sens_maps).name + (f", the first of {n_sets} sets" if n_sets > 1 else "")
    plane = image_plane(dims)
    x = plane[0] if x_dim is None else x_dim
    y = plane[1] if x == plane[0] else plane[0]
    attrs |= {"dims": dims, "image_dims": (y, x), "n_frames": len(chosen), "axes": _in_words(dims, y, x)}
    attrs |= {
        "axes_from": "BART's dimensions",
        "phase_encoding": f"phase encoding {BART_NAMES[x]}, which masks undersample",
    }
    loops = _loop_dims(dims)
    if len(places) < math.prod(n for _, n in loops):  # the chosen frames, on one dimension
        loops = [(loops[0][0], len(chosen)), *[loop for loop in loops[1:] if loop[0] == SLICE_DIM]]
    attrs["loop_dims"] = loops
    holds = domain_of(file, "", domain, is_complex=True)
    attrs |= {"domain_from": holds.words} if holds.words else {}
    if not holds.is_kspace:
        if shape[1] > 1 or maps is not None:
            what = "coils" if maps is None else "sensitivities"
            raise CflError(f"{file}: images have no {what}: combine the coils, or leave out --domain image")
        return image_acquisition(_OneCoil(kspace), shape[0], shape[2:], file, file.suffix[1:], attrs, force=force)
    return kspace_acquisition(kspace, shape, file, file.suffix[1:], sens_maps=maps, force=force, attrs=attrs)


def _in_words(dims: tuple[int, ...], y: int, x: int) -> str:
    """Name the dimensions longer than one, BART's first one first: ``x (READ) y (PHS1) coil slice``."""
    words = {y: f"y ({BART_NAMES[y]})", x: f"x ({BART_NAMES[x]})", 3: "coil", SLICE_DIM: "slice"}
    shown = [d for d, n in enumerate(dims) if n > 1 or d in (y, x)]
    return " ".join(words.get(d, f"frame ({BART_NAMES[d]})") for d in shown)


def _last_used(dims: tuple[int, ...]) -> int:
    return max((d for d, n in enumerate(dims) if n > 1), default=0)


def _loop_dims(dims: tuple[int, ...]) -> list[tuple[int, int]]:
    """Dimensions that slices run over with their sizes, slowest first: frames, then slices."""
    frames = [(d, dims[d]) for d in reversed(FRAME_DIMS) if dims[d] > 1]
    slices = [(SLICE_DIM, dims[SLICE_DIM])] if dims[SLICE_DIM] > 1 else []
    return frames + slices


def _described(
    path: str | os.PathLike[str], x_dim: int | None, what: str
) -> tuple[_CflSlices, tuple[int, ...], tuple[int, int, int, int]]:
    """Reader of an array, its BART dimensions, and its shape as (slices, coils, ny, nx)."""
    dims = read_cfl(path).shape
    if dims[MAPS_DIM] > 1 and what == "k-space":
        raise CflError(
            f"{os.fspath(path)}: BART dimension {MAPS_DIM} (maps) has size {dims[MAPS_DIM]}, "
            f"expected {what} with one set"
        )
    loops = _loop_dims(dims)
    n_slices = dims[SLICE_DIM]
    places = tuple(np.ndindex(*(n for _, n in loops)))
    indices = tuple(tuple((d, i) for (d, _), i in zip(loops, place, strict=True)) for place in places)
    reader = _CflSlices(path, x_dim, indices, n_slices)
    try:
        coils, ny, nx = reader.view(0).shape
    except CflError as error:
        raise CflError(f"{os.fspath(path)}: {error}") from None
    return reader, dims, (len(indices), coils, ny, nx)


@dataclass(frozen=True)
class _CflSlices:
    """``read(i)``: slice i as (coils, ny, nx). Maps the file anew each time, so that it can go to other processes.

    Attributes
    ----------
    path, x_dim
        As in `load_cfl_kspace`.
    places
        Of each slice, the index on every dimension that slices run over.
    n_slices
        Slices of a frame.
    """

    path: str | os.PathLike[str]
    x_dim: int | None
    places: tuple[tuple[tuple[int, int], ...], ...]
    n_slices: int

    def __call__(self, i: int) -> NDArray[np.complex64]:
        return np.asarray(self.view(i))

    def view(self, i: int) -> NDArray[np.complex64]:
        array = read_cfl(self.path)
        index: list[Any] = [slice(None)] * array.ndim
        for dim, place in self.places[i]:
            index[dim] = slice(place, place + 1)
        return from_bart(array[tuple(index)], 5, x_dim=self.x_dim)[0, 0]


@dataclass(frozen=True)
class _OneCoil:
    """``read(i)``: image i, (ny, nx)."""

    read: _CflSlices

    def __call__(self, i: int) -> NDArray[np.complex64]:
        return self.read(i)[0]


@dataclass(frozen=True)
class _Repeated:
    """Maps of slice i, counted round: one for all, or those of each slice for every frame."""

    read: _CflSlices
    n: int

    def __call__(self, i: int) -> NDArray[np.complex64]:
        return self.read(i % self.n)


@dataclass(frozen=True)
class _Squeezed:
    """``read(index)`` of an array without its last dimensions."""

    path: str | os.PathLike[str]
    n_axes: int

    def __call__(self, index: tuple[int | slice, ...]) -> NDArray[np.complex64]:
        array = read_cfl(self.path)
        return np.asarray(array.reshape(array.shape[: self.n_axes], order="F")[index])


def _file(path: str | os.PathLike[str]) -> Path:
    """Name the file of the data, with extension: ``name`` becomes ``name.cfl``."""
    name = os.fspath(path)
    if name.endswith(".ra"):
        return Path(name)
    return Path(name.removesuffix(".hdr").removesuffix(".cfl") + ".cfl")
