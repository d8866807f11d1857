"""Networks that BART trains and runs, ``modl-bart`` and ``varnet-bart``: methods made of the weights a user gives."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from csmri_ext.bridge import ReconetWeights, read_reconet_weights, reconet
from csmri_ext.errors import InputError
from csmri_ext.recon.methods import Method
from csmri_ext.recon.network_method import Network
from csmri_ext.recon.problem import Problem, Reconstruction
from csmri_ext.report.provenance import command_line

TITLES = {"modl": "MoDL by bart reconet", "varnet": "variational network by bart reconet"}


class BartNetwork(Network):
    """A network that BART runs; its weights are a file of ``bart reconet -t``.

    Parameters
    ----------
    name
        Of the method.
    file
        The weights.
    """

    in_torch = False

    def __init__(self, name: str, file: ReconetWeights) -> None:
        super().__init__(name, _not_in_torch, Path(f"{file.path}.cfl"), file.network)
        self.reconet = file

    described = None
    trained = True

    @property
    def told(self) -> str:
        """One line: the network, its file, and its options."""
        return f"{TITLES[self.reconet.network]}, weights {self.reconet.path.name}: {' '.join(self.reconet.options)}"

    @cached_property
    def digest(self) -> str:
        """The sha256 of the numbers and of the header, which says what network they are of."""
        both = hashlib.sha256(self.weights_file.read_bytes())
        both.update(Path(f"{self.reconet.path}.hdr").read_bytes())
        return both.hexdigest()

    @cached_property
    def weights(self) -> str:
        """The file and the hash of the pair."""
        return f"{self.weights_file.name}, sha256 {self.digest[:16]}"

    def facts(self) -> dict[str, Any]:
        """Tell file, hash, size, and how BART was told to train them, for the record."""
        return {
            "method": self.name,
            "file": self.weights_file.name,
            "sha256": self.digest,
            "parameters": self.parameters(),
            "architecture": f"bart reconet {' '.join(self.reconet.options)}",
            "training": command_line("bart", self.reconet.command.split()),
        }

    def parameters(self) -> int:
        """Count the numbers in the file, running statistics of a batch normalization included."""
        return self.reconet.values

    def _flops(self, shape: tuple[int, int]) -> None:  # noqa: ARG002  # BART does not count them
        return None

    def load(self, problem: Problem) -> None:
        """Nothing: BART reads its weights in each call, and that is part of its time."""


def _not_in_torch(name: str, **_: Any) -> NoReturn:
    raise InputError(f"{name} runs in BART, not in PyTorch")


def of_bart_weights(files: Sequence[str | os.PathLike[str]]) -> dict[str, Method]:
    """Make methods of files that ``bart reconet -t`` wrote.

    Parameters
    ----------
    files
        As BART names them, with or without an extension.

    Returns
    -------
        By name: ``modl-bart``, ``varnet-bart``; with the name of the file behind where several are of one network.

    Raises
    ------
    CflError
        Not such a file.
    """
    read = {weights.path.resolve(): weights for weights in map(read_reconet_weights, files)}
    several = Counter(weights.network for weights in read.values())
    found: dict[str, Method] = {}
    for weights in read.values():
        name = f"{weights.network}-bart"
        if several[weights.network] > 1:
            name = f"{name}-{weights.path.name}"
        if name in found:
            raise InputError(f"two files of weights are called {weights.path.name}: rename one")
        network = BartNetwork(name, weights)
        found[name] = Method(name, _with(network), network.told, ("network",), needs_bart=True, network=network)
    return found


def _with(network: BartNetwork) -> Callable[[Problem], Reconstruction]:
    def reconstruct(problem: Problem) -> Reconstruction:
        result = reconet(
            problem.kspace,
            problem.sens_maps,
            network.reconet,
            pattern=problem.mask,
            threads=problem.workers,
            binary=problem.bart,
        )
        details = {"weights": network.weights, "trained": True, "device": "cpu", "bart_argv": result.argv}
        return Reconstruction(result.image, details)

    return reconstruct
