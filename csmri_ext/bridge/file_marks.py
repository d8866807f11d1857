"""Which files something was learnt from, wherever they lie: their sizes, and hashes of samples of their bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from csmri_ext.bridge.file_pairs import parts_of

_SAMPLE = 4096  # bytes at the beginning, in the middle and at the end


def file_marks(files: Iterable[tuple[Path, str]]) -> dict[str, str]:
    """Describe files so that others of the same names can be told from them, reading 12 KiB of each at most.

    Parameters
    ----------
    files
        Files and their names, as `csmri_ext.data.images.files_of` gives them.

    Returns
    -------
        By name ``"8320 bytes, 0123456789abcdef"``: the size, and sha256 of three samples of the bytes; of a pair, of
        both files, whichever of its names is given.
    """
    return {name: _mark(file) for file, name in files}


def what_changed(then: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """Say in what two answers of `file_marks` differ; None where they do not."""
    for name, mark in then.items():
        if name not in now:
            return f"{name} is no longer there"
        if now[name] != mark:
            return f"{name} is another file now"
    return next((f"{name} is new" for name in now if name not in then), None)


def _mark(file: Path) -> str:
    digest = hashlib.sha256()
    parts = parts_of(file) or [file]
    for path in parts:
        size = path.stat().st_size
        digest.update(f"{size} ".encode())
        with path.open("rb") as opened:
            for start in (0, size // 2, size - _SAMPLE):
                opened.seek(max(start, 0), os.SEEK_SET)
                digest.update(opened.read(_SAMPLE))
    return f"{parts[0].stat().st_size} bytes, {digest.hexdigest()[:16]}"
