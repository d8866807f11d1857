"""Where BART's program is, for those that ask for it."""

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
