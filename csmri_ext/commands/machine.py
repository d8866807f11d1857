"""What a command asks of the machine: BART's program, a GPU."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

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
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = find_bart()
    except BartError as error:
        who = "--bart" if wanted else f"method {needing[0]}"
        raise InputError(f"{who} needs BART. {error}") from error
    for warning in told:
        sys.stderr.write(f"warning: {warning.message}\n")
    return found


def require_gpus(device: str, count: int) -> None:
    """Refuse more GPUs than this machine has.

    Raises
    ------
    InputError
        Says how many there are.
    """
    if device == "cuda":
        import torch

        if count > torch.cuda.device_count():
            raise InputError(f"--devices {count}: this machine has {torch.cuda.device_count()} GPUs that torch can use")


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
