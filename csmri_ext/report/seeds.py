"""Networks that differ in the seed of their training alone: what training once more would change."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from csmri_ext.report.summary import Group

SAME = ("architecture", "overrides", "genotype", "recipe", "data")
"""What files of weights say of themselves, and must say alike."""
_OF_THE_RESULT = {"seed", "val_psnr", "val_residual"}  # what differs in the record of a run for its seed


@dataclass(frozen=True)
class Seeds:
    """Scores of one network at one setting, trained from several seeds.

    Attributes
    ----------
    mask, acceleration
        The setting.
    network
        What was trained.
    methods, seeds
        Names in the table, and the seed of each.
    psnr, ssim
        Mean over the seeds of the mean over volumes, and its standard deviation (n - 1) over the seeds.
    """

    mask: str
    acceleration: float | None
    network: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    psnr: tuple[float, float]
    ssim: tuple[float, float]

    def words(self) -> str:
        """For text: ``nasn, 3 seeds (a, b, c) at random, R = 4: PSNR 31.20 ± 0.08 dB, SSIM 0.8800 ± 0.0010``."""
        where = self.mask if self.acceleration is None else f"{self.mask}, R = {self.acceleration:g}"
        return (
            f"{self.network}, {len(self.seeds)} seeds ({', '.join(self.methods)}) at {where}: "
            f"PSNR {self.psnr[0]:.2f} ± {self.psnr[1]:.2f} dB, "
            f"SSIM {self.ssim[0]:.4f} ± {self.ssim[1]:.4f} over the seeds"
        )


def same_but_for_the_seed(networks: Sequence[Mapping[str, Any]]) -> list[dict[str, int]]:
    """Group the methods whose networks were trained alike from different seeds.

    Parameters
    ----------
    networks
        ``provenance["networks"]``: what each file of weights says of itself.

    Returns
    -------
        Seeds by the name of the method; groups of two seeds or more.
    """
    groups: dict[str, dict[str, int]] = {}
    for network in networks:
        run = network.get("run") or {}
        if not network.get("architecture") or "seed" not in run:
            continue
        rest = {key: value for key, value in run.items() if key not in _OF_THE_RESULT}
        key = json.dumps([*(network.get(name) for name in SAME), rest], sort_keys=True, default=str)
        groups.setdefault(key, {})[network["method"]] = int(run["seed"])
    return [group for group in groups.values() if len(set(group.values())) > 1]


def over_seeds(groups: Sequence[Group], networks: Sequence[Mapping[str, Any]]) -> list[Seeds]:
    """Average what was trained alike over its seeds, setting by setting.

    Parameters
    ----------
    groups
        From `summary.summarise`.
    networks
        As in `same_but_for_the_seed`.
    """
    architectures = {network["method"]: str(network.get("architecture")) for network in networks}
    found = []
    for group in groups:
        lines = {line.method: line for line in group.lines if line.ranked and {"psnr", "ssim"} <= set(line.means)}
        for alike in same_but_for_the_seed(networks):
            own = {method: seed for method, seed in alike.items() if method in lines}
            scores = {m: [lines[name].means[m].mean for name in own] for m in ("psnr", "ssim")}
            if len(set(own.values())) < 2 or not all(map(math.isfinite, scores["psnr"] + scores["ssim"])):
                continue
            psnr, ssim = ((float(np.mean(v)), float(np.std(v, ddof=1))) for v in scores.values())
            where = (group.setting.mask, group.setting.acceleration)
            found.append(Seeds(*where, architectures[next(iter(own))], tuple(own), tuple(own.values()), psnr, ssim))
    return found
