"""Registration of the ops as soon as torch is there, so that programs that name them load after ``import csmri_ext``.

``torch.export.load`` and ``torch.load`` find ops by name alone. Importing the package must not import torch, for which
a reader of ``.cfl`` files would wait; so where torch comes later, its import ends with ours.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def register_with_torch() -> None:
    """Load `csmri_ext.ops` now if torch is loaded, else right after torch."""
    if "torch" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _AfterTorch())


class _AfterTorch(MetaPathFinder):
    """Finds torch as everybody does, and registers the ops when its module has run."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                _register()

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def _register() -> None:
    with suppress(ImportError):  # without a compiled part torch is still torch; `csmri_ext.ops` says what is missing
        import_module("csmri_ext.ops")
