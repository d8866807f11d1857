"""The text header of BART's ``.cfl`` files, read and written as BART does.

A header is a list of sections, ``# Keyword`` and then lines of text. BART needs ``# Dimensions`` and skips what it does
not know, so other programs can add sections of their own; this package adds ``# csmri_ext``, one line of JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from csmri_ext.bridge.file_errors import FileFormatError

N_DIMS = 16
"""Number of dimensions of every BART array; missing ones are 1."""

MAX_HEADER_BYTES = 4096
"""BART reads this much of a header and no more."""

_MAX_COMMAND_CHARS = 2000
_LONG_MAX = 2**63 - 1
_SPACE = rb"[ \t\n\v\f\r]*"
_KEYWORD = re.compile(rb"#" + _SPACE + rb"([^ \t\n\v\f\r]{1,31})" + _SPACE)
_LINE = re.compile(rb"[^\n]+" + _SPACE)
_INTEGER = re.compile(_SPACE + rb"([+-]?[0-9]+)")
_WORD = re.compile(_SPACE + rb"([^ \t\n\v\f\r]{1,255})" + _SPACE)
_BLANK = re.compile(_SPACE)
_PROVENANCE = re.compile(rb"^#[ \t]*csmri_ext[ \t]*\r?\n([^\n]*)", re.MULTILINE)


class CflError(FileFormatError):
    """A ``.cfl``, ``.hdr`` or ``.ra`` file that BART would not accept, or an array that such a file cannot hold."""


@dataclass(frozen=True)
class CflHeader:
    """What a ``.hdr`` file says.

    Attributes
    ----------
    dims
        Sizes of the 16 BART dimensions, first varies fastest. For a multi-array file: its total length, then ones.
    data_file
        Name in a ``# Data`` section, relative to the current folder as in BART; None: ``name.cfl``.
    command
        Text of ``# Command``: how the data were made, one command a line.
    creator
        Text of ``# Creator``.
    multi_dims
        Sizes of each array of a multi-array file (``bart multicfl``), else empty.
    provenance
        Content of the ``# csmri_ext`` section, empty when the file is from another program.
    """

    dims: tuple[int, ...]
    data_file: str | None = None
    command: str = ""
    creator: str = ""
    multi_dims: tuple[tuple[int, ...], ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)


def parse_header(text: bytes) -> CflHeader:
    """Read a ``.hdr`` file exactly as BART 0.8 does, with all that it tolerates.

    Accepted: fewer than 16 dimensions, more if they are 1, dimensions on one line with the keyword or on several, any
    white space, CRLF, no final newline, unknown sections, lines before the first section. The scanner follows
    ``read_cfl_header`` of BART's ``src/misc/io.c``, that is C's ``sscanf``: numbers beyond 64 bits saturate, and
    text after the numbers is skipped.

    Parameters
    ----------
    text
        The whole file. Dimensions count only within the first 4096 bytes.

    Returns
    -------
        The parsed header; ``dims`` always has 16 positive entries.

    Raises
    ------
    CflError
        No ``# Dimensions``, two of them, a dimension below 1, or a 17th that is not 1.
    """
    header = text[:MAX_HEADER_BYTES].split(b"\0", 1)[0]
    dims: list[int] | None = None
    sizes: list[int] = []
    multi: list[int] = []
    data_file: str | None = None
    words: dict[str, str] = {}
    position = 0
    while position < len(header):
        match = _KEYWORD.match(header, position)
        if match is None:
            match = _LINE.match(header, position)
            if match is None:  # a blank first line stops BART
                break
            position = match.end()
            continue
        keyword = match[1].decode("latin-1")
        position = match.end()
        if keyword == "Dimensions":
            values, position = _integers(header, position)
            if dims is not None:
                raise CflError("two '# Dimensions' sections")
            dims = _check_dims(values)
        elif keyword in ("SizesDimensions", "MultiDimensions"):
            values, position = _integers(header, position)
            (sizes if keyword == "SizesDimensions" else multi).extend(values)
        elif keyword == "Data":
            word = _WORD.match(header, position)
            if word is None:
                raise CflError("'# Data' names no file")
            data_file = word[1].decode("utf-8", "surrogateescape")
            position = word.end()
        elif keyword in ("Command", "Creator") and header[position : position + 1] != b"#":
            words[keyword] = header[position:].split(b"\n#", 1)[0].decode("utf-8", "replace").strip()
    if dims is None:
        raise CflError(f"no '# Dimensions' section in the first {MAX_HEADER_BYTES} bytes")
    return CflHeader(
        dims=tuple(dims),
        data_file=data_file,
        command=words.get("Command", ""),
        creator=words.get("Creator", ""),
        multi_dims=_split_multi(sizes, multi, dims) if sizes or multi else (),
        provenance=_provenance(text),
    )


def format_header(dims: Sequence[int], history: str | Sequence[str] | None, provenance: Mapping[str, Any]) -> bytes:
    """Write a header that BART accepts: 16 dimensions, ``# Command``, ``# Creator`` and ``# csmri_ext``.

    Parameters
    ----------
    dims
        Up to 16 sizes.
    history
        Command or commands that made the data, oldest first; one line each.
    provenance
        Anything that JSON can hold; must have a ``version``.

    Returns
    -------
        UTF-8 text. Lines of `history` lose their line breaks and leading ``#``, which would start a section.
    """
    padded = [*dims, *[1] * (N_DIMS - len(dims))]
    text = "# Dimensions\n" + "".join(f"{size} " for size in padded) + "\n"
    commands = [history] if isinstance(history, str) else list(history or ())
    commands = [" ".join(command.replace("\0", " ").split()).lstrip("# ") for command in commands]
    command = "\n".join(command for command in commands if command)
    if len(command) > _MAX_COMMAND_CHARS:  # so that the sections after it stay within the bytes that BART reads
        command = command[: _MAX_COMMAND_CHARS - 4] + " ..."
    if command:
        text += f"# Command\n{command}\n"
    text += f"# Creator\ncsmri_ext {provenance['version']}\n"
    text += f"# csmri_ext\n{json.dumps(provenance, default=str)}\n"
    return text.encode("utf-8", "backslashreplace")


def _integers(header: bytes, position: int) -> tuple[list[int], int]:
    """Integers from `position` on, and where they and the white space after them end: C's ``sscanf`` with ``%ld``."""
    values = []
    while match := _INTEGER.match(header, position):
        digits = match[1]
        # Python refuses to convert very long digit strings; anything above 19 digits saturates anyway.
        magnitude = _LONG_MAX if len(digits.lstrip(b"+-0")) > 19 else min(abs(int(digits)), _LONG_MAX)
        values.append(-magnitude if digits.startswith(b"-") else magnitude)
        position = match.end()
    blank = _BLANK.match(header, position)
    return values, blank.end() if blank else position


def _check_dims(values: list[int]) -> list[int]:
    for i, size in enumerate(values):
        if i >= N_DIMS and size != 1:
            raise CflError(f"dimension {i} is {size}: BART arrays have {N_DIMS} dimensions")
        if size < 1:
            raise CflError(f"dimension {i} is {size}: sizes must be at least 1")
    return [*values[:N_DIMS], *[1] * (N_DIMS - len(values))]


def _split_multi(sizes: list[int], multi: list[int], dims: list[int]) -> tuple[tuple[int, ...], ...]:
    """Cut the numbers of ``# MultiDimensions`` into one tuple per array, as long as ``# SizesDimensions`` says."""
    if any(not 1 <= size <= N_DIMS for size in sizes):
        raise CflError(f"'# SizesDimensions' {sizes}: arrays have 1 to {N_DIMS} dimensions")
    if sum(sizes) != len(multi):
        raise CflError(f"'# SizesDimensions' announces {sum(sizes)} sizes, '# MultiDimensions' has {len(multi)}")
    arrays = []
    for n in sizes:
        arrays.append(tuple(_check_dims(multi[:n])[:n]))
        multi = multi[n:]
    total = sum(math.prod(array) for array in arrays)
    if total != math.prod(dims):
        raise CflError(f"arrays of '# MultiDimensions' hold {total} values, '# Dimensions' says {math.prod(dims)}")
    return tuple(arrays)


def _provenance(text: bytes) -> dict[str, Any]:
    match = _PROVENANCE.search(text)
    if match is None:
        return {}
    try:
        content = json.loads(match[1])
    except (ValueError, RecursionError):  # written or cut by another program: not needed to read the data
        return {}
    return content if isinstance(content, dict) else {}
