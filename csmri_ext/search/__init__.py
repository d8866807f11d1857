"""Differentiable search for the cell of NasN: super-network, alternation, derivation, and what they leave on disk."""

from __future__ import annotations

from csmri_ext.search.derive import derive
from csmri_ext.search.drawing import draw_cell, save_figure
from csmri_ext.search.folder import SearchFolder
from csmri_ext.search.run import run
from csmri_ext.search.search import Epoch, Search, SearchSettings
from csmri_ext.search.supernet import SPACES, Supernet

__all__ = [
    "SPACES",
    "Epoch",
    "Search",
    "SearchFolder",
    "SearchSettings",
    "Supernet",
    "derive",
    "draw_cell",
    "run",
    "save_figure",
]
