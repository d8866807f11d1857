"""Options of networks: what a constructor takes, and the checks that hold for each of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Option:
    """One parameter of a constructor, or one field of a dataclass.

    Attributes
    ----------
    default
        None also where there is none.
    kinds
        Its annotation, taken apart: ``("float", "Sequence[float]", "None")``; empty where there is none.
    """

    default: Any = None
    kinds: tuple[str, ...] = ()

    @property
    def may_be_none(self) -> bool:
        """Whether ``none`` is one of its values."""
        return "None" in self.kinds or (self.default is None and not self.kinds)

    @property
    def is_count(self) -> bool:
        """Whether it counts something of which there must be one."""
        return self.kinds[:1] == ("int",) and type(self.default) is int and self.default >= 1


def options_of(constructor: Callable[..., object], model: nn.Module | None = None) -> dict[str, Option]:
    """Options of a network by name, but for those that its name stands for.

    Parameters
    ----------
    constructor
        Of a model of ours, `csmri_ext.models.zoo.MODELS`; or a class.
    model
        What `constructor` has made, where its own parameters say nothing (``create(name, **overrides)``): then those of
        the class count.
    """
    parameters = inspect.signature(type(model) if model is not None else constructor).parameters.values()
    return {
        parameter.name: Option(
            None if parameter.default is parameter.empty else parameter.default, _kinds(parameter.annotation)
        )
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def fields_of(settings: Any) -> dict[str, Option]:
    """Fields of a dataclass as options, with the values of this one."""
    return {each.name: Option(getattr(settings, each.name), _kinds(each.type)) for each in fields(settings)}


def require_counts(constructor: Callable[..., object], overrides: Mapping[str, Any]) -> None:
    """Raise ValueError where there shall be no, or less than no, stages, channels or the like.

    Parameters
    ----------
    constructor, overrides
        What it is built by, and with.
    """
    options = options_of(constructor)
    for key, value in overrides.items():
        if key in options and options[key].is_count and type(value) is int and value < 1:
            raise ValueError(f"{key} is {value}, expected a whole number of at least 1")


def _kinds(annotation: Any) -> tuple[str, ...]:
    """Take ``"int | None"`` or ``Optional[int]`` apart; without postponed annotations a module has objects, no text."""
    if annotation is inspect.Parameter.empty:
        return ()
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"^(?:typing\.)?Optional\[(.*)\]$", r"\1 | None", text)
    return tuple(part.strip() for part in text.split("|"))
