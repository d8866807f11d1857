"""``csmri doctor [FILES]``: show the configuration, or check the conventions of files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from csmri_ext.bridge.load import Files
from csmri_ext.commands.parser import ArgumentParser, main_of
from csmri_ext.commands.reading import add_reading_options, reading_of
from csmri_ext.commands.shared_options import add_common_options, add_json_option, as_json

if TYPE_CHECKING:
    from csmri_ext.data.checks import Finding

FOUND_PROBLEMS = 1  # exit code where a file can be read but should not be used as it is
_STYLES = {"OK": "green", "note": "yellow", "warning": "bold yellow", "problem": "bold red"}
DESCRIPTION = """Show the configuration of this installation; or how FILES are read, and what is unusual about them.
The exit code is 1 where a file should not be used as it is."""


def argument_parser(program: str = "csmri doctor") -> ArgumentParser:
    """Options of the command."""
    parser = ArgumentParser(program, "[FILES...]", description=DESCRIPTION)
    parser.add_argument("files", nargs="*", metavar="FILES", help="k-space or images, any supported format")
    add_json_option(parser)
    add_reading_options(parser)
    add_common_options(parser, quiet=False)
    return parser


def _doctor(argv: Sequence[str], program: str) -> int:
    args = argument_parser(program).parse_args(argv)
    if not args.files:
        from csmri_ext.config import configuration, show_config

        sys.stdout.write((as_json(configuration()) if args.json else show_config()) + "\n")
        return 0
    files, found = reading_of(args), []
    for file in args.files:
        found.append((file, _examine(Path(file), files)))
        if not args.json:
            _print(*found[-1])
    if args.json:
        entries = [{"file": file, "findings": [asdict(finding) for finding in findings]} for file, findings in found]
        sys.stdout.write(as_json(entries) + "\n")
    return FOUND_PROBLEMS if any(f.level == "problem" for _, findings in found for f in findings) else 0


def _examine(path: Path, files: Files) -> list[Finding]:
    from csmri_ext.data.examine import examine

    return [finding for acquisition in files.open(path) for finding in examine(acquisition)]


def _print(file: str, findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(file, markup=False, highlight=False, soft_wrap=True)
    for finding in findings:
        line = Text.assemble((f"{finding.level:<8}", _STYLES[finding.level]), f"{finding.topic:<15}", finding.text)
        console.print(line, soft_wrap=True)


main = main_of(_doctor, "csmri doctor")
