"""Arguments that are no tensors, numpy arrays above all: one line that names the op, the argument and what it is."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def require_tensors(op: str, optional: tuple[str, ...] = (), /, **arguments: Any) -> None:
    """Raise TypeError unless all are tensors, or lists of tensors at any depth; those that are `optional` may be None.

    Parameters
    ----------
    op
        Name of the op, for the message.
    optional
        Names of arguments that may be None.
    arguments
        The arguments by name.
    """
    for name, value in arguments.items():
        if value is not None or name not in optional:
            _require(op, name, value)


def _require(op: str, name: str, value: Any) -> None:
    if isinstance(value, Tensor):
        return
    if isinstance(value, (list, tuple)):
        for i, element in enumerate(value):
            if not isinstance(element, Tensor):
                _require(op, f"{name}[{i}]", element)
        return
    kind = type(value)
    what = "None" if value is None else f"a {kind.__module__}.{kind.__qualname__}".replace(" builtins.", " ")
    remedy = "; torch.from_numpy makes one" if kind.__module__ == "numpy" and kind.__name__ == "ndarray" else ""
    raise TypeError(f"{op}: {name} is {what}, expected a torch.Tensor{remedy}")
