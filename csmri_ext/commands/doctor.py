"""``csmri doctor [FILES]``: show the configuration, or check the conventions of files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from csmri_ext.bridge.load import Files
from csmri_ext.commands.parser import ArgumentParser, run_command
from csmri_ext.commands.reading import add_reading_options, files_of

FOUND_PROBLEMS = 1  # exit code where a file can be read but should not be used as it is
_STYLES = {"OK": "green", "note": "yellow", "warning": "bold yellow", "problem": "bold red"}


def main(argv: Sequence[str], program: str = "csmri doctor") -> int:
    """Show the configuration; with files, check their conventions and return 1 where one is a problem.

    Parameters
    ----------
    argv
        Words of the command line.
    program
        Name of the command in messages.
    """
    return run_command(lambda: _doctor(argv, program), debug="--debug" in argv)


def _doctor(argv: Sequence[str], program: str) -> int:
    parser = ArgumentParser(prog=program, allow_abbrev=False, description="Show the configuration, or check a file.")
    parser.add_argument("files", nargs="*", metavar="FILE", help="k-space or images, any supported format")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    add_reading_options(parser)
    args = parser.parse_args(argv)
    if args.files:
        files = files_of(args)
        return max([_examine(Path(file), files) for file in args.files])
    from csmri_ext.config import show_config

    sys.stdout.write(show_config() + "\n")
    return 0


def _examine(path: Path, files: Files) -> int:
    from rich.console import Console
    from rich.text import Text

    from csmri_ext.data.examine import examine

    acquisitions = files.open(path)
    console = Console()
    console.print(str(path), markup=False, highlight=False, soft_wrap=True)
    code = 0
    for finding in (finding for acquisition in acquisitions for finding in examine(acquisition)):
        line = Text.assemble((f"{finding.level:<8}", _STYLES[finding.level]), f"{finding.topic:<15}", finding.text)
        console.print(line, soft_wrap=True)
        if finding.level == "problem":
            code = FOUND_PROBLEMS
    return code
