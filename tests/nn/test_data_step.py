from __future__ import annotations

import pytest
import torch
from properties import assert_adjoint, assert_linear
from torch import Tensor

import csmri_ext
from csmri_ext.nn import DataStep, Reconstructor, as_channels, as_complex, pad_to_multiple
from csmri_ext.physics import SenseOp, cg_sense, fft2c, ifft2c

BATCH, COILS, NY, NX = 2, 3, 9, 12
WIDE = torch.complex128


def noise(*shape: int, dtype: torch.dtype = WIDE, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def maps(dtype: torch.dtype = WIDE) -> Tensor:
    raw = noise(BATCH, COILS, NY, NX, dtype=dtype, seed=1)
    return raw / raw.abs().square().sum(1, keepdim=True).sqrt()


def mask_of(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(2)) < 0.5


SINGLE_MASKS = [(NX,), (NY, 1), (NY, NX), (BATCH, 1, NX), (BATCH, NY, NX)]
MULTI_MASKS = [(NX,), (NY, NX), (BATCH, 1, 1, NX), (BATCH, 1, NY, NX), (COILS, 1, NX), (BATCH, COILS, NY, NX)]


@pytest.mark.parametrize("shape", SINGLE_MASKS)
def test_single_coil_is_the_formula(shape: tuple[int, ...]) -> None:
    kspace, image, mask = noise(BATCH, NY, NX), noise(BATCH, NY, NX, seed=3), mask_of(*shape)
    step = DataStep(kspace, mask)
    torch.testing.assert_close(step.zero_filled, ifft2c(mask * kspace))
    torch.testing.assert_close(step.normal(image), ifft2c(mask * fft2c(image)))
    torch.testing.assert_close(step.step(image, 0.3), image + 0.3 * ifft2c(mask * (kspace - fft2c(image))))
    assert step.scale == 1.0


@pytest.mark.parametrize("shape", MULTI_MASKS)
def test_many_coils_are_the_formula(shape: tuple[int, ...]) -> None:
    kspace, image, mask = noise(BATCH, COILS, NY, NX), noise(BATCH, NY, NX, seed=3), mask_of(*shape)
    step, operator = DataStep(kspace, mask, maps()), SenseOp(maps(), mask)
    torch.testing.assert_close(step.zero_filled, operator.adjoint(kspace))
    torch.testing.assert_close(step.normal(image), operator.normal(image))
    expected = image + 0.3 * operator.adjoint(kspace - operator.forward(image))
    torch.testing.assert_close(step.step(image, 0.3), expected)


@pytest.mark.parametrize(("coils", "shape"), [(1, s) for s in SINGLE_MASKS] + [(COILS, s) for s in MULTI_MASKS])
def test_replicas_step_like_single_images(coils: int, shape: tuple[int, ...]) -> None:
    kspace, mask = noise(BATCH, COILS, NY, NX), mask_of(*shape)
    step = DataStep(kspace[:, 0], mask) if coils == 1 else DataStep(kspace, mask, maps())
    images = [noise(BATCH, NY, NX, seed=seed) for seed in (3, 4, 5)]
    replicas = torch.cat([torch.stack([x.real for x in images], 1), torch.stack([x.imag for x in images], 1)], 1)
    for function in (lambda x: step.step(x, 0.3), step.normal, lambda x: step.proximal(x, 0.7)):
        result = torch.complex(*function(replicas).chunk(2, dim=1))
        for i, image in enumerate(images):
            torch.testing.assert_close(result[:, i], function(image))
    torch.testing.assert_close(torch.complex(*step.replicas(2).chunk(2, 1))[:, 1], step.zero_filled)


def test_adjoint_and_self_adjoint() -> None:
    mask, sens_maps = mask_of(BATCH, 1, 1, NX), maps()
    operator = SenseOp(sens_maps, mask)
    assert_adjoint(
        operator.forward,
        lambda y: DataStep(y, mask, sens_maps).zero_filled,
        noise(BATCH, NY, NX),
        noise(BATCH, COILS, NY, NX, seed=4),
    )
    step = DataStep(noise(BATCH, COILS, NY, NX), mask, sens_maps)
    assert_adjoint(step.normal, step.normal, noise(BATCH, NY, NX, seed=5), noise(BATCH, NY, NX, seed=6))
    assert_linear(step.normal, noise(BATCH, NY, NX, seed=5), noise(BATCH, NY, NX, seed=6))


@pytest.mark.parametrize("mu", [0.01, 1.0, 30.0])
def test_conjugate_gradients_equal_the_closed_form_with_one_coil(mu: float) -> None:
    kspace, image, mask = noise(BATCH, NY, NX), noise(BATCH, NY, NX, seed=3), mask_of(BATCH, 1, NX)
    closed = DataStep(kspace, mask).proximal(image, mu)
    ones = torch.ones(BATCH, 1, NY, NX, dtype=WIDE)
    iterated = DataStep(kspace.unsqueeze(1), mask.unsqueeze(1), ones).proximal(image, mu)
    torch.testing.assert_close(iterated, closed, rtol=1e-6, atol=1e-6)  # ||r||^2 <= 1e-10


def test_proximal_solves_the_normal_equations_and_agrees_with_cg_sense() -> None:
    kspace, mask, sens_maps = noise(BATCH, COILS, NY, NX), mask_of(NX), maps()
    step, mu, image = DataStep(kspace, mask, sens_maps), 0.3, noise(BATCH, NY, NX, seed=3)
    x = step.proximal(image, mu)
    residual = step.zero_filled + mu * image - step.normal(x) - mu * x
    assert residual.abs().square().sum((-2, -1)).max() < 1e-6
    regularized = cg_sense(kspace, mask, sens_maps, iterations=50, tolerance=1e-8, regularization=mu)
    torch.testing.assert_close(step.proximal(torch.zeros_like(image), mu), regularized, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("multi_coil", [False, True])
def test_proximal_in_the_limits(multi_coil: bool) -> None:
    sens_maps = maps() if multi_coil else None
    truth = noise(BATCH, NY, NX)
    mask, image = mask_of(BATCH, 1, *((1,) if multi_coil else ()), NX), noise(BATCH, NY, NX, seed=3)
    kspace = SenseOp(sens_maps, mask).forward(truth)
    step = DataStep(kspace, mask, sens_maps)
    ignored = step.proximal(image, 1e6)
    torch.testing.assert_close(ignored, image, rtol=1e-4, atol=1e-4)
    if not multi_coil:
        replaced = fft2c(step.proximal(image, 1e-12))
        torch.testing.assert_close(replaced, torch.where(mask, kspace, fft2c(image)))
        return
    everything = torch.ones(NX, dtype=torch.bool)  # with every sample and mu -> 0 the data alone decide
    full = DataStep(SenseOp(sens_maps, everything).forward(truth), everything, sens_maps)
    torch.testing.assert_close(full.proximal(image, 1e-9), truth, rtol=1e-6, atol=1e-6)


def test_gradients_through_data_maps_and_weights() -> None:
    mask = mask_of(4)

    def proximal(kspace: Tensor, sens_maps: Tensor, image: Tensor, mu: Tensor) -> Tensor:
        return DataStep(kspace, mask, sens_maps, peak=1.0).proximal(image, mu)

    tensors = noise(1, 2, 3, 4), maps()[:1, :2, :3, :4], noise(1, 3, 4, seed=3), torch.tensor(0.7, dtype=torch.float64)
    leaves = [x.detach().clone().requires_grad_() for x in tensors]
    assert torch.autograd.gradcheck(proximal, leaves, atol=1e-7, fast_mode=True)


def test_fused_equals_reference() -> None:
    kspace, image = noise(BATCH, COILS, NY, NX, dtype=torch.complex64), noise(BATCH, NY, NX, dtype=torch.complex64)
    mask, sens_maps = mask_of(BATCH, 1, 1, NX), maps(torch.complex64)

    def run() -> list[Tensor]:
        single, many = DataStep(kspace[:, 0], mask[:, 0], peak=2.0), DataStep(kspace, mask, sens_maps, peak=2.0)
        return [f(image, 0.3) for step in (single, many) for f in (step.step, step.proximal)]

    fused = run()
    with csmri_ext.reference_ops():
        for ours, twin in zip(fused, run(), strict=True):
            torch.testing.assert_close(ours, twin)


def test_scaling_and_an_empty_slice() -> None:
    kspace, mask = noise(BATCH, COILS, NY, NX), mask_of(BATCH, 1, 1, NX)
    kspace[1] = 0
    plain, scaled = DataStep(kspace, mask, maps()), DataStep(kspace, mask, maps(), peak=6.0)
    assert scaled.zero_filled[0].abs().max().item() == pytest.approx(6)
    torch.testing.assert_close(scaled.zero_filled * scaled.scale, plain.zero_filled)
    assert isinstance(scaled.scale, Tensor)
    assert scaled.scale[1] == 1
    image = noise(BATCH, NY, NX, seed=3)
    torch.testing.assert_close(scaled.step(image, 0.4) * scaled.scale, plain.step(image * scaled.scale, 0.4))
    single = DataStep(kspace[:, 0], mask[:, 0], peak=6.0)
    expected = DataStep(kspace[:, 0], mask[:, 0]).step(image * single.scale, 0.4)
    torch.testing.assert_close(single.step(image, 0.4) * single.scale, expected)


def test_channels_share_memory_with_the_image() -> None:
    image = noise(BATCH, NY, NX, dtype=torch.complex64)
    channels = as_channels(image)
    assert channels.shape == (BATCH, 2, NY, NX)
    assert channels.is_contiguous(memory_format=torch.channels_last)
    assert channels.data_ptr() == image.data_ptr() == as_complex(channels).data_ptr()
    assert torch.equal(as_complex(channels), image)
    assert torch.equal(as_complex(channels.contiguous()), image)
    assert torch.equal(as_complex(as_channels(image, 1)), image.real + 0j)
    assert torch.equal(as_channels(image.conj())[:, 1], -image.imag)
    for wrong in (image.real, image[0]):
        with pytest.raises(TypeError, match="expected complex"):
            as_channels(wrong)
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\)"):
        as_complex(torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (31, 33), (32, 64), (2, 65)])
def test_padding_reflects(size: tuple[int, int]) -> None:
    x = torch.arange(size[0] * size[1], dtype=torch.float32).reshape(1, 1, *size)
    padded = pad_to_multiple(x, 32)
    assert all(n % 32 == 0 and n - small < 32 for n, small in zip(padded.shape[-2:], size, strict=True))
    for axis, n in zip((-2, -1), size, strict=True):
        period = max(2 * n - 2, 1)
        mirrored = (torch.arange(padded.shape[axis]) % period - (n - 1)).abs().sub(n - 1).abs()
        x = x.index_select(axis, mirrored)
    assert torch.equal(padded, x)


class Halver(Reconstructor):
    def reconstruct(self, step: DataStep, image: Tensor) -> Tensor:
        return step.step(image / (1 + image.abs()), 0.5)  # not linear: only the scaling makes it homogeneous


def test_reconstructor_scales_and_takes_every_shape() -> None:
    kspace, mask = noise(BATCH, NY, NX, dtype=torch.complex64), mask_of(BATCH, 1, NX)
    kspace[1] = 0
    for peak in (1.0, 6.0):
        model = Halver(peak=peak)
        image = model(kspace, mask)
        torch.testing.assert_close(model(1e-6 * kspace, mask), 1e-6 * image, rtol=1e-5, atol=1e-11)
        torch.testing.assert_close(model(kspace.unsqueeze(1), mask.unsqueeze(1)), image)
        assert not image[1].any()
        alone = model(kspace[:1], mask[0, 0])
        torch.testing.assert_close(alone, image[:1])
    unscaled = Halver(peak=None)
    assert (unscaled(1e-6 * kspace, mask) - 1e-6 * unscaled(kspace, mask)).abs().max() > 1e-8
    with pytest.raises(NotImplementedError, match="Reconstructor"):
        Reconstructor()(kspace, mask)
    with pytest.raises(ValueError, match="in_chans is 3"):
        Halver(in_chans=3)
    with pytest.raises(ValueError, match="peak is 0"):
        Halver(peak=0)


def test_misuse_names_both_shapes() -> None:
    kspace, mask = noise(BATCH, COILS, NY, NX), mask_of(NX)
    cases = [
        (ValueError, r"kspace \(2, 3, 9, 12\) has 3 coils, but sens_maps is None.*\(3, 9, 12\)", kspace, mask, None),
        (ValueError, r"mask \(13,\) does not broadcast to kspace \(2, 9, 12\)", kspace[:, 0], mask_of(13), None),
        (ValueError, r"mask \(2, 1, 12\) does not broadcast", kspace, mask_of(2, 1, NX), maps()),
        (ValueError, r"sens_maps \(2, 2, 9, 12\) do not fit kspace \(2, 3, 9, 12\)", kspace, mask, maps()[:, :2]),
        (ValueError, r"has no coil axis, but sens_maps \(2, 3, 9, 12\)", kspace[:, 0], mask, maps()),
        (ValueError, r"kspace \(12,\): expected", kspace[0, 0, 0], mask, None),
        (ValueError, r"kspace \(0, 9, 12\): expected", kspace[:0, 0], mask, None),
        (TypeError, r"mask \(12,\) is torch.float32, expected bool", kspace[:, 0], mask.float(), None),
        (TypeError, r"is torch.float64, expected complex", kspace[:, 0].real, mask, None),
        (TypeError, r"sens_maps \(2, 3, 9, 12\) is torch.float64", kspace, mask, maps().real),
    ]
    for error, message, *tensors in cases:
        with pytest.raises(error, match=message):
            Halver()(*tensors)
