"""The published networks that both papers compare with, by name: ``create(name)``."""

from __future__ import annotations

from baselines.networks.catalog import ENTRIES, create, names

__all__ = ["ENTRIES", "create", "names", "register"]


def register() -> None:
    """Make every published network a method: the entry point ``csmri_ext.methods`` of this package."""
    from csmri_ext.recon.methods import register_network

    for name, entry in ENTRIES.items():
        register_network(name, create, entry.description)
