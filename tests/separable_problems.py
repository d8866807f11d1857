"""Shapes of the weights of NasN operations, and what everything made of them must do in torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from tolerance import relative_error
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import csmri_ext


def shapes_of(operation: str, channels: int, outputs: int) -> list[tuple[int, ...]]:
    special = {"conv_1x1": [(outputs, channels)], "conv_9x1_1x9": [(channels, 9)] * 2, "skip": [], "none": []}
    return special.get(operation, [(channels, 3, 3), (outputs, channels)])


def assert_at_home_in_torch(
    op: Callable[..., Tensor], twin: Callable[..., Tensor], arguments: Sequence[Any], flops: int, tolerance: float
) -> None:
    """Whole when compiled, its twin under `reference_ops`, and its operations counted."""
    expected = twin(*arguments)
    compiled = torch.compile(op, fullgraph=True, backend="aot_eager")
    assert relative_error(compiled(*arguments), expected.double()) < tolerance
    with csmri_ext.reference_ops():
        assert torch.equal(op(*arguments), expected)
    with FlopCounterMode(display=False) as counter:
        op(*arguments)
    assert counter.get_total_flops() == flops
