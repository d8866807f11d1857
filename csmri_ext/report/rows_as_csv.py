"""Rows as comma-separated values that a spreadsheet shows and never runs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def as_csv(names: Sequence[str], records: Iterable[dict[str, Any]]) -> bytes:
    """Write a heading and one line per record, UTF-8.

    Parameters
    ----------
    names
        Columns, in order; other keys of the records are left out.
    records
        Values by column. None is an empty cell.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: cell(record.get(name)) for name in names})
    return text.getvalue().encode(errors="backslashreplace")


def cell(value: Any) -> Any:
    r"""Make a text harmless: a file's name is data, also where it reads like a formula or holds a line break.

    Control characters become ``\x0a``; a text that begins with ``= + - @`` gets an apostrophe in front, which
    spreadsheets take for "this is text". Numbers stay as they are.
    """
    if not isinstance(value, str):
        return value
    shown = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", value)
    return f"'{shown}" if shown.lstrip(" ")[:1] in {"=", "+", "-", "@"} else shown
