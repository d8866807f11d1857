"""How a command parses its words and fails: one clear line on stderr and exit code 2; the traceback only on request."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NoReturn, Protocol

from csmri_ext.commands.stopping import signals_stop
from csmri_ext.errors import BAD_INPUT, InputError, expected_errors, one_line
from csmri_ext.progress import silence

QUIET = {"-q", "--quiet"}
_WITHOUT_VALUE = re.compile(r"--[a-z-]+=")
INTERRUPTED = 130  # exit code after Ctrl-C, as shells report it


class HelpFormatter(argparse.HelpFormatter):
    """Adds to the help of an option the default that it has, where it has one and the help does not say it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        plain = (
            not action.option_strings or default is None or default is argparse.SUPPRESS or isinstance(default, bool)
        )
        if not action.help or "default" in action.help or plain or default in ([], ()):
            return action.help
        shown = " ".join(f"{value}" for value in default) if isinstance(default, (list, tuple)) else "%(default)s"
        return f"{action.help} (default: {shown})"


class ArgumentParser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` whose errors are an `InputError` instead of a usage block and an exit.

    Parameters
    ----------
    program
        The command, as in ``csmri recon``.
    words
        What is to be given besides options, as in ``IN OUT``.
    more
        Of `argparse.ArgumentParser`.
    """

    def __init__(self, program: str, words: str = "", **more: Any) -> None:
        usage = f"{program} {words} [OPTIONS]".replace("  ", " ")
        super().__init__(prog=program, usage=usage, allow_abbrev=False, formatter_class=HelpFormatter, **more)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the words; an empty one is an error wherever it stands: as a path it would be the folder at hand."""
        before = self.prog
        for word in args if args is not None else sys.argv[1:]:
            if word == "" or _WITHOUT_VALUE.fullmatch(word):
                where = word.removesuffix("=") or before
                raise InputError(
                    f"after {where}: an empty file name or value (a variable of the shell that is not set?)"
                )
            before = word
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise the parser's complaint, with the command that explains the options."""
        raise InputError(f"{message} (see {self.prog} --help)")


class Main(Protocol):
    """``main`` of a command; the exit code is 0, 2 for bad input, 130 after Ctrl-C."""

    def __call__(self, argv: Sequence[str] | None = None, program: str = ...) -> int:
        """Run the words of the command line, ``sys.argv[1:]`` by default; messages call the command `program`."""


def main_of(work: Callable[[list[str], str], int], name: str) -> Main:
    """Make the ``main`` of a command.

    Parameters
    ----------
    work
        Takes the words and the name of the program, and returns an exit code.
    name
        Of the program, unless it is called by another.
    """

    def main(argv: Sequence[str] | None = None, program: str = name) -> int:
        arguments = list(sys.argv[1:] if argv is None else argv)
        return run_command(lambda: work(arguments, program), arguments)

    return main


def run_command(command: Callable[[], int], arguments: Sequence[str] = ()) -> int:
    """Run `command` and return its exit code: 2 after bad input, 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.

    Bad input is what the package itself diagnoses (`InputError` and the bridge's errors), and what the machine says
    about files, memory and missing packages. Anything else is a defect of ours and keeps its traceback. After a signal
    the exit code tells it whatever became of the exception on its way, so that ``train && recon`` never goes on.

    Parameters
    ----------
    command
        Does the work and returns an exit code.
    arguments
        Words of the command line: with ``--debug`` the traceback is printed before the line of an error, with
        ``--quiet`` nothing but warnings and errors.
    """
    code = 0
    with signals_stop() as received, ExitStack() as output:
        if QUIET.intersection(arguments):
            output.enter_context(silence())
            output.enter_context(redirect_stdout(output.enter_context(Path(os.devnull).open("w"))))
        try:
            code = command()
        except KeyboardInterrupt:
            code = INTERRUPTED
        except SystemExit:
            if received.number is None:
                raise
        except expected_errors() as error:
            if "--debug" in arguments:
                traceback.print_exc()
            _say(f"error: {one_line(error)}")
            code = BAD_INPUT
        except Exception as error:
            if received.number is None:
                raise
            _say(f"error: {type(error).__name__}: {one_line(error)}")
    if received.number not in (None, signal.SIGINT):
        _say(f"stopped by {signal.Signals(received.number).name}")
    elif INTERRUPTED in (code, received.exit_code):
        _say("interrupted")
    if received.exit_code is None:
        return code
    _give_up_lost_output()
    return received.exit_code


def _say(text: str) -> None:
    words = text.encode(errors="backslashreplace").decode()  # a name that is not UTF-8
    with suppress(OSError):  # the terminal may be what has gone (SIGHUP)
        sys.stderr.write(f"{words}\n")


def _give_up_lost_output() -> None:
    """Flush; where the terminal has gone, write nowhere, since Python would end with a code of its own (120)."""
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except OSError:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
