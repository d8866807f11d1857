"""The published networks that both papers compare with, by name: ``create(name)``."""

from __future__ import annotations

from baselines.networks.catalog import ENTRIES, create, names

__all__ = ["ENTRIES", "create", "names"]
