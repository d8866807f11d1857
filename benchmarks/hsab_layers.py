"""What the cases of HSAB's two layers share: the levels of GA-HQS's encoder, and how rivals are timed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.cases_convolution import _error, _inference, _training_step
from benchmarks.timing import Case

LEVELS = {32: 256, 64: 128, 128: 64}  # channels: side of the image

Rivals = dict[str, tuple[Callable[..., Tensor], Tensor]]  # name: a function of image and weights, the image it is given


class HsabLayer(ABC):
    """A layer with random weights, and the image `x` that it is applied to, channels_last."""

    name: str
    x: Tensor
    weights: list[Tensor]
    flops: int
    target: str
    compiled: str  # what torch.compile of the twin is called

    @abstractmethod
    def ours(self, x: Tensor, *weights: Tensor) -> Tensor:
        """Call the op."""

    @abstractmethod
    def twin(self, x: Tensor, *weights: Tensor) -> Tensor:
        """Compute the same by torch, in the form that torch.compile is given."""

    @abstractmethod
    def rivals(self) -> Rivals:
        """Return the other ways to compute the same."""

    def truth(self, x: Tensor, *weights: Tensor) -> Tensor:
        """Compute the same in float64."""
        return self.twin(x, *weights)

    def accuracy(self) -> float:
        """Return the relative error of the op."""
        wide = [t.double() for t in (self.x, *self.weights)]
        return _error(self.ours(self.x, *self.weights), self.truth(*wide))

    def forward(self, compiled: bool) -> Case:
        """Return the case of the forward pass."""
        timed = {
            name: _inference(partial(function, x, *self.weights))
            for name, (function, x) in self._all_rivals(compiled).items()
        }
        return Case(
            name=f"{self.name}, forward",
            ours=_inference(partial(self.ours, self.x, *self.weights)),
            rivals=timed,
            n_bytes=2 * 4 * self.x.numel(),
            flops=self.flops,
            target=self.target,
            check=self.accuracy,
        )

    def training(self, compiled: bool) -> Case:
        """Return the case of the forward and backward pass."""
        gradient = torch.randn_like(self.x)
        timed = {
            name: _training_step(function, torch.empty_like(x).copy_(gradient), x, *self.weights)
            for name, (function, x) in self._all_rivals(compiled).items()
        }
        return Case(
            name=f"{self.name}, forward + backward",
            ours=_training_step(self.ours, gradient, self.x, *self.weights),
            rivals=timed,
            n_bytes=5 * 4 * self.x.numel(),
            flops=3 * self.flops,
            target=self.target,
        )

    def _all_rivals(self, compiled: bool) -> Rivals:
        return self.rivals() | ({self.compiled: (torch.compile(self.twin), self.x)} if compiled else {})


def cases_of(op: str, layer: Callable[[int, int], HsabLayer]) -> dict[str, Callable[[bool], Case]]:
    """Return the cases of an op, of batch 1, by short name; `layer` makes one from its channels and the batch."""

    def case(direction: Callable[[HsabLayer, bool], Case], channels: int, compiled: bool) -> Case:
        return direction(layer(channels, 1), compiled)

    forward = {f"{op} forward {channels}": partial(case, HsabLayer.forward, channels) for channels in LEVELS}
    return forward | {f"{op} training {channels}": partial(case, HsabLayer.training, channels) for channels in LEVELS}
