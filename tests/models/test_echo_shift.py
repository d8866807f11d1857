"""An echo beside the centre of k-space, and smooth phase, with the weights of the package."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from csmri_ext.metrics import psnr
from csmri_ext.models import create
from csmri_ext.phantom import coil_maps, phantom
from csmri_ext.physics import fft2c, make_mask

SIZE = 128


@pytest.mark.parametrize("coils", [1, 4])
@torch.inference_mode()
def test_a_shifted_echo_costs_nothing(coils: int) -> None:
    model = create("nasn_knee", pretrained=True).eval()
    clean = torch.from_numpy(phantom(SIZE, 9000, n_coils=coils, noise=0)).reshape(coils, SIZE, SIZE)
    maps = torch.from_numpy(coil_maps(SIZE, coils, 9000)) if coils > 1 else None
    noise = torch.randn(coils, SIZE, SIZE, 2, generator=torch.Generator().manual_seed(0))
    mask = make_mask("random", (SIZE,), 4, 0.12, seed=0)
    target = (clean if maps is None else maps.conj() * clean).sum(0).abs().numpy()

    def quality(dy: int, dx: int) -> float:
        kspace = mask * fft2c(clean * ramp(dy, dx) + 0.005 * torch.view_as_complex(noise))
        image = model(kspace if maps is None else kspace[None], mask, None if maps is None else maps[None])
        return float(psnr(target, image[0].abs().numpy()))

    centred, shifted = quality(0, 0), quality(3, 4)
    assert shifted > centred - 1
    model.remove_phase = False
    as_published, harmed = quality(0, 0), quality(3, 4)
    assert centred > as_published - 0.1
    assert harmed < as_published - 2


def ramp(dy: int, dx: int) -> Tensor:
    position = torch.arange(SIZE) - SIZE // 2
    turns = (dy * position[:, None] + dx * position) / SIZE
    return torch.polar(torch.ones_like(turns), 2 * math.pi * turns)
