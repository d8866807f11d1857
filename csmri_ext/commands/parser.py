"""How a command parses its words and fails: one clear line on stderr and exit code 2; the traceback only on request."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from csmri_ext.errors import BAD_INPUT, InputError, expected_errors, one_line

INTERRUPTED = 130  # exit code after Ctrl-C, as shells report it


class ArgumentParser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` whose errors are an `InputError` instead of a usage block and an exit."""

    def error(self, message: str) -> NoReturn:
        """Raise the parser's complaint, with the command that explains the options."""
        raise InputError(f"{message} (see {self.prog} --help)")


def run_command(command: Callable[[], int], *, debug: bool = False) -> int:
    """Run `command` and return its exit code: 2 after bad input, 130 after Ctrl-C.

    Bad input is what the package itself diagnoses (`InputError` and the bridge's errors), and what the machine says
    about files, memory and missing packages. Anything else is a defect of ours and keeps its traceback.

    Parameters
    ----------
    command
        Does the work and returns an exit code.
    debug
        Print the traceback before the line.
    """
    try:
        return command()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except expected_errors() as error:
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"error: {one_line(error)}\n")
        return BAD_INPUT
