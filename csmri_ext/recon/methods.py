"""The registry of methods: a name, what it does, and the function that does it.

A method joins by ``register(Method("name", reconstruct, "what it is"))``, a network by
``register_network("name", create, "what it is")``. A package brings its own through an entry point of the group
``csmri_ext.methods``: a function without arguments that registers them. The published networks come in by that door.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from csmri_ext.errors import InputError, unknown
from csmri_ext.plugins import Plugin, announce, load_entry_points
from csmri_ext.recon.network_method import FILES_OF_WEIGHTS, Network
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
        Family of the regularization weight that ``--tv-weight auto`` tunes for it, or None.
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

    @property
    def in_torch(self) -> bool:
        """Whether it is a network that PyTorch runs, whose module can be changed or wrapped."""
        return self.network is not None and self.network.in_torch

    @property
    def needs_maps(self) -> bool:
        """Whether it needs sensitivities of several coils, which a network that finds its own does not."""
        return self.network is None or self.network.needs_maps

    def network_for(self, option: str) -> Network:
        """Return its network, for what an option such as ``--adapt`` does with a module of PyTorch.

        Raises
        ------
        InputError
            It has none.
        """
        if self.network is None or not self.network.in_torch:
            why = "learns nothing" if self.network is None else "runs in BART"
            raise InputError(f"{option} is for networks of PyTorch, and {self.name} {why}")
        return self.network

    def load(self, problem: Problem) -> None:
        """Do what must not count as time of the reconstruction, such as reading weights."""
        if self.network is not None:
            self.network.load(problem)


OF_BART_WEIGHTS = ("modl-bart", "varnet-bart")
"""Methods that exist where somebody gives weights, see `csmri_ext.recon.bart_networks`."""

_METHODS: dict[str, Method] = {}


@cache
def load_all() -> None:
    """Fill the registry: the methods of this package first, then those of every installed entry point."""
    from csmri_ext.recon import builtin_methods

    early = dict(_METHODS)  # of entry points that ran before, when somebody read a file of weights
    _METHODS.clear()
    builtin_methods.register_classical()
    _METHODS.update(early)
    load_entry_points()
    builtin_methods.register_models()


def register(method: Method) -> Method:
    """Add a method to the registry; ValueError if its name is taken."""
    if method.name in _METHODS:
        raise ValueError(f"a method called {method.name!r} is registered already")
    _METHODS[method.name] = method
    return method


def register_network(
    name: str,
    create: Callable[..., nn.Module],
    description: str,
    *,
    weights: str | os.PathLike[str] | None = None,
    read: Callable[[str | os.PathLike[str]], nn.Module] | None = None,
) -> Method:
    """Add a network to the registry.

    Parameters
    ----------
    name, create
        See `Network`. `create` should import torch only when it is called.
    description
        One line for ``--help`` and the report.
    weights
        File of its weights, ``.safetensors``, loaded into what ``create(name)`` returns; None: what comes with
        csmri_ext.
    read
        ``read(path)`` returns the network with the weights of a file that its authors published.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    announce(name, Plugin(create, read))
    if weights is None:
        return register(as_method(Network(name, create), description))
    return register(as_method(Network(name, partial(_with_weights, create, weights), Path(weights)), description))


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
    if name in OF_BART_WEIGHTS:
        raise InputError(f"{name} needs weights that BART has trained: --bart-weights FILE")
    if name not in _METHODS:
        raise unknown(kind, name, _METHODS, readiness)
    return _METHODS[name]


def readiness(name: str) -> str:
    """Say behind the name of a network in a list whether it has weights; nothing of what learns nothing."""
    method = _METHODS[name]
    if method.network is None:
        return ""
    return " (has weights)" if method.trained else " (no weights)"


def listing() -> str:
    """Every name in a few lines for ``--help``: what learns nothing, networks with weights, and those without."""
    known = [get(name) for name in names()]
    plain = [method.name for method in known if method.network is None]
    ready = [method.name for method in known if method.network is not None and method.trained]
    others = [method.name for method in known if method.network is not None and not method.trained]
    return (
        f"methods: {', '.join(plain)}; networks with weights: {', '.join(ready) or 'none'}; networks without "
        f"(train them, or bring a file of weights): {', '.join(others) or 'none'}"
    )


def choose(
    wanted: str | None, *, bart: bool, untrained: bool = False, given: Mapping[str, Method] | None = None
) -> list[Method]:
    """Methods of a comparison, in the order asked for.

    Parameters
    ----------
    wanted
        Names and files of weights separated by commas, see `of_weights`; a comma in the name of a file that is there
        belongs to it. None takes every method that runs as installed, those of BART only with `bart`.
    bart
        Whether ``--bart`` was given.
    untrained
        Whether ``--untrained`` was given: networks that are asked for by name may have random weights.
    given
        Methods that are not in the registry, by name: those of ``--bart-weights``. All take part; `wanted` may name
        their place in the order.

    Raises
    ------
    InputError
        For an unknown name, an empty list, or a network without weights.
    """
    if wanted is None:
        if untrained:
            raise InputError("--untrained goes with --methods NAMES: say which networks without weights are meant")
        usual = [m for m in map(get, names()) if m.trained and (bart or not m.needs_bart)]
        return [*usual, *(given or {}).values()]
    chosen = list(dict.fromkeys(_words(wanted)))
    if not chosen:
        raise InputError(f"--methods names no method; {listing()}")
    _require_whole_paths(chosen, {*names(), *OF_BART_WEIGHTS, *(given or {})})
    words = [word for word in chosen if is_file_of_weights(word)]
    files = of_weights(words, beside={*chosen, *(given or {})})
    known = {**(given or {}), **files}
    methods = [known.get(word) or require_trained(get(word), untrained) for word in chosen]
    methods += (given or {}).values()
    return list(dict.fromkeys(methods))  # one file may be written in two ways


def _words(wanted: str) -> Iterator[str]:
    """Take ``a,b,c`` apart, but for commas in the names of files of weights that are there."""
    parts = wanted.split(",")
    while parts:
        words = (",".join(parts[:n]).strip() for n in range(len(parts), 1, -1))
        whole = next((word for word in words if is_file_of_weights(word) and _is_one(word)), None)
        word = parts[0].strip() if whole is None else whole
        del parts[: 1 if whole is None else whole.count(",") + 1]
        if word:
            yield word


def _is_one(word: str) -> bool:
    name, _, file = word.rpartition("=")
    return Path(word).is_file() or ("," not in name and Path(file).is_file())


def _file_in(word: str) -> Path:
    """Return the file of ``FILE`` or ``NAME=FILE``; a file whose own name has ``=`` comes first."""
    return Path(word) if Path(word).is_file() else Path(word.rpartition("=")[2])


def _require_whole_paths(chosen: Sequence[str], known: Collection[str]) -> None:
    """Say it where what is before a comma is no method and what is behind it no file: they may be one path."""
    strange = [word for word in chosen if not is_file_of_weights(word) and word not in known]
    absent = [word for word in chosen if is_file_of_weights(word) and not _file_in(word).is_file()]
    if strange and absent:
        raise InputError(
            f"--methods: {strange[0]} is no method and {absent[0]} no file; commas separate methods, and belong to the "
            "name of a file of weights only where that file is there"
        )


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


def is_file_of_weights(word: str) -> bool:
    """Whether a word of ``--methods`` is a file rather than a name: ``FILE`` or ``NAME=FILE``."""
    return word.lower().endswith(FILES_OF_WEIGHTS)


def of_weights(words: Sequence[str], beside: Collection[str] = ()) -> dict[str, Method]:
    """Make methods of files of weights.

    Parameters
    ----------
    words
        ``FILE``, which says itself which network it is for; or ``NAME=FILE`` for one that does not, as
        ``ista_net_plus=published.pkl``.
    beside
        Names of the methods that they are to be told apart from.

    Returns
    -------
        By word; the same file gives the same method. A method is called as its file without the extension, with the
        folder in front where that is the name of another one.

    Raises
    ------
    InputError, OSError
        A file that is not there or not usable.
    """
    load_all()
    places: dict[str, tuple[Path, str | None]] = {}
    for word in words:
        name, equals, file = word.rpartition("=")
        whole = Path(word).is_file() or not equals
        places[word] = (Path(word), None) if whole else (Path(file), name)
    stems = Counter(path.stem for path in {path.resolve() for path, _ in places.values()})
    made: dict[tuple[Path, str | None], Method] = {}
    used = set(beside)
    for path, model in places.values():
        key = (path.resolve(), model)
        if key in made:
            continue
        stem = path.stem if stems[path.stem] == 1 and path.stem not in used else f"{key[0].parent.name}-{path.stem}"
        name = next(n for n in chain([stem], (f"{stem}-{i}" for i in count(2))) if n not in used)
        used.add(name)
        network = Network(name, partial(_loaded, path, model), path, model)
        made[key] = as_method(network, network.told)
    return {word: made[path.resolve(), model] for word, (path, model) in places.items()}


def _with_weights(
    create: Callable[..., nn.Module], weights: str | os.PathLike[str], name: str, *, pretrained: bool = False
) -> nn.Module:
    from csmri_ext.models import load_weights

    model = create(name)
    if pretrained:
        load_weights(model, weights)
    return model


def _loaded(path: Path, model: str | None, _: str, *, pretrained: bool = False) -> nn.Module:  # noqa: ARG001
    from csmri_ext.models import load

    return load(path, model)


def tuned_by(family: str) -> Method:
    """Return the method on which the weight of a family is tuned: the first one registered."""
    return next(method for method in map(get, names()) if method.weight == family)


def warm_up() -> None:
    """Reconstruct something tiny: torch's first transform takes a second, and that time is no method's."""
    get("zero-filled").reconstruct(Problem(np.ones((1, 1, 16, 16), np.complex64), np.ones(16, bool)))
