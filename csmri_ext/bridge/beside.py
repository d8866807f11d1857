"""Arrays beside k-space in its file that belong to it by their names: a sampling mask and coil sensitivities."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.maps import attach_maps
from csmri_ext.bridge.reading import note

MASK_NAMES = ("mask", "sampling_mask", "undersampling_mask", "us_mask", "umask")
MAPS_NAMES = (
    *("sens_maps", "maps", "sensitivities", "smaps", "csm", "coilmaps", "sens", "mps"),
    *("sens_map", "sensmaps", "sensitivity_maps", "coil_maps", "coil_sens", "csms"),
)
_SEPARATOR = re.compile(r"[./]")


def is_beside(name: str) -> bool:
    """Whether an array of this name belongs to another one."""
    return _last(name) in (*MASK_NAMES, *MAPS_NAMES)


def find_beside(name: str, others: Iterable[str], wanted: tuple[str, ...]) -> str | None:
    """Find the array in the structure or group of `name` that is called one of `wanted`, in any case.

    Parameters
    ----------
    name
        The array that is read, with the structures or groups that it is in: ``data.kspace``, ``scan/kspace``.
    others
        Names of all arrays of the file.
    wanted
        The likeliest first.
    """
    folder = _SEPARATOR.split(name)[:-1]
    inside = {_last(other): other for other in others if other != name and _SEPARATOR.split(other)[:-1] == folder}
    return next((inside[word] for word in wanted if word in inside), None)


def _last(name: str) -> str:
    return _SEPARATOR.split(name)[-1].lower()


def attach_beside(
    acquisition: Acquisition,
    name: str,
    read: Callable[[Any], NDArray[Any]],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    letters: str | None,
) -> None:
    """Give k-space the sensitivities beside it; those that do not fit are named, or refused if called ``sens_maps``.

    Parameters
    ----------
    acquisition
        Its ``sens_maps`` are set; images need none.
    name
        Of the array of sensitivities.
    read, shape, dtype, letters
        As `maps.attach_maps` takes them.

    Raises
    ------
    FileFormatError
        ``sens_maps`` fit in no order.
    """
    if acquisition.attrs.get("simulated"):
        return
    try:
        attach_maps(acquisition, read, shape, dtype, Path(acquisition.attrs["path"]), letters=letters, name=name)
    except FileFormatError:
        if _last(name) == MAPS_NAMES[0]:
            raise
        note(acquisition.attrs, f"{name} of shape {shape} beside k-space does not fit as sensitivities: it is not used")
