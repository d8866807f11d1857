"""Whether a bare array is k-space or images: as the user or its name says, else complex numbers are k-space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from csmri_ext.bridge.file_errors import FileFormatError

KSPACE, IMAGE = "kspace", "image"
DOMAINS = (KSPACE, IMAGE)
KSPACE_NAMES = ("kspace",)
IMAGE_NAMES = ("images", "image")


@dataclass(frozen=True)
class Domain:
    """What an array holds, and why this is believed.

    Attributes
    ----------
    is_kspace
        Else images, from which k-space is simulated.
    words
        For the line that says how a file was read; None where nothing had to be decided.
    """

    is_kspace: bool
    words: str | None = None


def domain_of(path: Path, name: str, said: str | None, *, is_complex: bool) -> Domain:
    """Decide what an array holds.

    Parameters
    ----------
    path
        The file, for errors.
    name
        Of the array in it: complex arrays called ``images`` or ``image`` are images.
    said
        What the user says, one of `DOMAINS`, which decides; None: nothing.
    is_complex
        Whether the values are complex; real ones are magnitude images unless user or name say k-space.

    Raises
    ------
    FileFormatError
        `said` is another word.
    """
    if said is not None:
        if said not in DOMAINS:
            raise FileFormatError(f"{path}: domain {said!r}; it is {' or '.join(DOMAINS)}")
        return Domain(said == KSPACE, f"{'k-space' if said == KSPACE else 'images'}, as the user says")
    if name in IMAGE_NAMES:
        return Domain(False, "images, as the name says" if is_complex else None)
    return Domain(is_complex or name in KSPACE_NAMES)
