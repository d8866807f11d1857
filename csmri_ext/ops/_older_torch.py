"""What the oldest supported versions of torch lack, of what we use."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def _any_requires_grad(*args: Any) -> bool:
    return any(
        _any_requires_grad(*x) if isinstance(x, (list, tuple)) else isinstance(x, Tensor) and x.requires_grad
        for x in args
    )


any_requires_grad = getattr(torch._C, "_any_requires_grad", _any_requires_grad)
"""Whether a tensor among arguments, or in a list among them, requires a gradient."""
