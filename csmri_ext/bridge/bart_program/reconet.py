"""``bart reconet``, BART's unrolled networks MoDL and VarNet: their files of weights, and images made with them."""

from __future__ import annotations

import getopt
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.bart_files.cfl import read_cfl_header
from csmri_ext.bridge.bart_files.dims import BATCH_DIM, SLICE_DIM, from_bart, to_bart
from csmri_ext.bridge.bart_files.header import CflError
from csmri_ext.bridge.bart_program.run import bart

NETWORKS = ("modl", "varnet")

_SHORT = "teagl:b:I:nN:T:h"
_LONG = {"-N": "--network", "-I": "--iterations", "-n": "--normalize"}
# What decides the network itself, and so has to be said again when it is applied.
_KEPT_WITH_VALUE = (
    "network=", "iterations=", "resnet-block=", "varnet-block=", "unet=", "data-consistency=", "initial-reco=",
)  # fmt: skip
_KEPT_ALONE = (
    "normalize", "shared-weights", "no-shared-weights", "shared-lambda", "no-shared-lambda", "rss-norm", "test",
)  # fmt: skip
_OTHERS = (
    "train", "eval", "apply", "gpu", "load=", "batch-size=", "trajectory=", "pattern=", "mask=", "valid-data=",
    "train-loss=", "valid-loss=", "train-algo=", "adam=", "iPALM=", "load-memory", "lowmem", "export-graph=",
)  # fmt: skip


@dataclass(frozen=True)
class ReconetWeights:
    """Weights that ``bart reconet -t`` wrote.

    Attributes
    ----------
    path
        As BART names them: the file without its extension.
    network
        ``"modl"`` or ``"varnet"``.
    options
        Words that describe the network: those of the training that ``bart reconet -a`` has to be given again.
    values
        Number of real numbers in the file; with a batch normalization also its running statistics.
    command
        The training as BART recorded it, ``reconet -t ...``.
    """

    path: Path
    network: str
    options: tuple[str, ...]
    values: int
    command: str


class ReconetResult(NamedTuple):
    """Images of `reconet` and the command that made them."""

    image: NDArray[np.complex64]
    argv: list[str]


def read_reconet_weights(path: str | os.PathLike[str]) -> ReconetWeights:
    """Read which network a file of weights is of, from the command that BART writes into its header.

    Parameters
    ----------
    path
        ``weights``, ``weights.hdr`` or ``weights.cfl``.

    Raises
    ------
    CflError
        No such file, or it is not from ``bart reconet -t``; a network for non-Cartesian data.
    """
    name = Path(os.fspath(path).removesuffix(".hdr").removesuffix(".cfl"))
    header = read_cfl_header(name)
    if not Path(f"{name}.cfl").is_file():
        raise CflError(f"{name}.cfl: no such file; weights of BART are a pair of files, .cfl and .hdr")
    command = next((line for line in header.command.splitlines() if "reconet" in line.split()[:2]), "")
    words = command.split()
    words = words[words.index("reconet") + 1 :] if command else []
    try:
        found, _ = getopt.gnu_getopt(words, _SHORT, [*_KEPT_WITH_VALUE, *_KEPT_ALONE, *_OTHERS])
    except getopt.GetoptError as error:
        raise CflError(f"{name}.hdr: its training, bart {command}, cannot be read: {error}") from None
    said = dict(found)
    network = said.get("--network", said.get("-N", ""))
    if not header.multi_dims or network not in NETWORKS or not {"-t", "--train"} & said.keys():
        raise CflError(f"{name}.hdr: not weights that `bart reconet -t --network modl` or `varnet` has written")
    if "--trajectory" in said:
        raise CflError(f"{name}.hdr: a network for non-Cartesian data (it was trained with --trajectory)")
    kept = {f"--{word.rstrip('=')}" for word in (*_KEPT_WITH_VALUE, *_KEPT_ALONE)}
    options = [word for pair in found if _LONG.get(pair[0], pair[0]) in kept for word in pair if word]
    return ReconetWeights(name, network, tuple(options), int(np.prod(header.dims)), " ".join(["reconet", *words]))


def reconet(
    kspace: NDArray[Any],
    sens_maps: NDArray[Any] | None,
    weights: ReconetWeights,
    *,
    pattern: NDArray[Any],
    threads: int = 1,
    **bart_options: Any,
) -> ReconetResult:
    """Reconstruct slices with a network that BART has trained: ``bart reconet -a``.

    All slices go through one call. Unlike ``bart pics`` it needs no correction for sides that are no multiples of 4.

    Parameters
    ----------
    kspace
        Complex, (slices, coils, ny, nx), centred.
    sens_maps
        Shape of `kspace`; may be left out for one coil.
    weights
        From `read_reconet_weights`.
    pattern
        Bool, (nx,) or (ny, nx), True where acquired. Other samples are set to zero.
    threads
        Of BART.
    **bart_options
        As in `bart`.

    Returns
    -------
        `image`, complex64, (slices, ny, nx); `argv`, the command with words in place of the names of files.

    Raises
    ------
    ValueError
        Shapes do not fit; several coils and no `sens_maps`; data that are not finite; a slice that is all zero.
    BartError
        As in `bart`; the image is not finite.
    """
    n_slices, n_coils, ny, nx = kspace.shape
    if sens_maps is None and n_coils > 1:
        raise ValueError(f"k-space (slices, coils, ny, nx) = {kspace.shape} has several coils: sens_maps are needed")
    maps = np.ones(kspace.shape, np.complex64) if sens_maps is None else np.asarray(sens_maps)
    if maps.shape != kspace.shape:
        raise ValueError(f"sens_maps {maps.shape} do not fit k-space (slices, coils, ny, nx) = {kspace.shape}")
    acquired = np.broadcast_to(np.asarray(pattern, dtype=bool), (ny, nx))
    measured = np.where(acquired, kspace, np.complex64(0))
    empty = [i for i in range(n_slices) if not measured[i].any()]
    if empty:
        raise ValueError(f"k-space of bart reconet, of shape {kspace.shape}, is zero everywhere in slice {empty[0]}")
    args = ["reconet", "-a", *weights.options, "--pattern"]
    arrays = [to_bart(acquired), *(np.swapaxes(to_bart(array), SLICE_DIM, BATCH_DIM) for array in (measured, maps))]
    result = bart([*args, *arrays, weights.path], threads=threads, **bart_options)
    image = from_bart(result)[:, 0]
    argv = ["bart", *args, "pattern", "kspace", "sens_maps", weights.path.name, "image"]
    return ReconetResult(np.ascontiguousarray(image), argv)
