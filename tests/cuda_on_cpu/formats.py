"""Number formats of kernel arguments as numpy arrays; bfloat16, which numpy lacks, as its bits in uint16."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.generic]

TORCH = {"f32": torch.float32, "f64": torch.float64, "bf16": torch.bfloat16, "f16": torch.float16}
MEMORY = {"f32": np.float32, "f64": np.float64, "bf16": np.uint16, "f16": np.float16}
SUMS = {"f32": "f32", "f64": "f64", "bf16": "f32", "f16": "f32"}  # what kernels compute in


def encode(values: torch.Tensor, dtype: str) -> Array:
    """The values as an array in memory, rounded to the nearest; NaN for a bfloat16 bit pattern of ones."""
    rounded = values.detach().to(TORCH[dtype]).contiguous()
    if dtype == "bf16":
        return rounded.view(torch.int16).numpy().view(np.uint16).copy()
    return rounded.numpy().copy()


def decode(memory: Array, dtype: str) -> torch.Tensor:
    """The numbers that an array holds, in float64."""
    if dtype == "bf16":
        return torch.from_numpy(memory.view(np.int16).copy()).view(torch.bfloat16).double()
    return torch.from_numpy(memory.astype(np.float64))


def unwritten(shape: tuple[int, ...], dtype: str) -> Array:
    """An array of NaN."""
    return encode(torch.full(shape, torch.nan, dtype=torch.float64), dtype)


def relative_error(value: torch.Tensor, reference: torch.Tensor) -> float:
    """Euclidean norm of the difference over that of the reference; NaN counts as infinite."""
    assert value.shape == reference.shape
    difference = float((value - reference).norm())
    return difference / max(float(reference.norm()), 1e-300) if difference == difference else float("inf")
