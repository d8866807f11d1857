"""A network as a method of the comparison: made once, with its weights, and run slice by slice on a device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import fields
from functools import cache, cached_property
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from csmri_ext.models import Description
    from csmri_ext.recon.problem import Problem

FILES_OF_WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pth", ".pkl")
RANDOM_SEED = 0  # of a network without weights, so that its images are the same in every run


class Network:
    """A network by name; nothing is imported or read before it is needed.

    Parameters
    ----------
    name
        As `create` knows it, and the stem of its file of weights, ``csmri_ext/weights/NAME.safetensors``.
    create
        ``create(name, pretrained=True)`` returns a module with these weights, ``create(name)`` one with random weights;
        ``module(kspace, mask, sens_maps)`` maps complex64 ``(1, ny, nx)`` or ``(1, coils, ny, nx)``, a bool mask and
        maps of the shape of k-space (None for one coil) to a complex64 image ``(1, ny, nx)``.
    file
        Of the weights, where they do not come with csmri_ext.
    model
        Name of the architecture, where the file does not say it.

    Raises
    ------
    InputError
        No such file.
    """

    in_torch = True
    """Whether `module` is there: PyTorch runs it."""

    def __init__(
        self, name: str, create: Callable[..., nn.Module], file: Path | None = None, model: str | None = None
    ) -> None:
        self.name, self.create, self.file, self.model = name, create, file, model
        self.flops = cache(self._flops)
        if file is not None and not file.is_file():
            raise InputError(f"{file}: no such file of weights")

    @property
    def weights_file(self) -> Traversable | Path:
        """The file of the weights, whether it is there or not."""
        return self.file or files("csmri_ext").joinpath("weights", f"{self.name}.safetensors")

    @cached_property
    def described(self) -> Description | None:
        """What the file of weights says of itself, nothing where it is of others; None where there is none."""
        from csmri_ext.models import read_description

        if not self.trained:
            return None
        if isinstance(self.weights_file, Path):
            return read_description(self.weights_file)
        with as_file(self.weights_file) as path:
            return read_description(path)

    @property
    def told(self) -> str:
        """One line about a network from a file."""
        described = self.described
        if described is None or not described.architecture:
            return f"{self.model or 'network'} of {self.weights_file.name}"
        return f"{described.architecture}, trained on {described.data or 'data that its file does not name'}"

    def facts(self) -> dict[str, Any]:
        """Everything about the weights for the record: file, hash, parameters, and what the file says of itself."""
        digest = hashlib.sha256(self.weights_file.read_bytes()).hexdigest() if self.trained else None
        facts: dict[str, Any] = {
            "method": self.name,
            "file": self.weights_file.name if self.trained else None,
            "sha256": digest,
            "parameters": self.parameters(),
        }
        if self.described is not None:
            said = {item.name: getattr(self.described, item.name) for item in fields(self.described)}
            facts |= {key: value for key, value in said.items() if value not in ("", None, {})}
        if self.model:
            facts.setdefault("architecture", self.model)
        return facts

    @property
    def trained(self) -> bool:
        """Whether weights are installed."""
        return self.weights_file.is_file()

    @cached_property
    def weights(self) -> str:
        """The weights in a few words, for the record: the hash of their file, or that they are random."""
        if not self.trained:
            return f"untrained: random, seed {RANDOM_SEED}"
        digest = hashlib.sha256(self.weights_file.read_bytes()).hexdigest()
        return f"{self.weights_file.name}, sha256 {digest[:16]}"

    @cached_property
    def module(self) -> nn.Module:
        """The module on the CPU, in evaluation mode."""
        import torch

        if self.trained:
            return self.create(self.name, pretrained=True).eval()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(RANDOM_SEED)
            return self.create(self.name).eval()

    @property
    def needs_maps(self) -> bool:
        """Whether the module says so: ``needs_sens_maps``, True where it says nothing."""
        return not self.in_torch or bool(getattr(self.module, "needs_sens_maps", True))

    def with_module(self, module: nn.Module) -> Network:
        """Return the same network with other weights."""
        other = Network(self.name, self.create, self.file, self.model)
        other.module = module
        return other

    def parameters(self) -> int:
        """Count the learned numbers."""
        from csmri_ext.metrics import count_parameters

        return count_parameters(self.module)

    def _flops(self, shape: tuple[int, int]) -> int | None:
        """Count the operations on one slice of ``(ny, nx)``, as the NasN paper does."""
        from csmri_ext.metrics import count_flops

        return count_flops(self.module, shape)

    def load(self, problem: Problem) -> None:
        """Make everything ready that is not part of the time of a reconstruction: weights, device, its libraries."""
        self.module.to(problem.device)
        if problem.device == "cuda":  # the first slice loads kernels and tunes convolutions
            self._slice(problem, 0)

    def reconstruct(self, problem: Problem) -> NDArray[np.complex64]:
        """Reconstruct complex64 ``(slices, ny, nx)``, one slice at a time: no volume is too large.

        Raises
        ------
        InputError
            If the GPU has too little memory for one slice.
        """
        import torch

        self.module.to(problem.device)
        try:
            return np.stack([self._slice(problem, i).cpu().numpy()[0] for i in range(len(problem.kspace))])
        except torch.OutOfMemoryError as error:
            shape = " x ".join(map(str, problem.kspace.shape[1:]))
            raise InputError(
                f"{self.name}: the GPU has too little memory for one slice of {shape}; use --device cpu"
            ) from error

    def _slice(self, problem: Problem, i: int) -> Tensor:
        import torch

        def on_device(array: NDArray[Any]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(problem.device)

        kspace, mask = on_device(problem.kspace[i]), on_device(problem.mask)  # one coil: it stands for the batch
        with torch.inference_mode():
            if problem.sens_maps is not None:
                image: Tensor = self.module(kspace[None], mask, on_device(problem.sens_maps[i])[None])
            elif len(kspace) > 1:
                image = self.module(kspace[None], mask)
            else:
                image = self.module(kspace, mask)
        return image
