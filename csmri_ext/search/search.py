"""`Search`: weights and alphas learn in turn, each from its own half of the data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from csmri_ext.errors import InputError
from csmri_ext.models.genotypes import Genotype, check_genotype
from csmri_ext.search.derive import COMPARISONS, derive
from csmri_ext.search.second_order import unrolled_gradient
from csmri_ext.search.supernet import Supernet

OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class SearchSettings:
    """Everything that decides a search, but for the data. Defaults: rates with which these networks learn.

    `PAPER` has the recipe of the NasN paper and its code. Networks without normalisation, as these, pass back gradients
    of a norm of about 0.003 at first: SGD at 0.025 then takes tens of thousands of steps to leave the start, and the
    cell is ``skip`` throughout. Adam does not depend on their size.

    Attributes
    ----------
    space, nodes, cells, cascades, channels
        The super-network, see `Supernet`.
    epochs, patience
        Most epochs; and the number of epochs that must not change the derived cell to end the search.
    warm_up
        First epochs in which the alphas stay as they are, against cells of nothing but ``skip``, which needs no
        training and so is ahead at first. None: a fifth of `epochs`, at most 5.
    optimizer
        Of the weights: ``sgd`` with `momentum` and `weight_decay`; or ``adam``, which takes neither.
    learning_rate, final_learning_rate, momentum, weight_decay, clip
        Of the weights: rate from the first to the last of `epochs`, along a cosine; largest norm of the gradient.
    alpha_learning_rate, alpha_weight_decay
        Adam of the alphas, betas 0.5 and 0.999.
    second_order
        Take the gradient of the alphas through a step of the weights (`unrolled_gradient`), at four times the cost.
    compare
        How edges compete, see `derive`.
    seed
        Of the first weights and alphas.
    """

    space: str = "extended"
    nodes: int = 3
    cells: int = 3
    cascades: int = 1
    channels: int = 32
    epochs: int = 50
    patience: int = 5
    warm_up: int | None = None
    optimizer: str = "adam"
    learning_rate: float = 2e-3
    final_learning_rate: float = 2e-4
    momentum: float = 0.9
    weight_decay: float = 3e-4
    clip: float = 5.0
    alpha_learning_rate: float = 3e-3
    alpha_weight_decay: float = 0.0
    second_order: bool = False
    compare: str = "softmax"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed {self.seed}: expected 0 to {2**32 - 1}")
        kept = (self.momentum, self.weight_decay, self.alpha_weight_decay)
        if not all(0 <= value < math.inf for value in kept) or self.momentum >= 1 or not self.clip > 0:
            raise InputError(
                f"momentum {self.momentum:g}, weight decays {self.weight_decay:g} and {self.alpha_weight_decay:g}, "
                f"clip {self.clip:g}: expected 0 to below 1, 0 or more, and above 0"
            )
        sizes = {name: getattr(self, name) for name in ("nodes", "cells", "cascades", "channels")}
        for name, size in sizes.items():
            if size < 1:
                raise InputError(f"{name} {size}: expected at least 1")
        if self.epochs < 1 or self.patience < 1:
            raise InputError(f"{self.epochs} epochs, patience {self.patience}: expected at least 1 of each")
        if not 0 <= self.first_epoch < self.epochs:
            raise InputError(f"warm-up of {self.warm_up} epochs: expected 0 to {self.epochs - 1}, less than all epochs")
        rates = (self.learning_rate, self.final_learning_rate, self.alpha_learning_rate)
        if not all(math.isfinite(rate) and rate > 0 for rate in rates):
            raise InputError(f"learning rates {', '.join(f'{rate:g}' for rate in rates)}: expected positive numbers")
        if self.optimizer not in OPTIMIZERS:
            raise InputError(f"optimizer is {self.optimizer!r}, expected {' or '.join(OPTIMIZERS)}")
        if self.compare not in COMPARISONS:
            raise InputError(f"compare is {self.compare!r}, expected {' or '.join(COMPARISONS)}")

    @property
    def first_epoch(self) -> int:
        """First epoch, from 0, in which the alphas learn."""
        return min(self.epochs // 5, 5) if self.warm_up is None else self.warm_up


PAPER: dict[str, Any] = {
    "space": "A",
    "warm_up": 0,
    "optimizer": "sgd",
    "learning_rate": 0.025,
    "final_learning_rate": 0.001,
    "alpha_learning_rate": 3e-4,
    "alpha_weight_decay": 1e-3,
}
"""What the recipe of the NasN paper has instead."""


class Slice(Protocol):
    """What the search learns from, for instance `csmri_ext.data.Sample`, without a batch axis."""

    @property
    def kspace(self) -> Tensor:
        """complex64 (ny, nx), or (coils, ny, nx)."""

    @property
    def mask(self) -> Tensor:
        """bool, broadcastable to (ny, nx)."""

    @property
    def target(self) -> Tensor:
        """complex64 (ny, nx)."""

    @property
    def sens_maps(self) -> Tensor | None:
        """complex64 (coils, ny, nx); None for one coil."""


class Epoch(NamedTuple):
    """What is known after an epoch.

    Attributes
    ----------
    weight_loss, alpha_loss
        Mean losses on the half that the weights, and on the one that the alphas learn from.
    learning_rate
        Of the weights.
    genotype
        The derived cell.
    alphas
        ``(edges, operations)``, on the CPU.
    """

    weight_loss: float
    alpha_loss: float
    learning_rate: float
    genotype: Genotype
    alphas: Tensor


class Search:
    """First-order differentiable architecture search (NasN, search algorithm; DARTS, algorithm 1).

    Every step updates 1. the weights on a slice of one half of the data, 2. the alphas on a slice of the other.

    Parameters
    ----------
    settings
        The recipe.
    device
        Where the super-network lives.

    Attributes
    ----------
    supernet
        The network.
    history
        One `Epoch` for each that is over.
    done
        Steps of the running epoch that are done.

    Raises
    ------
    InputError
        A super-network that cannot be built, see `Supernet`.
    """

    def __init__(self, settings: SearchSettings, device: str | torch.device = "cpu") -> None:
        self.settings, self.device = settings, torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.supernet = Supernet(
                settings.space,
                nodes=settings.nodes,
                cells=settings.cells,
                cascades=settings.cascades,
                channels=settings.channels,
            ).to(self.device)
        self._weights = self.supernet.weights()
        self._of_weights = _optimizer(self._weights, settings)
        self._of_alphas = torch.optim.Adam(
            [self.supernet.alphas],
            settings.alpha_learning_rate,
            betas=(0.5, 0.999),
            weight_decay=settings.alpha_weight_decay,
        )
        self.history: list[Epoch] = []
        self.done = 0
        self._losses = [0.0, 0.0]  # sums over the running epoch

    @property
    def learning_rate(self) -> float:
        """Learning rate of the weights in this epoch, on a cosine from the first to the last."""
        s = self.settings
        swept = len(self.history) / s.epochs
        return s.final_learning_rate + (s.learning_rate - s.final_learning_rate) * (1 + math.cos(math.pi * swept)) / 2

    @property
    def genotype(self) -> Genotype:
        """The cell that the alphas stand for now."""
        return derive(self.supernet.alphas, self.supernet.operations, compare=self.settings.compare)

    @property
    def unchanged(self) -> int:
        """Number of epochs after the warm-up, up to the last, that have not changed the derived cell."""
        genotypes = [epoch.genotype for epoch in self.history[self.settings.first_epoch :]]
        count = 0
        while count + 1 < len(genotypes) and genotypes[-2 - count] == genotypes[-1]:
            count += 1
        return count

    @property
    def finished(self) -> bool:
        """Whether the cell has been stable for `patience` epochs, or all epochs are over."""
        return len(self.history) >= self.settings.epochs or self.unchanged >= self.settings.patience

    def step(self, for_weights: Slice, for_alphas: Slice) -> tuple[float, float]:
        """Update the weights, then the alphas.

        Returns
        -------
            Both losses before their update.

        Raises
        ------
        InputError
            A loss that is not finite: the learning rate is too high, or the data are broken.
        """
        first, second = self._loss_on(for_weights), self._loss_on(for_alphas)
        loss = first()
        for weight, gradient in zip(self._weights, torch.autograd.grad(loss, self._weights), strict=True):
            weight.grad = gradient
        torch.nn.utils.clip_grad_norm_(self._weights, self.settings.clip)
        for group in self._of_weights.param_groups:
            group["lr"] = self.learning_rate
        self._of_weights.step()

        alpha_loss = self._step_of_alphas(first, second)
        losses = float(loss.detach()), float(alpha_loss.detach())
        if not all(map(math.isfinite, losses)):
            raise InputError(
                f"the losses are {losses[0]:g} and {losses[1]:g} in epoch {len(self.history) + 1}: the learning rate "
                f"{self.settings.learning_rate:g} is too high, or images are not finite"
            )
        self._losses = [total + own for total, own in zip(self._losses, losses, strict=True)]
        self.done += 1
        return losses

    def _step_of_alphas(self, first: Callable[[], Tensor], second: Callable[[], Tensor]) -> Tensor:
        alphas = self.supernet.alphas
        if len(self.history) < self.settings.first_epoch:
            with torch.no_grad():
                return second()
        if self.settings.second_order:
            alphas.grad, loss = unrolled_gradient(first, second, self._weights, alphas, self.learning_rate)
        else:
            loss = second()
            (alphas.grad,) = torch.autograd.grad(loss, [alphas])
        self._of_alphas.step()
        return loss

    def end_epoch(self) -> Epoch:
        """Close the running epoch, which has at least one step."""
        means = [total / self.done for total in self._losses]
        alphas = self.supernet.alphas.detach().cpu().clone()
        epoch = Epoch(means[0], means[1], self.learning_rate, self.genotype, alphas)
        self.history.append(epoch)
        self.done, self._losses = 0, [0.0, 0.0]
        return epoch

    def state_dict(self) -> dict[str, Any]:
        """Everything that a search continues from: numbers, strings and tensors in plain containers."""
        return {
            "settings": asdict(self.settings),
            "supernet": self.supernet.state_dict(),
            "of_weights": self._of_weights.state_dict(),
            "of_alphas": self._of_alphas.state_dict(),
            "history": [tuple(epoch) for epoch in self.history],
            "done": self.done,
            "losses": list(self._losses),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned.

        Raises
        ------
        InputError
            The state of a search with other settings; the first that differs is named.
        """
        own = asdict(self.settings)
        for name, value in own.items():
            if state["settings"].get(name) != value:
                raise InputError(f"a search with {name} {state['settings'].get(name)}, not {value}")
        self.supernet.load_state_dict(state["supernet"])
        self._of_weights.load_state_dict(state["of_weights"])
        self._of_alphas.load_state_dict(state["of_alphas"])
        self.history = [Epoch(*e)._replace(genotype=check_genotype(e[3])) for e in state["history"]]
        self.done, self._losses = state["done"], list(state["losses"])

    def _loss_on(self, sample: Slice) -> Callable[[], Tensor]:
        kspace, mask, target = (tensor.to(self.device)[None] for tensor in (sample.kspace, sample.mask, sample.target))
        if sample.sens_maps is None:
            return lambda: self.supernet.loss(kspace, mask, target)
        maps = sample.sens_maps.to(self.device)[None]
        return lambda: self.supernet.loss(kspace, mask[:, None], target, maps)


def _optimizer(weights: list[torch.nn.Parameter], settings: SearchSettings) -> torch.optim.Optimizer:
    rate = settings.learning_rate
    if settings.optimizer == "adam":
        return torch.optim.Adam(weights, rate)
    return torch.optim.SGD(weights, rate, momentum=settings.momentum, weight_decay=settings.weight_decay)
