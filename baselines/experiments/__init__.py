"""The tables of both papers as data."""

from __future__ import annotations

from baselines.experiments.tables import EXPERIMENTS

__all__ = ["EXPERIMENTS"]
