"""Options of networks that others write: however a constructor is annotated, ``--set`` takes what it says."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import pytest

from csmri_ext.commands.model_options import typed
from csmri_ext.errors import InputError
from csmri_ext.models.options import options_of


def as_text(width: typing.Optional[int] = None, kind: list[str] | None = None, shape: list[int] = None) -> None:  # type: ignore[assignment] # noqa: RUF013, UP045
    """Annotations postponed."""


def as_objects(width: Any = None, kind: Any = None, shape: Any = None) -> None:
    """Annotations that are there, below."""


as_objects.__annotations__ = {"width": typing.Optional[int], "kind": list[str] | None, "shape": list[int]}  # noqa: UP045


@pytest.mark.parametrize("constructor", [as_text, as_objects])
def test_optional_is_none_or_what_it_says(constructor: Callable[..., object]) -> None:
    known = options_of(constructor)
    words = ["width=none", "kind=none", "shape=[2]"]
    assert typed(words, known, "mine") == {"width": None, "kind": None, "shape": [2]}
    assert typed(["width=3"], known, "mine") == {"width": 3}
    with pytest.raises(InputError, match=r"^--set width=wide: expected a whole number, or none$"):
        typed(["width=wide"], known, "mine")
    with pytest.raises(InputError, match=r"^--set shape=none: expected another value$"):
        typed(["shape=none"], known, "mine")
