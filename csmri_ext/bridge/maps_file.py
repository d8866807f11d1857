"""Coil sensitivities in a file of their own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition
from csmri_ext.bridge.bart_files.cfl import read_cfl
from csmri_ext.bridge.bart_files.dims import from_bart
from csmri_ext.bridge.beside import MAPS_NAMES
from csmri_ext.bridge.file_arrays import choose_stored, is_bart
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.maps import attach_maps


def load_maps(path: str | os.PathLike[str], acquisition: Acquisition, *, key: str | None = None) -> None:
    """Read the sensitivities of an acquisition from a file of their own.

    Parameters
    ----------
    path
        BART's ``.cfl`` or ``.ra``, ``.npy``, ``.npz``, ``.mat`` or ``.h5``.
    acquisition
        Its ``sens_maps`` are set.
    key
        Name of the array; default ``sens_maps``, another usual name, or the only one.

    Raises
    ------
    FileFormatError
        As in `attach_maps`.
    """
    file = Path(path)
    if not is_bart(path):
        stored = choose_stored(path, MAPS_NAMES, "coil sensitivities", key)
        attach_maps(acquisition, stored.read, stored.shape, stored.dtype, file)
        return
    array = read_cfl(path)
    try:
        image_dims = acquisition.attrs.get("image_dims")
        maps = from_bart(array, 5, x_dim=image_dims[1] if image_dims else None)
        if (
            image_dims is None and maps.shape[-2:] == acquisition.matrix_size[::-1]
        ):  # which of BART's is y, unknown here
            maps = maps.swapaxes(-2, -1)
    except ValueError as error:
        raise FileFormatError(f"{file}: {error}") from None
    attach_maps(acquisition, _Mapped(maps), maps.shape, maps.dtype, file, letters="smcyx")


@dataclass(frozen=True)
class _Mapped:
    array: NDArray[Any]

    def __call__(self, index: Any) -> NDArray[Any]:
        return np.asarray(self.array[index])
