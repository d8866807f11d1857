"""``--set NAME=VALUE``: options of a network or of a search on the command line, typed as what they replace."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from csmri_ext.errors import InputError

if TYPE_CHECKING:
    from csmri_ext.models.options import Option

_WORDS = {"true": True, "false": False, "none": None}
_EXPECTED = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "Sequence[int]": "whole numbers with commas between",
    "Sequence[float]": "numbers with commas between",
    "None": "none",
}
"""What is expected where an annotation has one of these; others are up to the network."""


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


def typed(words: Sequence[str], known: Mapping[str, Option], whose: str, advice: str = "") -> dict[str, Any]:
    """Parse ``NAME=VALUE`` words.

    Parameters
    ----------
    words
        As written.
    known
        Every option; its default and its annotation say of which type the value must be.
    whose
        Whose options they are, for messages.
    advice
        What to say besides where an option is unknown.

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
            raise InputError(f"--set {word}: {whose} has no option {name!r}; it has {', '.join(known)}{advice}")
        value, option = _value(text), known[name]
        usual = option.default
        if "Sequence[int]" in option.kinds and "int" not in option.kinds and type(value) is int:
            value = (value,)
        if isinstance(usual, float) and type(value) is int:
            value = float(value)
        if isinstance(usual, str) and not (value is None and option.may_be_none):
            value = text
        if not _fits(value, option):
            raise InputError(f"--set {word}: expected {_expected(option)}{_as_in(name, usual)}")
        found[name] = value
    return found


def _fits(value: Any, option: Option) -> bool:
    if value is None:
        return option.may_be_none
    if option.default is not None:
        return type(value) is type(option.default)
    if not option.kinds or not all(kind in _EXPECTED for kind in option.kinds):
        return True
    several = isinstance(value, (tuple, list))
    kinds = {type(each).__name__ for each in (value if several else [value])} or {"empty"}
    allowed = {kind.removeprefix("Sequence[").removesuffix("]") for kind in option.kinds if ("[" in kind) == several}
    return kinds <= (allowed | {"int"} if "float" in allowed else allowed)


def _expected(option: Option) -> str:
    usual = option.default
    if usual is None:
        return ", or ".join(_EXPECTED[kind] for kind in option.kinds if kind in _EXPECTED) or "another value"
    told = _EXPECTED.get(type(usual).__name__, "another type")
    return f"{told}, or none" if option.may_be_none else told


def _as_in(name: str, usual: Any) -> str:
    return "" if usual is None else f", as in {name}={_written(usual)}"


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
