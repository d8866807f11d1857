"""What a command is about to write: whether it can, whether it is read, and whether it is somebody else's.

Every command that writes asks here first, before anything is computed, replaced or removed: `require_writable` and
`require_writable_file` (a place that cannot be written), `require_apart` and `require_outside` (what is read),
`require_free` (what is there, and not of an earlier run).
"""

from __future__ import annotations

import fnmatch
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from csmri_ext.bridge.atomic import replacing
from csmri_ext.bridge.file_pairs import parts_of
from csmri_ext.bridge.first_few import first_few
from csmri_ext.errors import InputError, naming, one_line

_NAMED = 4  # files in a message


def write_bytes(path: Path, content: bytes) -> Path:
    """Write `path` as a whole or not at all, and return it.

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written; it names `path`, and nothing is left behind.
    """
    with naming(path), replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def require_writable(path: Path) -> None:
    """Prove that a folder can be created or written, by a nameless file in the part of it that exists.

    Raises
    ------
    InputError
        If it is a file, lies below a file, cannot be written, or the disk is full.
    """
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(b"0")
    except OSError as error:
        reason = one_line(OSError(error.errno, error.strerror))
        raise InputError(f"cannot write into the output folder {path}: {reason}") from error


def require_writable_file(path: Path, read: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Prove that a file can be written; what has its name already stays as it is.

    Parameters
    ----------
    path
        The file. Its folder may have to be made.
    read
        Files that are read, which it must not be.

    Raises
    ------
    InputError
        If it is a folder, a device or an input, its folder cannot be made or written, or the disk is full.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"cannot write {path}: it is a {'folder' if path.is_dir() else 'device'}")
    require_apart(written_as(path), {"an input": map(Path, read)})
    require_writable(path.parent)


def identity(path: Path) -> tuple[int, int] | None:
    """Tell files apart, not names: links, hard links and names in another case give the same; None where none is."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def written_as(result: Path) -> list[Path]:
    """List the files that a result of this name consists of."""
    return [result, result.with_suffix(".hdr")] if result.suffix == ".cfl" else [result]


def require_apart(
    written: Iterable[Path],
    read: Mapping[str, Iterable[Path]],
    advice: str = "choose another name for the result",
) -> None:
    """Refuse to write over, or to remove, what is read, by whatever name it is there.

    Parameters
    ----------
    written
        Files that would be replaced or removed; names that are free may be among them.
    read
        Names of files that are read, by what they are: ``"the input"``, ``"what --mask reads"``.
    advice
        What would work.

    Raises
    ------
    InputError
        Names the first that would be lost.
    """
    there = {identity(path): path for path in written}
    there.pop(None, None)
    if not there:
        return
    for role, names in read.items():
        for name in names:
            for path in parts_of(name):
                lost = there.get(identity(path))
                if lost is not None:
                    raise InputError(f"{lost} is {role}: {advice}")


def require_outside(folder: Path, data: Iterable[Path], images: Iterable[Path]) -> None:
    """Refuse an output folder that holds images found in a search: figures of the run would be among them next time.

    A folder of its own among them is none: a search leaves out what lies in folders of runs.

    Parameters
    ----------
    folder
        Of the run.
    data
        As the user names them; folders of these are searched.
    images
        What was found.

    Raises
    ------
    InputError
        Names the folder and an image.
    """
    place = folder.resolve()
    around = {identity(path) for path in (place, *place.parents)} - {None}
    if not any(path.is_dir() and identity(path) in around for path in data):
        return
    for image in images:
        if place in image.resolve().parents:
            raise InputError(
                f"{folder} holds {image} and is searched for images, and the figures of a run would be among them: "
                "choose another --out"
            )


def existing(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """List what has one of these names in a folder, such as ``table.csv`` or ``recons/*.cfl``.

    A file where one of these names needs a folder is listed, too.
    """
    found: list[Path] = []
    for pattern in patterns:
        parent, name = folder / Path(pattern).parent, Path(pattern).name
        if parent.is_dir() and "*" in name:
            found += sorted(path for path in parent.iterdir() if fnmatch.fnmatchcase(path.name, name))
        elif parent.is_dir():
            found += [parent / name] if os.path.lexists(parent / name) else []  # also a link to nowhere
        elif os.path.lexists(parent):
            found.append(parent)
    return list(dict.fromkeys(found))


def require_free(folder: Path, patterns: Sequence[str], marks: Sequence[str], option: str = "--out") -> None:
    """Refuse a folder where names that would be written are taken, unless an earlier run of ours has left its mark.

    Parameters
    ----------
    folder
        Where a run is about to begin; it need not exist.
    patterns
        Names that would be written, as `existing` takes them.
    marks
        Files that every run leaves there before any other; the first one is named.
    option
        That names another folder, for the message.

    Raises
    ------
    InputError
        Names what is there.
    """
    if any((folder / mark).is_file() for mark in marks):
        return
    taken = existing(folder, patterns)
    if taken:
        names = ", ".join(first_few([str(path.relative_to(folder)) for path in taken], _NAMED))
        these = "it" if len(taken) == 1 else "them"
        raise InputError(
            f"{folder} holds {names}, which would be replaced, and no {marks[0]} of a run that made {these}: choose "
            f"another {option}, or move {these} away"
        )
