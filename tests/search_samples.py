"""Halves of data for searches of a second: noise images under column masks, by number and epoch."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from csmri_ext.physics import fft2c


class MadeSample(NamedTuple):
    kspace: Tensor
    mask: Tensor
    target: Tensor
    sens_maps: Tensor | None = None


class MadeSamples:
    def __init__(self, seed: int, length: int = 3, size: int = 12) -> None:
        self.seed, self.length, self.size, self.epoch = seed, length, size, 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> MadeSample:
        generator = torch.Generator().manual_seed(10_000 * self.seed + 100 * self.epoch + i)
        target = torch.randn(self.size, self.size, generator=generator, dtype=torch.complex64)
        mask = (torch.rand(self.size, generator=generator) < 0.5).expand(self.size, self.size)
        return MadeSample(fft2c(target) * mask, mask, target)


def draw_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave empty pictures: drawing takes nine tenths of a small search, and is the same for all of them."""

    def touch(_: object, stem: Path) -> None:
        for ending in (".png", ".svg"):
            Path(f"{stem}{ending}").touch()

    monkeypatch.setattr("csmri_ext.search.folder.save_figure", touch)
