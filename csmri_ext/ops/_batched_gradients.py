"""Ops of lists of tensors under ``torch.autograd.grad(is_grads_batched=True)``, and so in vectorized Jacobians.

Torch's autograd maps over gradients by its older vmap, which calls an op once for each of them; but not one that takes
or returns lists. Those are called so here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from csmri_ext.ops._batching import one_by_one


def register_batched_gradients(library: torch.library.Library, op: Any) -> None:
    """Give `op` a kernel for the older vmap, where it needs one."""
    if "Tensor[]" not in str(op._schema):
        return

    def kernel(*args: Any) -> Any:
        for level in range(_levels(), 0, -1):
            mapped = tree_map(partial(_elements, level), list(args))
            sizes = {x.shape[0] for x in tree_leaves(mapped) if x is not None}
            if sizes:
                axes = tree_map(lambda x: None if x is None else 0, mapped)
                own = tree_map(lambda elements, x: x if elements is None else elements, mapped, list(args))
                result, _ = one_by_one(op, max(sizes), axes, own)
                return tree_map(partial(torch._add_batch_dim, batch_dim=0, level=level), result)
        raise NotImplementedError(f"{op.name()}: a batch of no gradients; the shapes of its results are unknown")

    library.impl(op._opname, kernel, "Batched")


def _levels() -> int:
    """How many of the older vmaps have been entered."""
    levels: int = torch._C._vmapmode_increment_nesting() - 1
    torch._C._vmapmode_decrement_nesting()
    return levels


def _elements(level: int, x: Any) -> Tensor | None:
    """Return the tensor, mapped axis first, whose elements a level maps over; None for what is none."""
    if not isinstance(x, Tensor):
        return None
    elements: Tensor = torch._remove_batch_dim(x, level, 0, 0)  # an axis of size 0 where the level maps over none
    return elements if elements.shape[0] else None
