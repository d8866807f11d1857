"""The methods of this package: the adjoint, total variation, BART's, and the models of both papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from csmri_ext.recon.methods import Method, register, register_network
from csmri_ext.recon.problem import TV_WEIGHT, Problem, Reconstruction

if TYPE_CHECKING:
    from torch import nn

MODELS: dict[str, str] = {
    "ga_hqs": "GA-HQS: learned fusion of data step and momentum",
    "a_hqs": "A-HQS: half-quadratic splitting with momentum, CNN denoiser",
    "hqs": "HQS: half-quadratic splitting, CNN denoiser",
    "ga_hqs_baseline1": "GA-HQS without momentum",
    "ga_hqs_baseline2": "GA-HQS, fusion by 1x1 convolution and channel attention",
    "ga_hqs_baseline3": "GA-HQS, U-net as denoiser",
    "nasn_knee": "NasN, cell found on knees",
    "nasn_brain": "NasN, cell found on brains",
    "nasn_space_b": "NasN, cell found in search space B",
    "nasn_2nodes": "NasN, cell of 2 nodes",
    "nasn_4nodes": "NasN, cell of 4 nodes",
    "nasn_phantom": "NasN, cell found on the phantom",
    "nasn_magnitude": "NasN, cell found on knees, weights for one coil and images without phase",
}
"""Names of `csmri_ext.models`, each with a line for ``--help`` and the report."""


def register_classical() -> None:
    """Register what learns nothing."""
    adjoint = "adjoint of the encoding operator: missing samples are zero"
    register(Method("zero-filled", _zero_filled, adjoint, ("linear",)))
    register(Method("tv", _tv, "total variation, native twin of bart pics -R T", ("classical",), "tv"))
    tv, wavelet = "total variation by bart pics -R T", "l1-wavelets by bart pics -R W"
    register(Method("tv-bart", _with_bart("tv"), tv, ("classical",), "tv", needs_bart=True))
    register(Method("wavelet-bart", _with_bart("wavelet"), wavelet, ("classical",), "wavelet", needs_bart=True))


def register_models() -> None:
    """Register the models of both papers."""
    for name, description in MODELS.items():
        register_network(name, _model, description)


def _zero_filled(problem: Problem) -> Reconstruction:
    """Apply the adjoint, ``S^H F^H y``."""
    import torch

    from csmri_ext.physics import Encoding

    mask, maps = torch.from_numpy(problem.mask), problem.sens_maps
    images = []
    for i, measured in enumerate(problem.kspace):
        kspace = torch.from_numpy(measured)
        operator = Encoding(None, mask, None if maps is None else torch.from_numpy(maps[i]))
        images.append(operator.adjoint(kspace[0] if maps is None else kspace).numpy())
    return Reconstruction(np.stack(images))


def _tv(problem: Problem) -> Reconstruction:
    from csmri_ext.iterative.tv import tv_volume

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
        from csmri_ext.recon.bart_methods import tv_bart, wavelet_bart

        weight = problem.weights.get(family, TV_WEIGHT)
        result = {"tv": tv_bart, "wavelet": wavelet_bart}[family](
            problem.kspace,
            problem.mask,
            problem.sens_maps,
            weight=weight,
            iterations=problem.iterations,
            processes=problem.workers,
            binary=problem.bart,
        )
        details = {"weight": weight, "iterations": problem.iterations, "bart_argv": result.argv[-1]}
        return Reconstruction(result.image, details)

    return reconstruct


def _model(name: str, **options: Any) -> nn.Module:
    from csmri_ext.models import create

    return create(name, **options)
