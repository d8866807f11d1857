"""`run`: a search from wherever it stands to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from csmri_ext.errors import InputError
from csmri_ext.models.genotypes import Genotype
from csmri_ext.search.folder import SearchFolder
from csmri_ext.search.search import Search, Slice

CHECKPOINT_STEPS = 200

Report = Callable[[Search, "tuple[float, float] | None"], None]


class Samples(Protocol):
    """One half of the data, for instance `csmri_ext.data.UndersampledImages`.

    Attributes
    ----------
    epoch
        Set before every epoch; a sample depends on it and on its number alone.
    """

    epoch: int

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> Slice: ...


def run(
    search: Search,
    for_weights: Samples,
    for_alphas: Samples,
    folder: SearchFolder,
    *,
    checkpoint_steps: int = CHECKPOINT_STEPS,
    report: Report | None = None,
) -> Genotype:
    """Search until the cell is stable or the epochs are over, and write every epoch to the folder.

    Continues from the folder's checkpoint where there is one. Samples depend on epoch and number alone, so that the
    result does not depend on interruptions.

    Parameters
    ----------
    search
        The search; continued in place.
    for_weights, for_alphas
        The two halves of the data; an epoch has as many steps as both have samples.
    folder
        Where everything goes.
    checkpoint_steps
        Steps between two checkpoints within an epoch.
    report
        Called after every step with both losses, and after every epoch with None.

    Returns
    -------
        The derived cell.

    Raises
    ------
    InputError
        Halves of different length; or as in `SearchFolder.resume` and `Search.step`.
    """
    steps = len(for_weights)
    if len(for_alphas) != steps:
        raise InputError(f"halves of {steps} and {len(for_alphas)} samples: expected equally many")
    folder.resume(search)
    while not search.finished:
        for_weights.epoch = for_alphas.epoch = len(search.history)
        while search.done < steps:
            losses = search.step(for_weights[search.done], for_alphas[search.done])
            if search.done % checkpoint_steps == 0 and search.done < steps:
                folder.save(search)
            if report is not None:
                report(search, losses)
        search.end_epoch()
        folder.write_epoch(search)
        if report is not None:
            report(search, None)
    return search.history[-1].genotype
