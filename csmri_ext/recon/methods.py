"""The registry of methods: a name, what it does, and the function that does it.

A method joins by ``register(Method("name", reconstruct, "what it is"))``, a network by
``register_network("name", create, "what it is")``. A package brings its own through an entry point of the group
``csmri_ext.methods``: a function without arguments that registers them. The published networks come in by that door.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import numpy as np

from csmri_ext.errors import InputError, one_line, unknown
from csmri_ext.recon.network_method import Network
from csmri_ext.recon.problem import Problem, Reconstruction

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Method:
    """One entry of the registry.

    Attributes
    ----------
    name
        As users type it.
    reconstruct
        Solves a `Problem`.
    description
        One line for ``--help`` and the report.
    tags
        Words to choose by, such as ``"classical"``, ``"network"``.
    weight
        Family of the regularisation weight that ``--tv-weight auto`` tunes for it, or None.
    needs_bart
        Runs BART's program; part of a comparison only with ``--bart``.
    network
        What learned parameters it has, whether they are trained, and what they cost; None for a method without any.
    """

    name: str
    reconstruct: Callable[[Problem], Reconstruction]
    description: str
    tags: tuple[str, ...] = ()
    weight: str | None = None
    needs_bart: bool = False
    network: Network | None = None

    @property
    def trained(self) -> bool:
        """Whether it runs as installed: it learns nothing, or its weights are there."""
        return self.network is None or self.network.trained

    @property
    def parameters(self) -> int:
        """Number of learned parameters."""
        return 0 if self.network is None else self.network.parameters()

    def flops(self, shape: tuple[int, int]) -> int | None:
        """Operations per slice of ``(ny, nx)``; None for iterative methods, where no count is defined."""
        return None if self.network is None else self.network.flops(shape)

    def load(self, problem: Problem) -> None:
        """Do what must not count as time of the reconstruction, such as reading weights."""
        if self.network is not None:
            self.network.load(problem)


_METHODS: dict[str, Method] = {}
_GROUP = "csmri_ext.methods"


@cache
def load_all() -> None:
    """Fill the registry: the methods of this package, and those of every installed entry point."""
    from csmri_ext.recon import builtin_methods

    builtin_methods.register_classical()
    for entry in entry_points(group=_GROUP):
        _load(entry)
    builtin_methods.register_models()


def _load(entry: EntryPoint) -> None:
    """Run one entry point; what fails costs its own methods only, and is said in one line."""
    try:
        entry.load()()
    except Exception as error:  # somebody else's code may raise anything
        top = sys.modules.get(entry.module.split(".")[0])
        where = getattr(top, "__file__", None) or next(iter(getattr(top, "__path__", [])), None)
        hint = f"; Python found {top.__name__} at {where}" if top is not None and where else ""
        sys.stderr.write(f"note: no methods from {entry.name} ({entry.value}): {one_line(error)}{hint}\n")


def register(method: Method) -> Method:
    """Add a method to the registry.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    if method.name in _METHODS:
        raise ValueError(f"a method called {method.name!r} is registered already")
    _METHODS[method.name] = method
    return method


def register_network(name: str, create: Callable[..., nn.Module], description: str) -> Method:
    """Add a network to the registry.

    Parameters
    ----------
    name, create
        See `Network`. `create` should import torch only when it is called.
    description
        One line for ``--help`` and the report.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    return register(as_method(Network(name, create), description))


def as_method(network: Network, description: str) -> Method:
    """Make a network a method, registered or not."""

    def reconstruct(problem: Problem) -> Reconstruction:
        details = {"weights": network.weights, "trained": network.trained, "device": problem.device}
        return Reconstruction(network.reconstruct(problem), details)

    return Method(network.name, reconstruct, description, ("network",), network=network)


def names() -> list[str]:
    """Names of all methods, in the order of registration."""
    load_all()
    return list(_METHODS)


def get(name: str, kind: str = "method") -> Method:
    """Look a method up by name.

    Parameters
    ----------
    name
        As users type it.
    kind
        What the user was asked for, for the message: ``"method"`` or ``"model"``.

    Raises
    ------
    InputError
        If there is none; the nearest names are suggested.
    """
    load_all()
    if name not in _METHODS:
        raise unknown(kind, name, _METHODS)
    return _METHODS[name]


def create_network(name: str, overrides: Mapping[str, Any]) -> nn.Module:
    """Build a network, untrained: a registered one, or ``nasn`` with the genotype among the overrides.

    Raises
    ------
    InputError
        No network of this name.
    """
    if name == "nasn":
        from csmri_ext.models import NasN

        return NasN(**overrides)
    load_all()
    networks = {method.name: method.network for method in _METHODS.values() if method.network is not None}
    if name not in networks:
        raise unknown("network", name, networks)
    return networks[name].create(name, **overrides)


def choose(wanted: str | None, *, bart: bool, untrained: bool = False) -> list[Method]:
    """Methods of a comparison, in the order asked for.

    Parameters
    ----------
    wanted
        Names separated by commas; None takes every method that runs as installed, those of BART only with `bart`.
    bart
        Whether ``--bart`` was given.
    untrained
        Whether ``--untrained`` was given: networks that are asked for by name may have random weights.

    Raises
    ------
    InputError
        For an unknown name, an empty list, or a network without weights.
    """
    if wanted is None:
        if untrained:
            raise InputError("--untrained goes with --methods NAMES: say which networks without weights are meant")
        return [m for m in map(get, names()) if m.trained and (bart or not m.needs_bart)]
    chosen = list(dict.fromkeys(name.strip() for name in wanted.split(",") if name.strip()))
    if not chosen:
        raise InputError(f"--methods names no method; known: {', '.join(names())}")
    return [require_trained(get(name), untrained) for name in chosen]


def require_trained(method: Method, untrained: bool) -> Method:
    """Return the method, unless it is a network without weights and nobody said that this is meant.

    Raises
    ------
    InputError
        Images of random weights look like results, and are none.
    """
    if method.trained or untrained:
        return method
    raise InputError(
        f"{method.name} is not trained: this installation has no weights for it, so its images would mean nothing. "
        "--untrained runs it with random weights, and says so in the results"
    )


def tuned_by(family: str) -> Method:
    """Return the method on which the weight of a family is tuned: the first one registered."""
    return next(method for method in map(get, names()) if method.weight == family)


def warm_up() -> None:
    """Reconstruct something tiny: torch's first transform takes a second, and that time is no method's."""
    get("zero-filled").reconstruct(Problem(np.ones((1, 1, 16, 16), np.complex64), np.ones(16, bool)))
