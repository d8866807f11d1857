"""Networks of other packages, by name: each package brings its own through an entry point.

An entry point of the group ``csmri_ext.methods`` is a function without arguments that calls
``csmri_ext.recon.methods.register_network``, which announces the network here. The published networks come in by that
door, so that a file of their weights can be read wherever one of ours can.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from csmri_ext.errors import one_line

if TYPE_CHECKING:
    from torch import nn

GROUP = "csmri_ext.methods"


@dataclass(frozen=True)
class Plugin:
    """A network of another package.

    Attributes
    ----------
    create
        ``create(name, **overrides)`` returns it with random weights.
    read
        ``read(path)`` returns it with the weights of a file that its authors published; None where there is no such
        format.
    """

    create: Callable[..., nn.Module]
    read: Callable[[str | os.PathLike[str]], nn.Module] | None = None

    @property
    def home(self) -> tuple[str, str | None]:
        """Package that has `create`, the shortest name under which it is there, and its own name if it has one."""
        function: Any = self.create
        while isinstance(function, partial):
            function = function.func
        module, name = str(function.__module__), getattr(function, "__qualname__", "<")
        parts = module.split(".")
        parents = [".".join(parts[:i]) for i in range(1, len(parts))]
        shown = (each for each in parents if getattr(sys.modules.get(each), name, None) is function)
        return next(shown, module), None if "<" in name else name


_PLUGINS: dict[str, Plugin] = {}


def announce(name: str, plugin: Plugin) -> None:
    """Make a network known by name; a later one of the same name replaces it."""
    _PLUGINS[name] = plugin


def plugins() -> Mapping[str, Plugin]:
    """All networks that entry points, or the program, have announced."""
    load_entry_points()
    return _PLUGINS


@cache
def load_entry_points() -> None:
    """Run every entry point of the group once."""
    for entry in entry_points(group=GROUP):
        _load(entry)


def _load(entry: EntryPoint) -> None:
    """Run one entry point; what fails costs its own networks only, and is said in one line."""
    try:
        entry.load()()
    except Exception as error:  # somebody else's code may raise anything
        top = sys.modules.get(entry.module.split(".")[0])
        where = getattr(top, "__file__", None) or next(iter(getattr(top, "__path__", [])), None)
        hint = f"; Python found {top.__name__} at {where}" if top is not None and where else ""
        sys.stderr.write(f"note: no methods from {entry.name} ({entry.value}): {one_line(error)}{hint}\n")
