"""Packages of others that some tests run beside ours, each where it is installed."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import pytest
from conftest import REQUIRED


def peer(module: str) -> Any:
    """Import a module of another package, or skip the test where that fails for whatever reason.

    An installed package may still not be importable: torchvision beside another torch than its own is a RuntimeError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except Exception as error:  # of a package that is not ours
        message = f"{module} cannot be imported: {type(error).__name__}: {str(error).splitlines()[0]}"
        if module.partition(".")[0] in REQUIRED:
            pytest.fail(f"{message}, but CSMRI_REQUIRE names it")
        pytest.skip(message)
