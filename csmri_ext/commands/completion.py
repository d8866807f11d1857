"""``csmri --print-completion SHELL``: every command, its options and the names they take, as a shell completes them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from importlib import import_module

from csmri_ext.commands.parser import ArgumentParser
from csmri_ext.errors import InputError, unknown

_FILES = {"FILE", "FILES", "IN", "OUT", "PATH", "NAME|FILE"}
_FOLDERS = {"DIR"}


def print_completion(shell: str, commands: Mapping[str, str]) -> int:
    """Write the completion of the whole program for a shell to stdout, made by the package shtab.

    Parameters
    ----------
    shell
        As shtab names it: ``bash``, ``zsh``, ``fish``...
    commands
        Names, and what each does.

    Raises
    ------
    InputError
        shtab is not installed, or knows no such shell.
    """
    try:
        import shtab
    except ImportError as error:
        raise InputError('completion is made by the package shtab: pip install "csmri_ext[completion]"') from error
    if shell not in shtab.SUPPORTED_SHELLS:
        raise unknown("shell", shell, shtab.SUPPORTED_SHELLS)
    parser = argparse.ArgumentParser(prog="csmri")
    several = parser.add_subparsers()
    for name, text in commands.items():
        whole: ArgumentParser = import_module(f"csmri_ext.commands.{name}").argument_parser(f"csmri {name}")
        command = several.add_parser(name, help=text, parents=[whole], add_help=False)
        for action in command._actions:
            _complete(action, shtab.FILE, shtab.DIRECTORY)
    several.add_parser("help", help="explain a command").add_argument("command", nargs="?", choices=list(commands))
    sys.stdout.write(shtab.complete(parser, shell=shell) + "\n")
    return 0


def _complete(action: argparse.Action, file: object, folder: object) -> None:
    """Say what follows an option: one of some names, a file, a folder."""
    if action.dest in _NAMES and action.choices is None:
        action.choices = sorted(_NAMES[action.dest]())
    elif action.metavar in _FILES:
        action.complete = file  # type: ignore[attr-defined]
    elif action.metavar in _FOLDERS:
        action.complete = folder  # type: ignore[attr-defined]


def _methods() -> list[str]:
    from csmri_ext.recon import methods

    return list(methods.names())


def _networks() -> list[str]:
    from csmri_ext.recon import methods

    return [name for name in methods.names() if methods.get(name).network is not None]


def _masks() -> list[str]:
    from csmri_ext.physics import mask_kinds

    return list(mask_kinds())


def _recipes() -> list[str]:
    from csmri_ext.training.recipes import RECIPES

    return list(RECIPES)


def _experiments() -> list[str]:
    from csmri_ext.experiments.experiment import experiments

    return list(experiments())


_NAMES: dict[str, Callable[[], list[str]]] = {
    "method": _methods,
    "methods": _methods,
    "model": _networks,
    "mask": _masks,
    "masks": _masks,
    "recipe": _recipes,
    "experiment": _experiments,
}
