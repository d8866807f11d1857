"""What a command asks of the machine: BART's program, a GPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from csmri_ext.bridge import BartError, find_bart
from csmri_ext.errors import InputError
from csmri_ext.recon.methods import Method


def bart_path(wanted: bool, methods: Sequence[Method]) -> str | None:
    """Find BART's program where ``--bart`` or one of the methods asks for it; None where nobody does.

    Raises
    ------
    InputError
        If it is needed and not installed; says what to install.
    """
    needing = [method.name for method in methods if method.needs_bart]
    if not wanted and not needing:
        return None
    try:
        found = find_bart()
        for name in ("BART_TOOLBOX_PATH", "TOOLBOX_PATH"):
            folder = os.environ.get(name)
            if folder and not Path(folder, "bart").is_file():
                sys.stderr.write(f"warning: {name} is {folder}, which holds no program bart; {found} is used\n")
        return found
    except BartError as error:
        who = "--bart" if wanted else f"method {needing[0]}"
        raise InputError(f"{who} needs BART. {error}") from error


def checked_device(name: str) -> str:
    """Return the device where it can be used; of ``auto``, which it is.

    Raises
    ------
    InputError
        If ``cuda`` is asked for and torch sees no GPU.
    """
    if name != "cpu":
        import torch

        if name == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        if not torch.cuda.is_available():
            build = "no GPU is visible" if torch.version.cuda else "this torch is a CPU build"
            raise InputError(f"--device cuda: {build}; use --device cpu (csmri doctor shows the configuration)")
    return name
