"""``--plugin module:function``: networks and methods of one's own, without an installed package."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path

from csmri_ext.errors import InputError, one_line


def add_plugin_option(add: Callable[..., object]) -> None:
    """Add ``--plugin`` to a parser, by its ``add_argument``."""
    add(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE:FUNCTION",
        help="call this function first; it registers networks or methods of your own (docs/own_network.md)",
    )


def load_plugins(words: list[str]) -> None:
    """Call the functions that ``--plugin`` names.

    Raises
    ------
    InputError
        A module or function that is not there, or that fails; one line says why.
    """
    for word in words:
        _load(word)


def plugin_files(words: list[str]) -> list[Path]:
    """Files of the modules that ``--plugin`` names, once they are loaded."""
    found = (getattr(sys.modules.get(word.partition(":")[0]), "__file__", None) for word in words)
    return [Path(file) for file in found if file]


@cache  # a second call would register the same names again
def _load(word: str) -> None:
    module, colon, function = word.partition(":")
    if not (colon and module and function):
        raise InputError(f"--plugin {word}: expected MODULE:FUNCTION, for instance my_network:register")
    here = str(Path.cwd())
    if here not in sys.path:  # the console script does not look into the working folder, `python -m` does
        sys.path.insert(0, here)
    from csmri_ext.recon.methods import load_all

    load_all()
    try:
        getattr(import_module(module), function)()
    except Exception as error:  # somebody else's code may raise anything
        raise InputError(f"--plugin {word}: {type(error).__name__}: {one_line(error)}") from error
