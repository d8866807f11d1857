"""The files that one name stands for: of BART's pair and of Analyze's, two."""

from __future__ import annotations

import os
from pathlib import Path

from csmri_ext.bridge.bart_files.cfl import data_file


def parts_of(name: Path) -> list[Path]:
    """List the files that a name which is read stands for, that with the samples first; of a pair, both.

    Parameters
    ----------
    name
        As the user writes it: BART's pair also without an extension.

    Returns
    -------
        Those that are there.
    """
    base = os.fspath(name)
    for ending in (".hdr", ".cfl", ".img"):
        base = base.removesuffix(ending)
    pair = [Path(f"{base}.hdr"), Path(f"{base}.img")] if name.suffix != ".cfl" else [Path(f"{base}.hdr")]
    return list(dict.fromkeys(path for path in (data_file(name), name, *pair) if path.is_file()))
