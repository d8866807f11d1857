"""`adapt`: a network fits itself to one scan, judged by samples that it never sees."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from csmri_ext.errors import InputError
from csmri_ext.models.own_terms import with_own_terms
from csmri_ext.physics.echo import find_echo
from csmri_ext.physics.held_back import hold_back, kspace_error

LOSS_SHARE = 0.3  # of the samples of a step
HELD_BACK_SHARE = 0.15


@dataclass(frozen=True)
class Adaptation:
    """What an adaptation did.

    Attributes
    ----------
    start, end
        Relative error on the samples held back, before and with the weights that are kept.
    kept
        Steps that these weights have seen; 0: nothing was better than the start.
    steps
        Steps taken.
    seconds
        Time spent.
    why
        What ended it.
    """

    start: float
    end: float
    kept: int
    steps: int
    seconds: float
    why: str

    def __str__(self) -> str:
        kept = f"weights of step {self.kept}" if self.kept else "the weights stay as they were"
        return (
            f"held-back residual {self.start:.4f} -> {self.end:.4f}, {kept} of {self.steps}, {self.why}, "
            f"{self.seconds:.0f} s"
        )


def adapt(
    network: nn.Module,
    kspace: Tensor,
    mask: Tensor,
    sens_maps: Tensor | None = None,
    *,
    steps: int = 60,
    learning_rate: float = 5e-4,
    patience: int = 4,
    check_every: int = 5,
    seconds: float | None = None,
    seed: int = 0,
    progress: Callable[[], object] = lambda: None,
) -> tuple[nn.Module, Adaptation]:
    """Train a copy of a network on the samples of one scan, without a reference.

    15 % of the samples are held back throughout, none of those around the echo of any slice. Each step draws 30 % of
    the others of one slice, reconstructs from the rest, and lowers the mean of the relative l2 and l1 errors with which
    the image predicts the drawn ones, and the network's own ``extra_loss()`` if it has one (Adam; Yaman et al.,
    "Self-supervised learning of physics-guided reconstruction neural networks without fully sampled reference data",
    2020). The weights that predict the held-back samples best are kept, those of the start among them: by this measure
    the result is never worse.

    Parameters
    ----------
    network
        ``network(kspace, mask, sens_maps) -> image``; unchanged.
    kspace
        complex, ``(slices, ny, nx)`` or ``(slices, coils, ny, nx)``.
    mask
        bool ``(nx,)`` or ``(ny, nx)``.
    sens_maps
        complex, shape of `kspace`; None for one coil.
    steps
        At most this many.
    learning_rate
        Of Adam.
    patience, check_every
        Stop when so many checks, one after every `check_every` steps, have found nothing better.
    seconds
        Time limit; a step that has begun is finished. None: none. Without it the result depends on the seed alone.
    seed
        Of the splits.
    progress
        Called after every step.

    Returns
    -------
        The network, in evaluation mode, and what was done.

    Raises
    ------
    InputError
        A network without parameters that can be trained.
    """
    started = time.monotonic()
    network = copy.deepcopy(network)
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not trainable:
        raise InputError("a network without parameters cannot adapt")
    generator = torch.Generator().manual_seed(seed)
    whole = mask.cpu().broadcast_to(kspace.shape[-2:])
    echoes = {find_echo(torch.where(mask, one, 0)) for one in kspace}
    known, held = hold_back(whole, HELD_BACK_SHARE, generator, echoes)

    def batch(i: int) -> tuple[Tensor, Tensor | None]:
        return kspace[i : i + 1], None if sens_maps is None else sens_maps[i : i + 1]

    def predicted(i: int, seen: Tensor, judged: Tensor) -> tuple[Tensor, Tensor]:
        measured, maps = batch(i)
        seen, judged = (part.to(measured.device) for part in (seen, judged))
        return kspace_error(network(measured * seen, seen, maps), measured, judged, maps)

    def residual() -> float:
        network.eval()
        with torch.no_grad():
            return sum(float(predicted(i, known, held)[0]) for i in range(len(kspace))) / len(kspace)

    start = best = residual()
    state, kept, done, why = copy.deepcopy(network.state_dict()), 0, 0, "all steps taken"
    optimizer = torch.optim.Adam(trainable, learning_rate)
    while done < steps:
        network.train()
        seen, judged = hold_back(known, LOSS_SHARE, generator, echoes)
        l2, l1 = predicted(done % len(kspace), seen, judged)
        loss = with_own_terms((l2 + l1) / 2, network)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        done += 1
        progress()
        late = seconds is not None and time.monotonic() - started >= seconds
        if done % check_every == 0 or done == steps or late:
            error = residual()
            if error < best:
                best, kept, state = error, done, copy.deepcopy(network.state_dict())
        if late:
            why = "time is up"
            break
        if done - kept >= patience * check_every:
            why = f"nothing better for {patience * check_every} steps"
            break
    network.load_state_dict(state)
    return network.eval(), Adaptation(start, best, kept, done, time.monotonic() - started, why)
