"""The methods that can be compared, one line each: a name, what it does, and the function that does it.

A method joins by ``register(Method("name", reconstruct, "what it is"))``, a network by
``register_network("name", create, "what it is")``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from baselines import networks
from baselines.network import Network
from csmri_ext.errors import InputError, unknown

if TYPE_CHECKING:
    from torch import nn

TV_WEIGHT = 0.01  # fastMRI's compressed-sensing baseline, and the setting of most papers
TV_ITERATIONS = 200


@dataclass
class Problem:
    """Undersampled slices of one volume, and what a method may use to reconstruct them.

    Attributes
    ----------
    kspace
        y, complex64 ``(slices, coils, ny, nx)``, centred, exactly zero where not sampled.
    mask
        M, bool ``(nx,)`` or ``(ny, nx)``, True where acquired.
    sens_maps
        S, complex64 ``(slices, coils, ny, nx)``, or None for one coil.
    image_size
        ``(h, w)`` that images are centre-cropped to afterwards.
    weights
        Regularisation weight by family (``"tv"``, ``"wavelet"``), relative to BART's data scaling;
        `TV_WEIGHT` where it is missing.
    iterations
        Iteration budget of the iterative methods, as ``bart pics -i``.
    device
        ``"cpu"`` or ``"cuda"``, for the methods that can choose.
    workers
        Slices solved at the same time by methods that treat them one by one.
    """

    kspace: NDArray[np.complex64]
    mask: NDArray[np.bool_]
    sens_maps: NDArray[np.complex64] | None = None
    image_size: tuple[int, int] = (0, 0)
    weights: dict[str, float] = field(default_factory=dict)
    iterations: int = TV_ITERATIONS
    device: str = "cpu"
    workers: int = 1


@dataclass
class Reconstruction:
    """What a method returns: complex64 images ``(slices, ny, nx)`` on the full matrix, and what it chose."""

    image: NDArray[np.complex64]
    details: dict[str, Any] = field(default_factory=dict)


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
    if name not in _METHODS:
        raise unknown(kind, name, _METHODS)
    return _METHODS[name]


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
        return [m for m in _METHODS.values() if m.trained and (bart or not m.needs_bart)]
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
    return next(method for method in _METHODS.values() if method.weight == family)


def warm_up() -> None:
    """Reconstruct something tiny: torch's first transform takes a second, and that time is no method's."""
    get("zero-filled").reconstruct(Problem(np.ones((1, 1, 16, 16), np.complex64), np.ones(16, bool)))


def _zero_filled(problem: Problem) -> Reconstruction:
    """Apply the adjoint, ``S^H F^H y``."""
    import torch

    from csmri_ext.physics import SenseOp

    mask, maps = torch.from_numpy(problem.mask), problem.sens_maps
    images = []
    for i, measured in enumerate(problem.kspace):
        kspace = torch.from_numpy(measured)
        operator = SenseOp(None if maps is None else torch.from_numpy(maps[i]), mask)
        images.append(operator.adjoint(kspace[0] if maps is None else kspace).numpy())
    return Reconstruction(np.stack(images))


def _tv(problem: Problem) -> Reconstruction:
    from baselines.tv import tv_volume

    weight = problem.weights.get("tv", TV_WEIGHT)
    details: dict[str, Any] = {"weight": weight, "iterations": problem.iterations}
    kspace, sens_maps, mask = problem.kspace, problem.sens_maps, problem.mask
    cupy = _cupy() if problem.device == "cuda" else None
    if problem.device == "cuda":
        details["device"] = "cuda" if cupy is not None else "cpu (cupy is not installed)"
    if cupy is not None:
        kspace, mask = cupy.asarray(kspace), cupy.asarray(mask)
        sens_maps = None if sens_maps is None else cupy.asarray(sens_maps)
    image = tv_volume(
        kspace, mask, sens_maps, weight=weight, iterations=problem.iterations, workers=problem.workers, xp=cupy
    )
    return Reconstruction(image if cupy is None else cupy.asnumpy(image), details)


def _cupy() -> Any:
    try:
        import cupy
    except ImportError:
        return None
    return cupy


def _with_bart(family: str) -> Callable[[Problem], Reconstruction]:
    def reconstruct(problem: Problem) -> Reconstruction:
        from baselines.bart_methods import tv_bart, wavelet_bart

        weight = problem.weights.get(family, TV_WEIGHT)
        result = {"tv": tv_bart, "wavelet": wavelet_bart}[family](
            problem.kspace,
            problem.mask,
            problem.sens_maps,
            weight=weight,
            iterations=problem.iterations,
            processes=problem.workers,
        )
        details = {"weight": weight, "iterations": problem.iterations, "bart_argv": result.argv[-1]}
        return Reconstruction(result.image, details)

    return reconstruct


register(Method("zero-filled", _zero_filled, "adjoint of the encoding operator: missing samples are zero", ("linear",)))
register(Method("tv", _tv, "total variation, native twin of bart pics -R T", ("classical",), "tv"))
register(
    Method("tv-bart", _with_bart("tv"), "total variation by bart pics -R T", ("classical",), "tv", needs_bart=True)
)
register(
    Method(
        "wavelet-bart",
        _with_bart("wavelet"),
        "l1-wavelets by bart pics -R W",
        ("classical",),
        "wavelet",
        needs_bart=True,
    )
)
for _name, _entry in networks.ENTRIES.items():
    register_network(_name, networks.create, _entry.description)


def _model(name: str, **options: Any) -> nn.Module:
    from csmri_ext.models import create

    return create(name, **options)


register_network("ga_hqs", _model, "GA-HQS: learned fusion of data step and momentum, 8 stages")
register_network("a_hqs", _model, "A-HQS: half-quadratic splitting with momentum, CNN denoiser")
register_network("hqs", _model, "HQS: half-quadratic splitting, CNN denoiser")
register_network("ga_hqs_baseline1", _model, "GA-HQS without momentum")
register_network("ga_hqs_baseline2", _model, "GA-HQS, fusion by 1x1 convolution and channel attention")
register_network("ga_hqs_baseline3", _model, "GA-HQS, U-net as denoiser")
register_network("nasn_knee", _model, "NasN, cell found on knees")
register_network("nasn_brain", _model, "NasN, cell found on brains")
register_network("nasn_space_b", _model, "NasN, cell found in search space B")
register_network("nasn_2nodes", _model, "NasN, cell of 2 nodes")
register_network("nasn_4nodes", _model, "NasN, cell of 4 nodes")
register_network("nasn_phantom", _model, "NasN, cell found on the phantom")
