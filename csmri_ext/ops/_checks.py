"""What several ops ask of their tensors, and how a message shows them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def same_device_and_type(op: str, tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless all are on one device, TypeError unless all have one real floating-point type."""
    if len({t.device for t in tensors.values()}) > 1:
        devices = ", ".join(f"{name} is on {t.device}" for name, t in tensors.items())
        raise ValueError(f"{op}: {devices}; expected one device")
    dtypes = {t.dtype for t in tensors.values()}
    if len(dtypes) > 1 or not next(iter(dtypes)).is_floating_point:
        shown = ", ".join(f"{name} is {t.dtype}" for name, t in tensors.items())
        raise TypeError(f"{op}: {shown}; expected one real floating-point type")


def shapes(tensors: Mapping[str, Tensor]) -> str:
    """Describe tensors in a message. For use in errors only: what formats a size fixes it in a compiled function."""
    return ", ".join(f"{name} {tuple(t.shape)}" for name, t in tensors.items())
