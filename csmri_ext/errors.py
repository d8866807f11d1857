"""What a user gave and what cannot be used: errors that are one clear line."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

BAD_INPUT = 2  # exit code of every command that was given something it cannot use


class InputError(ValueError):
    """The user gave something unusable; the message says what and what would work, in one line."""


def unknown(kind: str, name: str, known: Iterable[str], remark: Callable[[str], str] = lambda _: "") -> InputError:
    """Build the error for a name that does not exist, with the nearest names that do.

    Parameters
    ----------
    kind
        What the name should have been: ``"method"``, ``"mask"``, ``"model"``.
    name
        What the user wrote.
    known
        Every name that exists.
    remark
        What to say behind a name, such as ``" (no weights)"``.
    """
    names = sorted(known)
    nearest = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    told = [f"{each}{remark(each)}" for each in nearest or names]
    hint = f"did you mean {' or '.join(told)}?" if nearest else f"known: {', '.join(told)}"
    return InputError(f"unknown {kind} {name!r}; {hint}")


def one_line(error: BaseException) -> str:
    """Say what went wrong in one line, without Python's vocabulary."""
    if isinstance(error, OSError) and error.strerror:
        what = (
            "no space left on the disk"
            if error.errno == errno.ENOSPC
            else error.strerror[0].lower() + error.strerror[1:]
        )
        where = str(error.filename2 or error.filename or "").replace("\n", "\\n")
        return f"{where}: {what}" if where else what
    if isinstance(error, MemoryError):
        return f"out of memory: {error}" if str(error) else "out of memory"
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Give system errors that come without a file name, as a full disk does, the name of the file being written."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


@contextmanager
def blaming_input() -> Iterator[None]:
    """Turn the ValueError of what was called with the user's words into an `InputError`."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error)) from error


def expected_errors() -> tuple[type[Exception], ...]:
    """List what the user or the machine can cause; anything else is a defect of ours."""
    from csmri_ext.bridge import BartError, CflError, FileFormatError

    return InputError, FileFormatError, CflError, BartError, OSError, MemoryError, ImportError
