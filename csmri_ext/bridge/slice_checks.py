"""What every reader does with a slice: one line of error whatever goes wrong, no NaN, no infinity, no empty slice."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.file_errors import EmptySliceError, FileFormatError


@contextmanager
def format_errors(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a file library raises into one `FileFormatError`: ``path: not a readable <kind> file (reason)``.

    Errors of the system (missing file, no permission) get the path where they lack it; those of memory, and missing
    packages, pass unchanged.

    Parameters
    ----------
    path
        The file being read.
    kind
        What the file should be: ``"NIfTI"``, ``"HDF5"``.
    """
    try:
        yield
    except (FileFormatError, MemoryError, ImportError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if "unable to lock file" in reason:
            raise FileFormatError(
                f"{path}: another program has the file open, and HDF5 locks it: wait until it is written, or set "
                "HDF5_USE_FILE_LOCKING=FALSE in the environment"
            ) from error
        if isinstance(error, OSError) and ("filter" in reason or "plugin" in reason):
            raise FileFormatError(
                f"{path}: compressed in a way that needs a plugin of HDF5, as blosc and zstd do: pip install hdf5plugin"
            ) from error
        of_the_system = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)  # EINVAL: a wrong offset
        if isinstance(error, OSError) and (of_the_system or isinstance(error, FileNotFoundError)):
            if error.errno is None or error.filename is not None:
                raise
            raise OSError(error.errno, os.strerror(error.errno), os.fspath(path)) from error  # h5py names no file
        raise FileFormatError(f"{path}: not a readable {kind} file ({reason[:200]})") from error


@dataclass(frozen=True)
class CheckedSlices:
    """``checked(i)`` reads slice ``first + i`` and refuses NaN, infinite and all-zero data, naming file and slice.

    Attributes
    ----------
    read
        ``read(i)`` returns slice i of the file.
    path, kind
        Named in errors.
    first
        Slice of the file that is slice 0 here.
    mask
        Samples that may differ from zero; data outside it mean that slices were sampled differently.
    """

    read: Callable[[int], NDArray[Any]]
    path: Path
    kind: str
    first: int = 0
    mask: NDArray[np.bool_] | None = None

    def __call__(self, i: int) -> NDArray[Any]:
        """Read and check one slice."""
        item = self.read_finite(i)
        where = f"{self.path}: slice {self.first + i} (counted from 0)"
        if not item.any():
            raise EmptySliceError(f"{where} is zero everywhere")
        if self.mask is not None and item[..., ~np.broadcast_to(self.mask, item.shape[-2:])].any():
            raise FileFormatError(f"{where} was sampled elsewhere than slice 0; one file holds one sampling pattern")
        return item

    def read_finite(self, i: int) -> NDArray[Any]:
        """Read one slice, which may be empty."""
        with format_errors(self.path, self.kind):
            item = self.read(self.first + i)
        if not np.isfinite(item).all():
            where = f"{self.path}: slice {self.first + i} (counted from 0)"
            raise FileFormatError(f"{where} has NaN or infinite values{_in_the_margin(item)}")
        return item


def _in_the_margin(item: NDArray[Any]) -> str:
    """Say where the bad values are if they fill rows and columns at the border, as some programs pad with NaN."""
    bad = ~np.isfinite(item).reshape(-1, *item.shape[-2:]).all(axis=0)
    rows, columns = (np.flatnonzero(~bad.all(axis=axis)) for axis in (1, 0))
    if not rows.size or not columns.size:
        return ""
    good = bad[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if good.any():
        return ""
    ny, nx = bad.shape
    return (
        f" in its margin only: all but rows {rows[0]} to {rows[-1]} of {ny} and columns {columns[0]} to {columns[-1]} "
        f"of {nx}; set the margin to zero"
    )
