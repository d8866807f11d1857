"""Files that cannot be read, for the tests of every reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from csmri_ext.bridge import FileFormatError


def require_refused(folder: Path, contents: Mapping[str, bytes], read: Callable[[Path], Any], kind: str) -> None:
    """Require one line that names the file and says that it is no readable `kind`, and what a missing file is."""
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        with pytest.raises(FileFormatError, match=f"{name}: not a readable {kind}") as caught:
            read(folder / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        read(folder / f"none{Path(name).suffix}")
