"""The record of how a result was made, kept inside its file: read back by `read_record`, and by any tool of the format.

=================  =============================================================================================
``.h5``            attribute ``csmri_ext`` (JSON); texts and numbers of the record as attributes of their own too
``.cfl``           section ``# csmri_ext`` of the header (JSON)
``.png``           text chunk ``csmri_ext`` (JSON)
``.nii``, ``.gz``  header extension of type comment (JSON), ``descrip`` in short
``.npy``           a line ``# csmri_ext {JSON}`` behind the array, where numpy does not look
=================  =============================================================================================
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from csmri_ext.bridge.file_errors import FileFormatError

KEY = "csmri_ext"
_NPY_MARK = f"\n# {KEY} ".encode()
_COMMENT = 6  # type of a NIfTI header extension
_MOST_TRAILING = 2**20  # bytes behind an array that can be a record

Record = Mapping[str, Any]


def as_json(record: Record) -> str:
    """Write a record as one line of JSON, the same for equal records."""
    return json.dumps(record, default=str, allow_nan=False)


def h5_attributes(record: Record) -> dict[str, str | int | float]:
    """Attributes of an HDF5 file: the whole record as JSON, and what is text or a number by its own name."""
    plain = {key: value for key, value in record.items() if isinstance(value, (str, int, float))}
    return {**plain, KEY: as_json(record)}


def npy_line(record: Record) -> bytes:
    """Bytes to append to an ``.npy`` file; ``np.load`` reads the array before them and nothing else."""
    return _NPY_MARK + as_json(record).encode() + b"\n"


def nifti_extension(record: Record) -> Any:
    """Header extension to append to ``image.header.extensions`` of nibabel."""
    from nibabel.nifti1 import Nifti1Extension

    return Nifti1Extension(_COMMENT, as_json({KEY: record}).encode())


def read_record(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Read the record of a result, whatever its format.

    Parameters
    ----------
    path
        A file that ends in ``.h5``, ``.cfl``, ``.png``, ``.npy``, ``.nii`` or ``.nii.gz``.

    Returns
    -------
        What was recorded; None where nothing was.

    Raises
    ------
    FileFormatError
        The file is not whole, or not of the kind that its name says.
    """
    path = Path(path)
    reader = _READERS.get(".nii.gz" if path.name.endswith(".nii.gz") else path.suffix.lower())
    if reader is None:
        return None
    try:
        text = reader(path)
    except Exception as error:  # h5py, Pillow and nibabel raise what they like on damaged files
        raise FileFormatError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    try:
        record = json.loads(text or "null")
    except ValueError:  # somebody else's text by this name
        return None
    return record if isinstance(record, dict) else None


def _from_h5(path: Path) -> str | None:
    import h5py

    with h5py.File(path) as file:
        text = file.attrs.get(KEY)
    return text if isinstance(text, str) else None


def _from_cfl(path: Path) -> str | None:
    from csmri_ext.bridge.bart_files.cfl import read_cfl, read_cfl_header

    read_cfl(path)  # refuses data that are not as long as the header says
    return as_json(read_cfl_header(path).provenance)


def _from_png(path: Path) -> str | None:
    from PIL import Image

    with Image.open(path) as image:
        text = image.info.get(KEY)  # we write it before the pixels
        image.verify()  # to the end of the file
    return text


def _from_nifti(path: Path) -> str | None:
    import nibabel

    image: Any = nibabel.load(path)
    np.asanyarray(image.dataobj[..., -1])
    for extension in image.header.extensions:
        content = extension.get_content()
        text = content.decode(errors="replace") if isinstance(content, bytes) else str(content)
        if text.startswith(f'{{"{KEY}": '):
            return as_json(json.loads(text.rstrip("\0"))[KEY])
    return None


def _from_npy(path: Path) -> str | None:
    array = np.load(path, mmap_mode="r")
    end = array.offset + array.nbytes
    with path.open("rb") as file:
        file.seek(end)
        line = file.read(_MOST_TRAILING)
    return line[len(_NPY_MARK) :].decode(errors="replace") if line.startswith(_NPY_MARK) else None


_READERS = {
    ".h5": _from_h5,
    ".cfl": _from_cfl,
    ".png": _from_png,
    ".npy": _from_npy,
    ".nii": _from_nifti,
    ".nii.gz": _from_nifti,
}
