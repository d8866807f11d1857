"""Compressed-sensing MRI reconstruction: fused kernels for PyTorch, interoperable with BART.

Submodules load on first use: reading a ``.cfl`` file through `csmri_ext.bridge` does not import torch. The ops are
registered when both this package and torch are imported, in any order.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import extend_path
from typing import TYPE_CHECKING, Any

from csmri_ext.registration import register_with_torch

# A checkout on sys.path shadows the installed package, whose compiled `_core` lies in site-packages: look in both.
__path__ = extend_path(__path__, __name__)

if TYPE_CHECKING:
    from csmri_ext import (
        bridge,
        data,
        iterative,
        metrics,
        models,
        nn,
        ops,
        phantom,
        physics,
        recon,
        report,
        search,
        training,
    )
    from csmri_ext.config import show_config
    from csmri_ext.ops import reference_ops

__version__ = "0.1.0"
__all__ = [
    "bridge",
    "data",
    "iterative",
    "metrics",
    "models",
    "nn",
    "ops",
    "phantom",
    "physics",
    "recon",
    "reference_ops",
    "report",
    "search",
    "show_config",
    "training",
]

_FUNCTIONS = {"show_config": "csmri_ext.config", "reference_ops": "csmri_ext.ops"}
_MODULES = set(__all__) - set(_FUNCTIONS)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _FUNCTIONS:
        return getattr(import_module(_FUNCTIONS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


register_with_torch()
