"""``--set NAME=VALUE``: options of a network or of a search on the command line, typed as what they replace."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from csmri_ext.errors import InputError

if TYPE_CHECKING:
    from torch import nn

_WORDS = {"true": True, "false": False, "none": None}


def add_set_option(add: Callable[..., object], told: str) -> None:
    """Add ``--set`` to a parser, by its ``add_argument``.

    Parameters
    ----------
    add, told
        See above; what is set, with an example.
    """
    add(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help=told,
    )


def options_of(model: nn.Module) -> dict[str, Any]:
    """Options of a network's constructor with their defaults, those of its base classes that it does not name aside."""
    parameters = inspect.signature(type(model)).parameters.values()
    return {
        parameter.name: None if parameter.default is parameter.empty else parameter.default
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def typed(words: Sequence[str], known: Mapping[str, Any], whose: str) -> dict[str, Any]:
    """Parse ``NAME=VALUE`` words.

    Parameters
    ----------
    words
        As written.
    known
        Every option with its default, whose type the value must have; None: any.
    whose
        Whose options they are, for messages.

    Raises
    ------
    InputError
        A word without ``=``; an unknown option: all are listed; a value of another type.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise InputError(f"--set {word}: expected NAME=VALUE")
        if name not in known:
            raise InputError(f"--set {word}: {whose} has no option {name!r}; it has {', '.join(known)}")
        value, usual = _value(text), known[name]
        if isinstance(usual, float) and type(value) is int:
            value = float(value)
        if isinstance(usual, str):
            value = text
        if usual is not None and value is not None and type(value) is not type(usual):
            kind = {bool: "true or false", int: "a whole number", float: "a number"}.get(type(usual), "another type")
            raise InputError(f"--set {word}: expected {kind}, as in {name}={_written(usual)}")
        found[name] = value
    return found


def _value(text: str) -> Any:
    """Read a word as what it looks like: true, false, none, numbers, several of them with commas between; else text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    if text.startswith("["):
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    if "," in text:
        return tuple(_value(part) for part in text.split(",") if part)
    return text


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_written, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
