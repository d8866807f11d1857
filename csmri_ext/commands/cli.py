"""The console script `csmri`: finds the command and hands the rest of the line to it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from csmri_ext.commands.parser import ArgumentParser, run_command
from csmri_ext.errors import unknown


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``csmri COMMAND ...`` and return its exit code: 0, 2 for bad input, 130 after Ctrl-C.

    Parameters
    ----------
    argv
        The words after ``csmri``; default ``sys.argv[1:]``.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if words and words[0] in COMMANDS:
        module = import_module(f"csmri_ext.commands.{words[0]}")
        return int(module.main(words[1:], f"csmri {words[0]}"))
    return run_command(lambda: _without_command(words), words)


COMMANDS: dict[str, str] = {
    "recon": "reconstruct a file, or a folder of files, with one method",
    "compare": "compare methods on the same undersampled data, with a report",
    "train": "train a network on the phantom or on your own files",
    "search": "search for the cell of a NasN: architecture, not weights",
    "reproduce": "train and test the networks of a published table on your images",
    "info": "show what a network costs: parameters, operations, layers",
    "doctor": "show the configuration, or check the conventions of a file",
}
"""Commands by name; each is ``main(argv, program)`` of its own module, which loads only when it runs."""


def _without_command(words: list[str]) -> int:
    from csmri_ext import __version__

    parser = ArgumentParser(
        "csmri",
        "COMMAND ...",
        description="\n".join(f"{name:<10} {text}" for name, text in {**COMMANDS, "help": HELP}.items()),
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--version", action="version", version=f"csmri_ext {__version__}")
    parser.add_argument(
        "--print-completion", metavar="SHELL", help="print the completion for a shell: bash, zsh, fish ..."
    )
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("command", nargs="?", metavar="COMMAND", help=argparse.SUPPRESS)
    given = parser.parse_known_args([word for word in words if word not in ("-h", "--help")])[0]
    if given.command is not None:
        raise unknown("command", given.command, [*COMMANDS, "help"])
    if given.print_completion is not None:
        from csmri_ext.commands.completion import print_completion

        return print_completion(given.print_completion, COMMANDS)
    parser.print_help()
    return 0


HELP = "explain a command: csmri help COMMAND"
