"""Shapes of the weights of NasN operations, for tests of everything made of them."""

from __future__ import annotations


def shapes_of(operation: str, channels: int, outputs: int) -> list[tuple[int, ...]]:
    special = {"conv_1x1": [(outputs, channels)], "conv_9x1_1x9": [(channels, 9)] * 2, "skip": [], "none": []}
    return special.get(operation, [(channels, 3, 3), (outputs, channels)])
