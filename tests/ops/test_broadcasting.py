"""Whether shapes broadcast: as torch does it, and alike in the ops and in what is built of them."""

from __future__ import annotations

from itertools import chain, product

import pytest
import torch

from csmri_ext.ops import data_consistency
from csmri_ext.ops.broadcasting import broadcast_together, broadcasts
from csmri_ext.physics import estimate_sens_maps
from csmri_ext.physics.fitting import require_broadcast

SHAPES = list(chain.from_iterable(product((0, 1, 2), repeat=n) for n in range(4)))


def of_torch(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError:
        return None


def test_as_torch_broadcasts() -> None:
    for a, b in product(SHAPES, SHAPES):
        assert broadcasts(a, b) == (of_torch(a, b) == b), (a, b)
        assert broadcast_together(a, b) == (of_torch(a, b) is not None), (a, b)


@pytest.mark.parametrize(
    "size", [(8,), (6, 8), (6, 1), (1, 1, 8), (2, 1, 1, 8), (7,), (8, 6), (3, 1, 1, 8), (1, 2, 1, 6, 8)]
)
def test_one_answer_everywhere(size: tuple[int, ...]) -> None:
    kspace, mask = torch.randn(2, 4, 6, 8, dtype=torch.complex64), torch.ones(size, dtype=torch.bool)
    calls = (
        lambda: require_broadcast(mask, "kspace", kspace),
        lambda: estimate_sens_maps(kspace, mask),
        lambda: data_consistency(kspace, kspace, mask, 1.0),
    )
    for call in calls:
        if of_torch(size, (2, 4, 6, 8)) == (2, 4, 6, 8):
            call()
        else:
            with pytest.raises(ValueError, match="does not broadcast to kspace"):
                call()
