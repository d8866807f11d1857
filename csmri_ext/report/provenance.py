"""Where results come from: versions, machine, command line, BART's command lines. Nothing that names a person."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from csmri_ext.bridge import bart_version
from csmri_ext.report.rows import Row

_BLOCK = 2**20


def shareable(path: str | Path) -> str:
    """Write a path so that a report can be passed on: without the home folder and what lies above the data.

    Relative paths and paths below the working folder stay readable; other absolute paths keep only their last part.
    """
    path = Path(path)
    if not path.is_absolute():
        return str(path)
    for base, prefix in ((Path.cwd(), Path()), (Path.home(), Path("~"))):
        if path.is_relative_to(base):
            return str(prefix / path.relative_to(base))
    return str(Path("...") / path.name)


def command_line(program: str, arguments: Sequence[str]) -> str:
    """Rebuild the command line as a shell would take it, its absolute paths made shareable."""
    words = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if option.startswith("-") and equals:
            words.append(f"{option}={shareable(value)}")
        else:
            words.append(shareable(argument) if argument.startswith(os.sep) else argument)
    return f"{program} {shlex.join(words)}".rstrip()


def file_sha256(path: Path) -> str:
    """Hash the bytes of a file; of a ``.cfl``/``.hdr`` pair, the data."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def environment(bart: str | None) -> dict[str, Any]:
    """Collect versions and machine, the part of the provenance that is known before anything runs.

    Parameters
    ----------
    bart
        Path of BART's program, or None where it takes no part.
    """
    import torch

    import csmri_ext
    from csmri_ext.config import build_info

    build = build_info()
    return {
        "csmri_ext": csmri_ext.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "simd": build["simd"] if build else "compiled core not built",
        "bart": bart_version(bart) if bart else None,
        "date": now(),
        "machine": {"cpu": cpu_model(), "cores": available_cores(), "torch_threads": torch.get_num_threads()},
    }


def now() -> str:
    """Date and time in UTC, as ISO 8601 has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def available_cores() -> int:
    """Count the CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """Name the CPU, as Linux reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def bart_arguments(rows: Sequence[Row]) -> dict[str, list[str]]:
    """BART's argument list by method, as the rows recorded it."""
    return {row.method: list(row.details["bart_argv"]) for row in rows if "bart_argv" in row.details}
