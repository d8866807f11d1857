"""What a file is that cannot be read as weights, by its first bytes, and what to do about it."""

from __future__ import annotations

import zipfile
from os import PathLike
from pathlib import Path

_BEGINNINGS = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"version https://git-lfs", "a pointer of Git LFS: git lfs pull fetches the file itself"),
    (b"<!doctype html", "a web page, not what its link leads to: download it again"),
    (b"<html", "a web page, not what its link leads to: download it again"),
    (b"\x93NUMPY", "an array of numpy"),
)


def what_it_is(path: str | PathLike[str]) -> str:
    """Say what a file is instead of what its name promises, as ``"; it is ..."``; nothing where that is not plain.

    Parameters
    ----------
    path
        A file that could not be read.
    """
    with Path(path).open("rb") as file:
        start = file.read(64)
    if not start:
        return "; it is empty"
    for beginning, what in _BEGINNINGS:
        if start.lower().startswith(beginning.lower()):
            return f"; it is {what}"
    if start[8:10] == b'{"' and Path(path).suffix != ".safetensors":
        return "; it looks like safetensors: give it a name that ends in .safetensors"
    return _of_archive(path, start)


def _of_archive(path: str | PathLike[str], start: bytes) -> str:
    if start[:2] == b"\x80\x02" and Path(path).suffix == ".safetensors":
        return "; it looks like a file of torch.save: give it a name that ends in .pt"
    if not zipfile.is_zipfile(path):
        return ""
    with zipfile.ZipFile(path) as archive:
        parts = {name.rpartition("/")[2] for name in archive.namelist()}
    if "constants.pkl" in parts:
        return "; it is a program of torch.jit: save its state_dict() with torch.save"
    if any(part.endswith(".npy") for part in parts):
        return "; it is an archive of numpy"
    if "data.pkl" in parts and Path(path).suffix == ".safetensors":
        return "; it looks like a file of torch.save: give it a name that ends in .pt"
    return ""
