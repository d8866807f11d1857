from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tolerance import relative_error
from torch import Tensor

import csmri_ext
from csmri_ext.bridge import bart
from csmri_ext.physics import Encoding, fft2c, ifft2c

SIZES = [(8, 8), (7, 9), (7, 8), (10, 5), (1, 6), (64, 40), (33, 50)]


def image(*shape: int, dtype: torch.dtype = torch.complex128) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def centered(n: int) -> Tensor:
    return torch.arange(n, dtype=torch.float64) - n // 2


@pytest.mark.parametrize("size", [*SIZES, (320, 320), (640, 368)])
def test_equals_bart(bart_binary: str, size: tuple[int, int]) -> None:
    x = image(*size, dtype=torch.complex64)
    forward = torch.from_numpy(np.array(bart(["fft", "-u", "3"], x.numpy(), binary=bart_binary, squeeze=False)))
    inverse = torch.from_numpy(np.array(bart(["fft", "-u", "-i", "3"], x.numpy(), binary=bart_binary, squeeze=False)))
    assert relative_error(fft2c(x), forward.reshape(size)) < 1e-6
    assert relative_error(ifft2c(x), inverse.reshape(size)) < 1e-6


@pytest.mark.parametrize("size", SIZES)
def test_equals_the_sum_it_stands_for(size: tuple[int, int]) -> None:
    x = image(*size)
    y, x_ = (torch.exp(-2j * torch.pi * torch.outer(centered(n), centered(n)) / n) / math.sqrt(n) for n in size)
    assert relative_error(fft2c(x), y @ x @ x_.T) < 1e-13


@pytest.mark.parametrize("shape", [(0, 4, 5), (2, 0, 4, 5), (3, 0), (0, 3)])
def test_nothing_has_an_empty_transform(shape: tuple[int, ...]) -> None:
    for transform in (fft2c, ifft2c):
        x = image(*shape, dtype=torch.complex64).requires_grad_()
        out = transform(x)
        assert (out.shape, out.dtype) == (x.shape, x.dtype)
        out.abs().sum().backward()
        assert x.grad is not None
    assert fft2c(torch.zeros(shape)).dtype == torch.complex64


def test_empty_batches_of_the_plain_ops() -> None:
    """Where the compiled kernels accept a batch of nothing, so do their twins, and they agree with the operator."""
    kspace, mask = torch.zeros(0, 3, 4, 5, dtype=torch.complex64), torch.ones(5, dtype=torch.bool)
    with csmri_ext.reference_ops():
        assert csmri_ext.ops.data_consistency(kspace, kspace, mask, 1.0).shape == kspace.shape
        assert csmri_ext.ops.sense_normal(kspace[:, 0], kspace, mask).shape == (0, 4, 5)
        operator = Encoding(None, mask, kspace)
        assert operator.normal(operator.adjoint(kspace)).shape == (0, 4, 5)


@pytest.mark.parametrize("n", [128, 129])
def test_gaussian_becomes_gaussian(n: int) -> None:
    # exp(-pi (x / s)^2) <-> s exp(-pi (s k)^2), sampled at k / n, times 1 / sqrt(n) on either axis
    s = 12.0
    g = torch.exp(-math.pi * (centered(n) / s) ** 2)
    transformed = s / math.sqrt(n) * torch.exp(-math.pi * (s * centered(n) / n) ** 2)
    assert relative_error(fft2c(torch.outer(g, g)), torch.outer(transformed, transformed).to(torch.complex128)) < 1e-12


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shift", [(0, 0), (0, 1), (-2, 3)])
def test_delta_becomes_a_phase_ramp(size: tuple[int, int], shift: tuple[int, int]) -> None:
    (ny, nx), (dy, dx) = size, shift
    delta = torch.zeros(size, dtype=torch.complex128)
    delta[(ny // 2 + dy) % ny, (nx // 2 + dx) % nx] = 1
    turns = dy * centered(ny)[:, None] / ny + dx * centered(nx) / nx
    ramp = torch.polar(torch.full(size, 1 / math.sqrt(ny * nx), dtype=torch.float64), -2 * torch.pi * turns)
    assert relative_error(fft2c(delta), ramp) < 1e-13


@pytest.mark.parametrize("size", SIZES)
def test_is_unitary(size: tuple[int, int]) -> None:
    x, y = image(2, 3, *size)
    assert relative_error(ifft2c(fft2c(x)), x) < 1e-13
    assert torch.allclose(torch.vdot(y.ravel(), fft2c(x).ravel()), torch.vdot(ifft2c(y).ravel(), x.ravel()))
    assert torch.allclose(fft2c(x).norm(), x.norm())


def test_leading_axes_precision_and_gradient() -> None:
    x = image(2, 3, 6, 5)
    assert torch.equal(fft2c(x)[1, 2], fft2c(x[1, 2]))
    assert fft2c(x.to(torch.complex64)).dtype == torch.complex64
    assert fft2c(x.real).dtype == torch.complex128
    assert torch.autograd.gradcheck(fft2c, x[0, 0].requires_grad_())
    assert torch.autograd.gradcheck(ifft2c, image(3, 4).requires_grad_())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mask_axes", [1, 2])
def test_mask_and_data_shifted_once_replace_every_other_shift(size: tuple[int, int], mask_axes: int) -> None:
    x, y = image(2, 3, *size)
    mask = torch.rand(size[-mask_axes:], generator=torch.Generator().manual_seed(1)) < 0.4
    plain = {"norm": "ortho"}
    shifted = torch.fft.ifftshift(mask, (-2, -1)[-mask_axes:])
    expected = ifft2c(mask * fft2c(x))
    actual = torch.fft.ifft2(shifted * torch.fft.fft2(x, **plain), **plain)
    assert torch.allclose(actual, expected, rtol=0, atol=1e-13)

    expected = ifft2c(mask * (y - fft2c(x)))
    actual = torch.fft.ifft2(shifted * (torch.fft.fft2(ifft2c(y), **plain) - torch.fft.fft2(x, **plain)), **plain)
    assert torch.allclose(actual, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("function", [fft2c, ifft2c])
def test_one_axis_is_refused(function) -> None:
    with pytest.raises(ValueError, match=r"at least two axes .* got shape \(7,\)"):
        function(torch.zeros(7, dtype=torch.complex64))
