"""`FileFormatError`: what every reader of the bridge raises for a file that it cannot use."""

from __future__ import annotations


class FileFormatError(ValueError):
    """A file is damaged, incomplete, or holds something else than expected; one line names the file and the reason."""


class EmptySliceError(FileFormatError):
    """A slice is zero everywhere: nothing was measured there."""
