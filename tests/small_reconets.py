"""Networks that BART trains in a second, for tests of what reads and runs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from made_slices import make_slice

from csmri_ext.bridge import bart, to_bart


def train(
    weights: Path, network: str, *, epochs: int = 2, shape: tuple[int, int] = (16, 12), rate: float = 1e-3
) -> Path:
    """Train the smallest network of `bart reconet` on two slices, and return the name of its weights."""
    made = [make_slice(shape, mask="columns", acceleration=2, seed=seed) for seed in range(2)]

    def examples(arrays: list[np.ndarray]) -> np.ndarray:
        return np.swapaxes(to_bart(np.stack(arrays).astype(np.complex64)), 13, 15)

    pattern = np.broadcast_to(made[0].mask, shape)
    kspace, maps = examples([one.kspace * made[0].mask for one in made]), examples([np.ones((1, *shape))] * 2)
    options = [
        "--network",
        network,
        "--test",
        "-I",
        2,
        "-T",
        f"e={epochs},r={rate}",
        "-n",
        "--pattern",
        to_bart(pattern),
    ]
    bart(["reconet", "-t", *options, kspace, maps, weights, examples([one.image[None] for one in made])], n_outputs=0)
    return weights
