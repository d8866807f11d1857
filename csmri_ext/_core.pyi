"""The compiled module, built from csrc/. Called from csmri_ext.ops only."""

from typing import Any

def __getattr__(name: str) -> Any: ...
