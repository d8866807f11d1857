"""BART's ``.cfl``/``.hdr`` pairs: read into memory-mapped arrays, written atomically.

``name.hdr`` is text (see `cfl_header`), ``name.cfl`` the bare complex64 values, first dimension fastest. A C-ordered
``(coils, ny, nx)`` array and a file of BART dimensions ``nx ny 1 coils`` are the same bytes, see `bart_dims`.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from csmri_ext.bridge.atomic import folder_to_disk, temporary_name, to_disk
from csmri_ext.bridge.bart_files.header import N_DIMS, CflError, CflHeader, format_header, parse_header
from csmri_ext.bridge.bart_files.ra import read_ra

_OTHER_FORMATS = (".ra", ".coo", ".shm", ".mem", ".fifo")
_BLOCK_BYTES = 16 * 2**20


def read_cfl(path: str | os.PathLike[str], *, squeeze: bool = False) -> NDArray[np.complex64]:
    """Map a BART file into memory, read-only: nothing is read before it is used.

    Equivalent to ``np.memmap(name + ".cfl", "<c8", "r", shape=dims, order="F")`` with checked `dims`.

    Parameters
    ----------
    path
        BART's name for the array, ``name`` for ``name.hdr`` and ``name.cfl``; either extension may be added. Dots in
        the name are fine. ``name.ra`` is read by `ra.read_ra`.
    squeeze
        Drop trailing dimensions of size 1, as BART's own Python module does.

    Returns
    -------
        complex64, Fortran order, 16 dimensions (fewer with `squeeze`). A multi-array file gives all its
        values in one dimension, as in BART; see `read_multi_cfl`.

    Raises
    ------
    CflError
        A file is missing, BART would not accept the header, or the size of the data differs from it.
    OSError
        The file may not be read, or there is no address space to map it.
    """
    if os.fspath(path).endswith(".ra"):
        array = read_ra(path)
    else:
        header = read_cfl_header(path)
        array = _map_data(_base(path), header, header.dims)
    return array.reshape(_without_trailing_ones(array.shape), order="F") if squeeze else array


def read_multi_cfl(path: str | os.PathLike[str], *, squeeze: bool = False) -> list[NDArray[np.complex64]]:
    """Map a file of several arrays, as written by ``bart multicfl`` and by BART's network tools.

    Parameters
    ----------
    path
        As in `read_cfl`.
    squeeze
        Drop trailing dimensions of size 1 of each array.

    Returns
    -------
        One read-only complex64 array per stored array, Fortran order, 16 dimensions (fewer with `squeeze`).

    Raises
    ------
    CflError
        As in `read_cfl`; also if the file holds a single array, or its parts do not add up.
    """
    header = read_cfl_header(path)
    if not header.multi_dims:
        raise CflError(f"{_base(path)}.hdr: no '# MultiDimensions' section, the file holds one array")
    values = _map_data(_base(path), header, (math.prod(header.dims),))
    arrays, start = [], 0
    for dims in header.multi_dims:
        stop = start + math.prod(dims)
        shape = _without_trailing_ones(dims) if squeeze else _padded(dims)
        arrays.append(values[start:stop].reshape(shape, order="F"))
        start = stop
    return arrays


def read_cfl_header(path: str | os.PathLike[str]) -> CflHeader:
    """Read ``name.hdr`` only.

    Parameters
    ----------
    path
        As in `read_cfl`.

    Returns
    -------
        Dimensions, command, creator and the provenance that `write_cfl` stored.

    Raises
    ------
    CflError
        The file is missing, or BART would not accept it.
    """
    path_of_header = Path(f"{_base(path)}.hdr")
    if not path_of_header.is_file():
        raise CflError(f"{path_of_header}: no such file; a .cfl file needs its .hdr")
    try:
        return parse_header(path_of_header.read_bytes())
    except CflError as error:
        raise CflError(f"{path_of_header}: {error}") from None


def write_cfl(
    path: str | os.PathLike[str],
    array: ArrayLike,
    *,
    history: str | Sequence[str] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write ``name.cfl`` and ``name.hdr``, completely or not at all.

    Both files are written under temporary names in the same folder and then renamed, ``.cfl`` first: after an error, a
    full disk or Ctrl-C the old pair is intact and nothing is left behind. Arrays that were mapped from the old file
    stay valid. File modes follow the umask (BART itself always writes 0600).

    Parameters
    ----------
    path
        BART's name for the array, with or without ``.cfl`` or ``.hdr``.
    array
        Up to 16 BART dimensions, first one fastest: an array in Fortran order, such as the transpose of a C-ordered
        array, is written from its own memory. Other layouts and types are converted block by block. Complex
        and real numbers, integers and bool become complex64, rounded to 24 bits.
    history
        Command or commands that made the data, oldest first, for ``# Command``.
    provenance
        More entries for the JSON in ``# csmri_ext``, which always has ``version`` and ``dtype`` (of `array`).

    Raises
    ------
    CflError
        The array has more than 16 dimensions, none of its values, another type, or values beyond the range of
        float32; or BART takes the name for another format (``.ra .coo .shm .mem .fifo``).
    OSError
        The folder is missing or not writable, or the disk is full.
    """
    array = np.asarray(array)
    if array.ndim > N_DIMS or array.size == 0:
        raise CflError(f"cannot write an array of shape {array.shape}: BART has 1 to {N_DIMS} dimensions of size >= 1")
    if array.dtype.kind not in "?biufc":
        raise CflError(f"cannot write an array of type {array.dtype} as complex64")
    base = _base(path, writing=True)
    content = {"version": _version(), "dtype": str(array.dtype), **(provenance or {})}
    header = format_header(array.shape, history, content)
    try:
        _write_pair(Path(f"{base}.cfl"), _blocks(array), Path(f"{base}.hdr"), header)
    except OSError as error:
        if error.errno is None:
            raise
        needed = f"{array.size * 8 / 1e6:.1f} MB"
        raise OSError(error.errno, f"cannot write {needed}: {error.strerror}", f"{base}.cfl") from error


def _write_pair(data: Path, blocks: Iterator[NDArray[np.complex64]], header: Path, text: bytes) -> None:
    for path in (data, header):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    new_data, new_header = temporary_name(data), temporary_name(header)
    try:
        with new_data.open("wb") as file:
            for block in blocks:
                file.write(block.T.data)
        new_header.write_bytes(text)
        for new in (new_data, new_header):
            to_disk(new)
        new_data.replace(data)
        new_header.replace(header)
    except BaseException:
        if new_header.exists() and not new_data.exists():  # interrupted between the two: the pair must match
            new_header.replace(header)
        raise
    finally:
        new_data.unlink(missing_ok=True)
        new_header.unlink(missing_ok=True)
    folder_to_disk(data.parent)


def _blocks(array: NDArray[Any]) -> Iterator[NDArray[np.complex64]]:
    """Yield `array` in file order as Fortran-ordered complex64, without copies where it is that already."""
    if array.flags.f_contiguous and array.dtype == np.dtype("<c8"):
        yield array
        return
    axis = max((i for i, size in enumerate(array.shape) if size > 1), default=-1)
    if axis < 0:
        yield _as_complex64(array)
        return
    n = array.shape[axis]
    step = max(1, _BLOCK_BYTES * n // (8 * array.size))
    for start in range(0, n, step):
        yield _as_complex64(array[(slice(None),) * axis + (slice(start, start + step),)])


def _as_complex64(block: NDArray[Any]) -> NDArray[np.complex64]:
    try:
        with np.errstate(over="raise"):
            return np.asarray(block, dtype="<c8", order="F")
    except FloatingPointError:
        raise CflError(f"{block.dtype} values beyond the range of complex64") from None


def data_file(source: Path) -> Path:
    """Return the file that holds the samples: of BART's pair the one with the data, else the file itself.

    Parameters
    ----------
    source
        As the user names it: of a pair ``name``, ``name.hdr`` or ``name.cfl``. Where there is no pair, or nothing to be
        read, it is returned as it is.
    """
    if source.is_file() and source.suffix != ".hdr":
        return source
    base = os.fspath(source).removesuffix(".hdr").removesuffix(".cfl")
    try:
        data = Path(read_cfl_header(base).data_file or f"{base}.cfl")
    except CflError:  # the .hdr of another format, or none
        return source
    return data if data.is_file() else source


def _map_data(base: str, header: CflHeader, shape: tuple[int, ...]) -> NDArray[np.complex64]:
    data = Path(header.data_file or f"{base}.cfl")
    if not data.is_file():
        where = f", which {base}.hdr names" if header.data_file else ""
        raise CflError(f"{data}: no such file{where}")
    needed, size = 8 * math.prod(shape), data.stat().st_size
    if size != needed:
        dims = _without_trailing_ones(header.dims)
        raise CflError(f"{data}: {size} bytes, but dimensions {dims} in {base}.hdr need {needed}")
    try:
        return np.memmap(data, dtype="<c8", mode="r", shape=shape, order="F")
    except OSError as error:  # no address space left: the system does not say for which file
        raise OSError(error.errno, error.strerror, os.fspath(data)) from error


def _base(path: str | os.PathLike[str], *, writing: bool = False) -> str:
    """Return BART's name for `path`, which may carry the extension of one of the two files."""
    name = os.fspath(path)
    is_file_name = name.endswith((".cfl", ".hdr"))
    base = name[:-4] if is_file_name else name
    if (writing or not is_file_name) and base.endswith(_OTHER_FORMATS):
        raise CflError(f"{name}: BART takes names that end in {', '.join(_OTHER_FORMATS)} for other formats")
    return base


def _without_trailing_ones(dims: tuple[int, ...]) -> tuple[int, ...]:
    n = max((i + 1 for i, size in enumerate(dims) if size > 1), default=1)
    return tuple(dims[:n])


def _padded(dims: tuple[int, ...]) -> tuple[int, ...]:
    return (*dims, *[1] * (N_DIMS - len(dims)))


def _version() -> str:
    try:
        return version("csmri_ext")
    except PackageNotFoundError:
        return "not installed"
