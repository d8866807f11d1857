"""The published networks that both papers compare with, by name: ``create(name)``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from baselines.networks.catalog import ENTRIES, create, names

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ENTRIES", "create", "names", "register"]


def register() -> None:
    """Make every published network a method: the entry point ``csmri_ext.methods`` of this package."""
    from csmri_ext.recon.methods import register_network

    for name, entry in ENTRIES.items():
        register_network(name, create, entry.description, read=READERS.get(name))


def _ista_net_plus(path: str | os.PathLike[str]) -> nn.Module:
    from baselines.networks.checkpoints import load_ista_net_plus

    return load_ista_net_plus(path)


def _unet_fastmri(path: str | os.PathLike[str]) -> nn.Module:
    from baselines.networks.checkpoints import load_unet_fastmri

    return load_unet_fastmri(path)


def _e2e_varnet(path: str | os.PathLike[str]) -> nn.Module:
    from baselines.networks.checkpoints import load_e2e_varnet

    return load_e2e_varnet(path)


READERS = {"e2e_varnet": _e2e_varnet, "ista_net_plus": _ista_net_plus, "unet_fastmri": _unet_fastmri}
"""Networks whose authors published weights, and what reads them; torch loads when it is needed."""
