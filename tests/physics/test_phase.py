from __future__ import annotations

import math

import pytest
import torch
from tolerance import relative_error
from torch import Tensor

from csmri_ext.phantom import phantom
from csmri_ext.physics import fft2c, ifft2c, low_resolution_phase


def ramp(ny: int, nx: int, dy: float, dx: float) -> Tensor:
    y, x = torch.arange(ny)[:, None] - ny // 2, torch.arange(nx) - nx // 2
    turns = (dy * y / ny + dx * x / nx).to(torch.float64)
    return torch.polar(torch.ones_like(turns), 2 * math.pi * turns)


@pytest.mark.parametrize("half_width", [0, 3])
def test_is_the_phase_of_the_window_around_the_echo(half_width: int) -> None:
    image = torch.randn(3, 21, 30, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    phase = low_resolution_phase(image, half_width)
    kspace = fft2c(image)
    for i in range(3):
        row, column = divmod(int(kspace[i].abs().argmax()), 30)
        kept = torch.zeros_like(kspace[i])
        for y in range(-half_width, half_width + 1):
            for x in range(-half_width, half_width + 1):
                weight = math.prod(math.cos(math.pi * d / (2 * half_width + 2)) ** 2 for d in (y, x))
                at = (row + y) % 21, (column + x) % 30
                kept[at] = (1.3 if x == y == 0 else weight) * kspace[i][at]
        assert relative_error(phase[i], ifft2c(kept).sgn()) < 1e-12


def test_an_echo_off_the_centre_takes_the_phase_along() -> None:
    """By whole samples exactly, and what is left has no linear phase."""
    image = torch.from_numpy(phantom(64, 3, noise=0)).to(torch.complex128)
    shifted = image * ramp(64, 64, 5, -7)
    assert relative_error(low_resolution_phase(shifted), low_resolution_phase(image) * ramp(64, 64, 5, -7)) < 1e-9
    left = shifted * low_resolution_phase(shifted).conj()
    assert left.real.norm() > 0.95 * left.norm()


def test_constant_phase_and_unit() -> None:
    image = torch.from_numpy(phantom(64, 3, noise=0.01))
    for factor in (1j, -1e-20, 1e15 - 1e15j):
        turned = low_resolution_phase(factor * image) / (factor / abs(factor))
        assert relative_error(turned * image, low_resolution_phase(image) * image) < 1e-5
    nothing = torch.zeros(2, 8, 8, dtype=torch.complex64)
    assert torch.equal(low_resolution_phase(nothing), torch.ones_like(nothing))


def test_gradient() -> None:
    image = torch.randn(6, 7, dtype=torch.complex128, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: low_resolution_phase(x, 2), image)
