from __future__ import annotations

import pytest
import torch
from properties import assert_adjoint, assert_linear
from small_encodings import BATCH, COILS, NX, NY, WIDE, maps, mask_of, noise
from tolerance import relative_error
from torch import Tensor

import csmri_ext
from csmri_ext.models import create
from csmri_ext.physics import Encoding, cg_sense, estimate_sens_maps, fft2c, ifft2c, kspace_residual, make_mask, rss

SINGLE_MASKS = [(NX,), (NY, 1), (NY, NX), (BATCH, 1, NX), (BATCH, NY, NX)]
MULTI_MASKS = [(NX,), (NY, NX), (BATCH, 1, 1, NX), (BATCH, 1, NY, NX), (COILS, 1, NX), (BATCH, COILS, NY, NX)]


@pytest.mark.parametrize("shape", SINGLE_MASKS)
def test_single_coil_is_the_formula(shape: tuple[int, ...]) -> None:
    kspace, image, mask = noise(BATCH, NY, NX), noise(BATCH, NY, NX, seed=3), mask_of(*shape)
    encoding = Encoding(kspace, mask)
    torch.testing.assert_close(encoding.zero_filled, ifft2c(mask * kspace))
    torch.testing.assert_close(encoding.normal(image), ifft2c(mask * fft2c(image)))
    torch.testing.assert_close(encoding.step(image, 0.3), image + 0.3 * ifft2c(mask * (kspace - fft2c(image))))
    assert encoding.scale == 1.0


@pytest.mark.parametrize("shape", MULTI_MASKS)
def test_many_coils_are_the_formula(shape: tuple[int, ...]) -> None:
    kspace, image, mask = noise(BATCH, COILS, NY, NX), noise(BATCH, NY, NX, seed=3), mask_of(*shape)
    encoding, operator = Encoding(kspace, mask, maps()), Encoding(None, mask, maps())
    torch.testing.assert_close(encoding.zero_filled, operator.adjoint(kspace))
    torch.testing.assert_close(encoding.normal(image), operator.normal(image))
    expected = image + 0.3 * operator.adjoint(kspace - operator.forward(image))
    torch.testing.assert_close(encoding.step(image, 0.3), expected)


@pytest.mark.parametrize(("coils", "shape"), [(1, s) for s in SINGLE_MASKS] + [(COILS, s) for s in MULTI_MASKS])
def test_replicas_step_like_single_images(coils: int, shape: tuple[int, ...]) -> None:
    kspace, mask = noise(BATCH, COILS, NY, NX), mask_of(*shape)
    encoding = Encoding(kspace[:, 0], mask) if coils == 1 else Encoding(kspace, mask, maps())
    images = [noise(BATCH, NY, NX, seed=seed) for seed in (3, 4, 5)]
    replicas = torch.cat([torch.stack([x.real for x in images], 1), torch.stack([x.imag for x in images], 1)], 1)
    for function in (lambda x: encoding.step(x, 0.3), encoding.normal, lambda x: encoding.proximal(x, 0.7)):
        result = torch.complex(*function(replicas).chunk(2, dim=1))
        for i, image in enumerate(images):
            torch.testing.assert_close(result[:, i], function(image))
    torch.testing.assert_close(torch.complex(*encoding.replicas(2).chunk(2, 1))[:, 1], encoding.zero_filled)


def test_adjoint_and_self_adjoint() -> None:
    mask, sens_maps = mask_of(BATCH, 1, 1, NX), maps()
    operator = Encoding(None, mask, sens_maps)
    assert_adjoint(
        operator.forward,
        lambda y: Encoding(y, mask, sens_maps).zero_filled,
        noise(BATCH, NY, NX),
        noise(BATCH, COILS, NY, NX, seed=4),
    )
    encoding = Encoding(noise(BATCH, COILS, NY, NX), mask, sens_maps)
    assert_adjoint(encoding.normal, encoding.normal, noise(BATCH, NY, NX, seed=5), noise(BATCH, NY, NX, seed=6))
    assert_linear(encoding.normal, noise(BATCH, NY, NX, seed=5), noise(BATCH, NY, NX, seed=6))


@pytest.mark.parametrize("mu", [0.01, 1.0, 30.0])
def test_conjugate_gradients_equal_the_closed_form_with_one_coil(mu: float) -> None:
    kspace, image, mask = noise(BATCH, NY, NX), noise(BATCH, NY, NX, seed=3), mask_of(BATCH, 1, NX)
    closed = Encoding(kspace, mask).proximal(image, mu)
    ones = torch.ones(BATCH, 1, NY, NX, dtype=WIDE)
    iterated = Encoding(kspace.unsqueeze(1), mask.unsqueeze(1), ones).proximal(image, mu)
    torch.testing.assert_close(iterated, closed, rtol=1e-6, atol=1e-6)  # ||r||^2 <= 1e-10


def test_proximal_solves_the_normal_equations_and_agrees_with_cg_sense() -> None:
    kspace, mask, sens_maps = noise(BATCH, COILS, NY, NX), mask_of(NX), maps()
    encoding, mu, image = Encoding(kspace, mask, sens_maps), 0.3, noise(BATCH, NY, NX, seed=3)
    x = encoding.proximal(image, mu)
    residual = encoding.zero_filled + mu * image - encoding.normal(x) - mu * x
    assert residual.abs().square().sum((-2, -1)).max() < 1e-6
    regularized = cg_sense(kspace, mask, sens_maps, iterations=50, tolerance=1e-8, regularization=mu)
    torch.testing.assert_close(encoding.proximal(torch.zeros_like(image), mu), regularized, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("multi_coil", [False, True])
def test_proximal_in_the_limits(multi_coil: bool) -> None:
    sens_maps = maps() if multi_coil else None
    truth = noise(BATCH, NY, NX)
    mask, image = mask_of(BATCH, 1, *((1,) if multi_coil else ()), NX), noise(BATCH, NY, NX, seed=3)
    kspace = Encoding(None, mask, sens_maps).forward(truth)
    encoding = Encoding(kspace, mask, sens_maps)
    ignored = encoding.proximal(image, 1e6)
    torch.testing.assert_close(ignored, image, rtol=1e-4, atol=1e-4)
    if not multi_coil:
        replaced = fft2c(encoding.proximal(image, 1e-12))
        torch.testing.assert_close(replaced, torch.where(mask, kspace, fft2c(image)))
        return
    everything = torch.ones(NX, dtype=torch.bool)  # with every sample and mu -> 0 the data alone decide
    full = Encoding(Encoding(None, everything, sens_maps).forward(truth), everything, sens_maps)
    torch.testing.assert_close(full.proximal(image, 1e-9), truth, rtol=1e-6, atol=1e-6)


def test_gradients_through_data_maps_and_weights() -> None:
    mask = mask_of(4)

    def proximal(kspace: Tensor, sens_maps: Tensor, image: Tensor, mu: Tensor) -> Tensor:
        return Encoding(kspace, mask, sens_maps).normalized(1.0).proximal(image, mu)

    tensors = noise(1, 2, 3, 4), maps()[:1, :2, :3, :4], noise(1, 3, 4, seed=3), torch.tensor(0.7, dtype=torch.float64)
    leaves = [x.detach().clone().requires_grad_() for x in tensors]
    assert torch.autograd.gradcheck(proximal, leaves, atol=1e-7, fast_mode=True)


def test_fused_equals_reference() -> None:
    kspace, image = noise(BATCH, COILS, NY, NX, dtype=torch.complex64), noise(BATCH, NY, NX, dtype=torch.complex64)
    mask, sens_maps = mask_of(BATCH, 1, 1, NX), maps(torch.complex64)

    def run() -> list[Tensor]:
        single, many = (
            Encoding(kspace[:, 0], mask[:, 0]).normalized(2.0),
            Encoding(kspace, mask, sens_maps).normalized(2.0),
        )
        return [f(image, 0.3) for one in (single, many) for f in (one.step, one.proximal)]

    fused = run()
    with csmri_ext.reference_ops():
        for ours, twin in zip(fused, run(), strict=True):
            torch.testing.assert_close(ours, twin)


def test_scaling_and_an_empty_slice() -> None:
    kspace, mask = noise(BATCH, COILS, NY, NX), mask_of(BATCH, 1, 1, NX)
    kspace[1] = 0
    plain, scaled = Encoding(kspace, mask, maps()), Encoding(kspace, mask, maps()).normalized(6.0)
    assert scaled.zero_filled[0].abs().max().item() == pytest.approx(6)
    torch.testing.assert_close(scaled.zero_filled * scaled.scale, plain.zero_filled)
    assert isinstance(scaled.scale, Tensor)
    assert scaled.scale[1] == 1
    image = noise(BATCH, NY, NX, seed=3)
    torch.testing.assert_close(scaled.step(image, 0.4) * scaled.scale, plain.step(image * scaled.scale, 0.4))
    single = Encoding(kspace[:, 0], mask[:, 0]).normalized(6.0)
    expected = Encoding(kspace[:, 0], mask[:, 0]).step(image * single.scale, 0.4)
    torch.testing.assert_close(single.step(image, 0.4) * single.scale, expected)


def random(*shape: int, dtype: torch.dtype = torch.complex128, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def unit_maps(*shape: int, dtype: torch.dtype = torch.complex128) -> Tensor:
    maps = random(*shape, dtype=dtype, seed=7)
    return maps / rss(maps).unsqueeze(-3)


# image shape, shape of the maps or None, shape of the mask or None
CASES = {
    "one coil": ((9, 8), None, (8,)),
    "one coil, batch": ((3, 9, 8), None, (9, 8)),
    "no mask": ((3, 9, 8), None, None),
    "coils": ((9, 8), (4, 9, 8), (8,)),
    "coils, batch, one set of maps": ((3, 9, 8), (4, 9, 8), (9, 8)),
    "coils, batch, maps of each": ((3, 7, 5), (3, 4, 7, 5), (5,)),
    "coils, batch, mask of each": ((3, 8, 5), (3, 4, 8, 5), (3, 1, 1, 5)),
    "coils, batch, plane mask of each": ((3, 8, 5), (4, 8, 5), (3, 1, 8, 5)),
    "coils, no mask": ((9, 8), (4, 9, 8), None),
}


@pytest.fixture(params=CASES, name="case")
def _case(request: pytest.FixtureRequest) -> tuple[Encoding, Tensor]:
    image_shape, maps_shape, mask_shape = CASES[request.param]
    mask = None if mask_shape is None else torch.rand(mask_shape, generator=torch.Generator().manual_seed(1)) < 0.5
    maps = None if maps_shape is None else random(*maps_shape, seed=2)
    return Encoding(None, mask, maps), random(*image_shape)


def test_adjoint(case: tuple[Encoding, Tensor]) -> None:
    operator, image = case
    forward = operator.forward(image)
    kspace = random(*forward.shape, seed=3)
    left = torch.vdot(kspace.ravel(), forward.ravel())
    right = torch.vdot(operator.adjoint(kspace).ravel(), image.ravel())
    assert abs(left - right) < 1e-12 * forward.norm() * kspace.norm()
    assert operator.adjoint(kspace).shape == image.shape


def test_normal_is_adjoint_of_forward(case: tuple[Encoding, Tensor]) -> None:
    operator, image = case
    assert relative_error(operator.normal(image), operator.adjoint(operator.forward(image))) < 1e-13


def test_normal_never_shifts(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = Encoding(None, make_mask("random", (8,), 2, seed=0), unit_maps(4, 9, 8))
    for name in ("fftshift", "ifftshift"):
        monkeypatch.setattr(torch.fft, name, lambda *args, **kwargs: pytest.fail("a shift"))
    operator.normal(random(9, 8))


def test_forward_is_m_f_s() -> None:
    maps, image, mask = unit_maps(4, 9, 8), random(9, 8), make_mask("random", (8,), 2, seed=0)
    kspace = Encoding(None, mask, maps).forward(image)
    for coil in range(4):
        assert torch.allclose(kspace[coil], fft2c(maps[coil] * image) * mask)
    assert (kspace[..., ~mask] == 0).all()


def test_one_coil_of_ones_is_no_maps() -> None:
    image, mask = random(2, 9, 8), make_mask("random", (8,), 2, seed=0)
    with_ones = Encoding(None, mask, torch.ones(1, 9, 8, dtype=torch.complex128)).forward(image)
    assert torch.equal(with_ones[:, 0], Encoding(None, mask).forward(image))


def test_gradients() -> None:
    mask = torch.tensor([True, False, True])
    maps, image = random(2, 2, 3).requires_grad_(), random(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, x: Encoding(None, mask, s).forward(x), (maps, image))
    assert torch.autograd.gradcheck(lambda s, x: Encoding(None, mask, s).normal(x), (maps, image))


@pytest.mark.parametrize("dim", [-3, 0])
def test_rss(dim: int) -> None:
    x = random(4, 5, 6)
    assert torch.allclose(rss(x, dim), x.abs().square().sum(0).sqrt())


class TestKspaceResidual:
    def test_zero_for_the_truth_and_one_for_nothing(self) -> None:
        maps, image, mask = unit_maps(4, 9, 8), random(2, 9, 8), make_mask("random", (8,), 2, seed=0)
        kspace = Encoding(None, mask, maps).forward(image)
        assert kspace_residual(kspace, image, mask, maps) < 1e-14
        assert kspace_residual(kspace, torch.zeros_like(image), mask, maps) == 1

    def test_formula_and_unsampled_data_are_ignored(self) -> None:
        image, kspace, mask = random(9, 8), random(9, 8, seed=4), make_mask("random", (8,), 2, seed=0)
        y = kspace * mask
        expected = (mask * fft2c(image) - y).norm() / y.norm()
        assert kspace_residual(kspace, image, mask) == pytest.approx(float(expected), rel=1e-12)
        assert kspace_residual(kspace, ifft2c(kspace)) < 1e-14

    def test_nothing_measured(self) -> None:
        with pytest.raises(ValueError, match=r"kspace \(9, 8\) is zero at every sampled position"):
            kspace_residual(torch.zeros(9, 8, dtype=torch.complex64), random(9, 8))

    def test_image_of_another_batch(self) -> None:
        with pytest.raises(ValueError, match=r"image \(2, 9, 8\) has k-space \(2, 9, 8\), but kspace is \(3, 9, 8\)"):
            kspace_residual(random(3, 9, 8), random(2, 9, 8))


def test_what_was_not_acquired_does_not_matter() -> None:
    mask, maps = torch.tensor([True, False] * 4), unit_maps(3, 9, 8)
    kspace, image = random(2, 3, 9, 8), random(2, 9, 8, seed=3)
    spoilt = torch.where(mask, kspace, torch.nan)
    for data, spoilt_data, sens_maps in ((kspace[:, 0], spoilt[:, 0], None), (kspace, spoilt, maps)):
        clean, encoding = Encoding(data, mask, sens_maps), Encoding(spoilt_data, mask, sens_maps)
        assert torch.equal(clean.zero_filled, encoding.zero_filled)
        assert torch.equal(clean.step(image, 0.5), encoding.step(image, 0.5))
        assert torch.equal(clean.proximal(image, 0.5), encoding.proximal(image, 0.5))
        assert relative_error(clean.adjoint(spoilt_data), clean.zero_filled) < 1e-13
        assert kspace_residual(spoilt_data, image, mask, sens_maps) == kspace_residual(data, image, mask, sens_maps)


@pytest.mark.parametrize("with_maps", [False, True])
def test_without_a_batch(with_maps: bool) -> None:
    maps, mask = unit_maps(3, 9, 8) if with_maps else None, make_mask("random", (8,), 2, seed=0)
    kspace, image = random(3, 9, 8) if with_maps else random(9, 8), random(9, 8, seed=3)
    alone, batch = Encoding(kspace, mask, maps).normalized(2.0), Encoding(kspace[None], mask, maps).normalized(2.0)
    assert torch.equal(alone.zero_filled, batch.zero_filled[0])
    assert torch.equal(alone.step(image, 0.3), batch.step(image[None], 0.3)[0])
    assert relative_error(alone.proximal(image, 0.3), batch.proximal(image[None], 0.3)[0]) < 1e-13


@pytest.mark.parametrize("peak", [None, 3.0])
@pytest.mark.parametrize("shape", [(8,), (9, 1), (9, 8)])
@pytest.mark.parametrize("with_maps", [False, True])
def test_normalized_data_have_a_peak_and_no_phase(with_maps: bool, shape: tuple[int, ...], peak: float | None) -> None:
    """As if the data had been divided before they were packed."""
    mask, maps = mask_of(*shape), unit_maps(3, 9, 8)
    kspace = (random(2, 3, 9, 8) if with_maps else random(2, 9, 8)) * torch.tensor([1e-3j, 4.0])[
        :, None, None, *([None] if with_maps else [])
    ]
    kspace, image = kspace.to(torch.complex64), random(2, 9, 8, seed=3, dtype=torch.complex64)
    sens_maps = maps.to(torch.complex64) if with_maps else None
    encoding = Encoding(kspace, mask, sens_maps).normalized(peak)
    z = encoding.zero_filled
    direction = (z * z.abs()).sum((-2, -1))
    assert (direction.imag.abs() < 1e-6 * direction.real).all()
    if peak is not None:
        torch.testing.assert_close(z.abs().amax((-2, -1)), torch.full((2,), peak))
    assert isinstance(encoding.scale, Tensor)
    before = Encoding(kspace / (encoding.scale.unsqueeze(1) if with_maps else encoding.scale), mask, sens_maps)
    torch.testing.assert_close(encoding.zero_filled, before.zero_filled)
    torch.testing.assert_close(encoding.step(image, 0.3), before.step(image, 0.3))
    torch.testing.assert_close(encoding.proximal(image, 0.3), before.proximal(image, 0.3))


@pytest.mark.parametrize("coils", [0, 1, 3])
def test_a_phase_is_part_of_the_sensitivities(coils: int) -> None:
    """The same images as without it, times the phase."""
    maps = unit_maps(coils, 9, 8) if coils else None
    kspace, mask = random(2, coils, 9, 8) if coils else random(2, 9, 8), make_mask("random", (9, 8), 2, seed=0)
    image, phase = random(2, 9, 8, seed=3), random(2, 9, 8, seed=4).sgn()
    plain = Encoding(kspace, mask, maps)
    turned = plain.with_phase(phase)
    assert torch.equal(torch.as_tensor(turned.scale), phase)
    for ours, theirs in (
        (turned.zero_filled, plain.zero_filled),
        (turned.step(image, 0.3), plain.step(phase * image, 0.3)),
        (turned.normal(image), plain.normal(phase * image)),
        (turned.proximal(image, 0.3), plain.proximal(phase * image, 0.3)),
        (turned.adjoint(kspace), plain.adjoint(kspace)),
        (Encoding(None, mask, maps).with_phase(phase).normal(image), plain.normal(phase * image)),
    ):
        assert relative_error(phase * ours, theirs) < 1e-6
    assert relative_error(turned.forward(image), plain.forward(phase * image)) < 1e-13
    replicas = torch.cat([image.real[:, None], image.real[:, None], image.imag[:, None], image.imag[:, None]], 1)
    stepped = torch.complex(*turned.step(replicas, 0.3).chunk(2, 1))
    assert relative_error(stepped[:, 1], turned.step(image, 0.3)) < 1e-13
    both = turned.with_phase(phase).normalized(2.0)
    assert vars(both).keys() == vars(plain).keys()
    assert relative_error(both.zero_filled * both.scale, plain.zero_filled) < 1e-13


def test_a_coil_axis_of_one_comes_back() -> None:
    kspace, mask = random(2, 1, 9, 8), make_mask("random", (8,), 2, seed=0)
    encoding = Encoding(kspace, mask)
    assert encoding.zero_filled.shape == (2, 9, 8)
    assert torch.equal(encoding.adjoint(kspace), encoding.adjoint(kspace[:, 0]))
    assert encoding.forward(encoding.zero_filled).shape == kspace.shape


@pytest.mark.parametrize("scale", [1e-25, 1e-10, 1e15])
def test_proximal_step_in_any_unit(scale: float) -> None:
    """float32 holds no square of 1e-25: nothing may depend on it."""
    kspace, image = random(2, 3, 9, 8, dtype=torch.complex64), random(2, 9, 8, dtype=torch.complex64, seed=3)
    mask, maps = make_mask("random", (8,), 2, seed=0), unit_maps(3, 9, 8, dtype=torch.complex64)
    expected = Encoding(kspace, mask, maps).proximal(image, 0.1)
    found = Encoding(scale * kspace, mask, maps).proximal(scale * image, 0.1)
    assert relative_error(found / scale, expected) < 1e-5


def test_an_operator_without_data_says_so() -> None:
    operator = Encoding(None, torch.ones(8, dtype=torch.bool))
    for use in (lambda: operator.zero_filled, lambda: operator.step(random(9, 8), 1.0)):
        with pytest.raises(ValueError, match="operator without data: pass kspace"):
            use()


class TestBadInput:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.complex64])
    def test_mask_type(self, dtype: torch.dtype) -> None:
        """One answer in every place, even to zeros and ones."""
        mask, kspace, maps = torch.ones(8, dtype=dtype), random(3, 9, 8), unit_maps(3, 9, 8)
        for use in (
            lambda: Encoding(None, mask),
            lambda: Encoding(kspace, mask, maps),
            lambda: cg_sense(kspace, mask, maps),
            lambda: kspace_residual(kspace, random(9, 8), mask, maps),
            lambda: estimate_sens_maps(kspace, mask),
            lambda: estimate_sens_maps(kspace, mask, "low_resolution"),
            lambda: create("nasn_2nodes")(kspace.to(torch.complex64), mask),
        ):
            with pytest.raises(TypeError, match=rf"mask \(8,\) is {dtype}, expected bool, True where a sample"):
                use()
        with pytest.raises(TypeError, match=r"mask is a numpy\.ndarray, expected a torch\.Tensor"):
            Encoding(None, mask.numpy())  # type: ignore[arg-type]

    def test_mask_of_other_size(self) -> None:
        with pytest.raises(ValueError, match=r"mask \(7,\) does not broadcast to sens_maps \(4, 9, 8\)"):
            Encoding(None, torch.ones(7, dtype=torch.bool), unit_maps(4, 9, 8))
        with pytest.raises(ValueError, match=r"mask \(7,\) does not broadcast to k-space \(9, 8\)"):
            Encoding(None, torch.ones(7, dtype=torch.bool)).forward(random(9, 8))
        with pytest.raises(ValueError, match=r"mask \(3, 1, 1, 8\) does not broadcast to k-space \(4, 9, 8\)"):
            Encoding(None, torch.ones(3, 1, 1, 8, dtype=torch.bool), unit_maps(4, 9, 8)).forward(random(9, 8))

    def test_maps_without_coils(self) -> None:
        with pytest.raises(
            ValueError, match=r"sens_maps \(9, 8\): expected \(coils, ny, nx\) or \(batch, coils, ny, nx\)"
        ):
            Encoding(None, None, random(9, 8))

    @pytest.mark.parametrize("shape", [(8, 9), (2, 9, 8)])
    def test_image_of_other_size(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"image \(.*\) does not fit sens_maps \(3, 4, 9, 8\)"):
            Encoding(None, None, unit_maps(3, 4, 9, 8)).forward(random(*shape))

    @pytest.mark.parametrize("shape", [(9, 8), (3, 9, 8), (4, 8, 9), (2, 4, 9, 8)])
    def test_kspace_of_other_size(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"kspace \(.*\) does not fit sens_maps \(3, 4, 9, 8\)"):
            Encoding(None, None, unit_maps(3, 4, 9, 8)).adjoint(random(*shape))
