"""Registered ops under `torch.vmap`: the axis joins the batch where an op has one, else there is a call per element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batching:
    """How a mapped axis joins the batch of an op: in front of it, ``(mapped, batch, ...)`` as one axis.

    Attributes
    ----------
    batched
        Arguments, tensors or lists of tensors, with a leading batch. So have all outputs.
    shared
        Arguments whose elements along the first axis each serve a run of consecutive images; one serves all.
    one_or_all
        Arguments with a leading axis of 1 or the whole batch.
    without
        Flags that must be False: with them the op adds over its batch.
    """

    batched: Sequence[str] = ()
    shared: Sequence[str] = ()
    one_or_all: Sequence[str] = ()
    without: Sequence[str] = ()


def register_batching(library: torch.library.Library, op: Any, batching: Batching) -> None:
    """Make `batching` the rule of `op` for `torch.vmap`."""
    names = [argument.name for argument in op._schema.arguments]

    def rule(info: Any, in_dims: Sequence[Any], *args: Any) -> tuple[Any, Any]:
        mapped = {name for name, dims in zip(names, in_dims, strict=True) if _is_mapped(dims)}
        joins = mapped <= {*batching.batched, *batching.shared, *batching.one_or_all}
        flags = dict(zip(names, args, strict=True))
        if not joins or not batching.batched or any(flags[name] for name in batching.without):
            return one_by_one(op, info.batch_size, in_dims, args)
        return _joined(op, batching, info.batch_size, dict(zip(names, zip(args, in_dims, strict=True), strict=True)))

    torch.library.register_vmap(op.name(), rule, lib=library)


def _is_mapped(dims: Any) -> bool:
    return any(d is not None for d in dims) if isinstance(dims, (list, tuple)) else dims is not None


def _each(function: Callable[..., Any], value: Any, dims: Any) -> Any:
    """Apply ``function(tensor, mapped axis or None)`` to a tensor, or to each of a list."""
    if isinstance(value, Tensor):
        return function(value, dims)
    if isinstance(value, (list, tuple)) and any(isinstance(x, Tensor) for x in value):
        return [function(x, d) for x, d in zip(value, dims, strict=True)]
    return value


def _leading(x: Tensor, dim: int | None, n: int) -> Tensor:
    return x.expand(n, *x.shape) if dim is None else x.movedim(dim, 0)


def _joined(op: Any, batching: Batching, n: int, arguments: dict[str, tuple[Any, Any]]) -> tuple[Any, Any]:
    alone = False  # one image without a batch axis, which some ops take

    def join(name: str, x: Tensor, dim: int | None) -> Tensor:
        nonlocal alone
        if name in batching.batched:
            x = _leading(x, dim, n)
            if x.ndim == 3 and x.is_complex() and name == "image":
                alone = True
                return x
            return x.flatten(0, 1)
        if dim is None and x.shape[0] == 1:
            return x
        x = _leading(x, dim, n)
        if name in batching.one_or_all:
            x = x.expand(n, _batch_of(batching, arguments), *x.shape[2:])
        return x.flatten(0, 1)

    joining = {*batching.batched, *batching.shared, *batching.one_or_all}
    args = [
        _each(lambda x, dim, name=name: join(name, x, dim), value, dims) if name in joining else value
        for name, (value, dims) in arguments.items()
    ]
    result = op(*args)

    def apart(out: Tensor) -> Tensor:
        return out if alone and out.is_complex() else out.unflatten(0, (n, -1) if out.shape[0] else (n, 0))

    return _over_results(apart, result)


def _batch_of(batching: Batching, arguments: dict[str, tuple[Any, Any]]) -> int:
    x, dim = arguments[batching.batched[0]]
    return int(x.shape[0] if dim is None else x.movedim(dim, 0).shape[1])


def _over_results(function: Callable[..., Any], *results: Any) -> tuple[Any, Any]:
    """Apply `function` to the same output of all results; with it the mapped axis of each, 0."""
    if isinstance(results[0], Tensor):
        return function(*results), 0
    pairs = [_over_results(function, *outputs) for outputs in zip(*results, strict=True)]
    kind = type(results[0])
    return kind(value for value, _ in pairs), kind(dims for _, dims in pairs)


def one_by_one(op: Any, n: int, in_dims: Sequence[Any], args: Sequence[Any]) -> tuple[Any, Any]:
    if n == 0:
        raise NotImplementedError(f"torch.vmap over 0 elements of {op.name()}: the shapes of its results are unknown")

    def element(i: int) -> list[Any]:
        def select(x: Tensor, dim: int | None) -> Tensor:
            return x if dim is None else x.select(dim, i)

        return [_each(select, value, dims) for value, dims in zip(args, in_dims, strict=True)]

    return _over_results(lambda *outs: torch.stack(outs), *(op(*element(i)) for i in range(n)))
