"""The console script `csmri`: finds the command and hands the rest of the line to it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from csmri_ext.errors import ArgumentParser, run_command, unknown

FOUND_PROBLEMS = 1  # exit code of `csmri doctor FILE` when the file can be read but should not be used as it is
_STYLES = {"OK": "green", "note": "yellow", "problem": "bold red"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``csmri COMMAND ...`` and return its exit code: 0, 2 for bad input, 130 after Ctrl-C.

    Parameters
    ----------
    argv
        The words after ``csmri``; default ``sys.argv[1:]``.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in COMMANDS:
        command, _ = COMMANDS[words[0]]
        return command(words[1:], f"csmri {words[0]}")
    return run_command(lambda: _without_command(words), debug="--debug" in words)


def doctor(argv: Sequence[str], program: str = "csmri doctor") -> int:
    """Show the configuration; with files, check their conventions and return 1 where one is a problem.

    Parameters
    ----------
    argv
        Words of the command line.
    program
        Name of the command in messages.
    """
    return run_command(lambda: _doctor(argv, program), debug="--debug" in argv)


def _from(module: str) -> Callable[[Sequence[str], str], int]:
    """Run ``main(argv, program)`` of a module that loads only then, so that `csmri --help` stays quick."""
    return lambda argv, program: int(import_module(module).main(argv, program))


COMMANDS: dict[str, tuple[Callable[[Sequence[str], str], int], str]] = {
    "recon": (_from("baselines.recon"), "reconstruct a file, or a folder of files, with one method"),
    "compare": (_from("baselines.compare"), "compare methods on the same undersampled data, with a report"),
    "train": (_from("baselines.train"), "train a network on the phantom or on your own files"),
    "reproduce": (_from("baselines.reproduce"), "train and test the networks of a published table on your images"),
    "info": (_from("baselines.info"), "show what a network costs: parameters, operations, layers"),
    "search": (_from("csmri_ext.search.command"), "search for the cell of a NasN: architecture, not weights"),
    "doctor": (doctor, "show the configuration, or check the conventions of a file"),
}


def _without_command(words: list[str]) -> int:
    from csmri_ext import __version__

    parser = ArgumentParser(
        prog="csmri",
        allow_abbrev=False,
        usage="csmri COMMAND ...   (csmri COMMAND --help explains it)",
        description="\n".join(f"{name:<10} {text}" for name, (_, text) in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"csmri_ext {__version__}")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help=argparse.SUPPRESS)
    command = parser.parse_known_args(words)[0].command
    if command is not None:
        raise unknown("command", command, COMMANDS)
    parser.print_help()
    return 0


def _doctor(argv: Sequence[str], program: str) -> int:
    parser = ArgumentParser(prog=program, allow_abbrev=False, description="Show the configuration, or check a file.")
    parser.add_argument("files", nargs="*", metavar="FILE", help="k-space or images, any supported format")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args(argv)
    if args.files:
        return max([_examine(Path(file)) for file in args.files])
    from csmri_ext.config import show_config

    sys.stdout.write(show_config() + "\n")
    return 0


def _examine(path: Path) -> int:
    from rich.console import Console
    from rich.text import Text

    from csmri_ext.bridge import load
    from csmri_ext.doctor import examine

    acquisition = load(path)
    console = Console()
    console.print(str(path), markup=False, highlight=False, soft_wrap=True)
    code = 0
    for finding in examine(acquisition):
        line = Text.assemble((f"{finding.level:<8}", _STYLES[finding.level]), f"{finding.topic:<15}", finding.text)
        console.print(line, soft_wrap=True)
        if finding.level == "problem":
            code = FOUND_PROBLEMS
    return code
