from __future__ import annotations

import numpy as np
import pytest
import torch
from tolerance import relative_error
from torch import Tensor

from csmri_ext.bridge import pics
from csmri_ext.physics import SenseOp, cg_sense, fft2c, ifft2c, kspace_residual, make_mask, rss


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
def _case(request: pytest.FixtureRequest) -> tuple[SenseOp, Tensor]:
    image_shape, maps_shape, mask_shape = CASES[request.param]
    mask = None if mask_shape is None else torch.rand(mask_shape, generator=torch.Generator().manual_seed(1)) < 0.5
    maps = None if maps_shape is None else random(*maps_shape, seed=2)
    return SenseOp(maps, mask), random(*image_shape)


def test_adjoint(case: tuple[SenseOp, Tensor]) -> None:
    operator, image = case
    forward = operator.forward(image)
    kspace = random(*forward.shape, seed=3)
    left = torch.vdot(kspace.ravel(), forward.ravel())
    right = torch.vdot(operator.adjoint(kspace).ravel(), image.ravel())
    assert abs(left - right) < 1e-12 * forward.norm() * kspace.norm()
    assert operator.adjoint(kspace).shape == image.shape


def test_normal_is_adjoint_of_forward(case: tuple[SenseOp, Tensor]) -> None:
    operator, image = case
    assert relative_error(operator.normal(image), operator.adjoint(operator.forward(image))) < 1e-13


def test_normal_never_shifts(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = SenseOp(unit_maps(4, 9, 8), make_mask("random", (8,), 2, seed=0))
    for name in ("fftshift", "ifftshift"):
        monkeypatch.setattr(torch.fft, name, lambda *args, **kwargs: pytest.fail("a shift"))
    operator.normal(random(9, 8))


def test_forward_is_m_f_s() -> None:
    maps, image, mask = unit_maps(4, 9, 8), random(9, 8), make_mask("random", (8,), 2, seed=0)
    kspace = SenseOp(maps, mask).forward(image)
    for coil in range(4):
        assert torch.allclose(kspace[coil], fft2c(maps[coil] * image) * mask)
    assert (kspace[..., ~mask] == 0).all()


def test_one_coil_of_ones_is_no_maps() -> None:
    image, mask = random(2, 9, 8), make_mask("random", (8,), 2, seed=0)
    with_ones = SenseOp(torch.ones(1, 9, 8, dtype=torch.complex128), mask).forward(image)
    assert torch.equal(with_ones[:, 0], SenseOp(None, mask).forward(image))


def test_gradients() -> None:
    mask = torch.tensor([True, False, True])
    maps, image = random(2, 2, 3).requires_grad_(), random(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, x: SenseOp(s, mask).forward(x), (maps, image))
    assert torch.autograd.gradcheck(lambda s, x: SenseOp(s, mask).normal(x), (maps, image))


@pytest.mark.parametrize("dim", [-3, 0])
def test_rss(dim: int) -> None:
    x = random(4, 5, 6)
    assert torch.allclose(rss(x, dim), x.abs().square().sum(0).sqrt())


class TestCgSense:
    def test_fully_sampled_data_are_inverted(self) -> None:
        maps, image = unit_maps(4, 9, 8), random(2, 9, 8)
        kspace = SenseOp(maps).forward(image)
        assert relative_error(cg_sense(kspace, None, maps, iterations=3), image) < 1e-10

    def test_aliasing_is_unfolded(self) -> None:
        maps, image = unit_maps(6, 16, 16), random(16, 16)
        mask = make_mask("equispaced", (16,), 2, 0, seed=0)
        kspace = SenseOp(maps, mask).forward(image)
        assert relative_error(SenseOp(maps, mask).adjoint(kspace), image) > 0.3
        assert relative_error(cg_sense(kspace, mask, maps, iterations=100, tolerance=1e-12), image) < 1e-8

    def test_solves_the_regularized_normal_equations(self) -> None:
        maps, mask = unit_maps(3, 5, 4), make_mask("random", (5, 4), 2, seed=3)
        kspace = random(3, 5, 4)
        operator = SenseOp(maps, mask)
        matrix = torch.stack([operator.normal(unit.reshape(5, 4)).ravel() for unit in torch.eye(20).to(maps.dtype)], 1)
        matrix += 0.3 * torch.eye(20, dtype=torch.float64)
        exact = torch.linalg.solve(matrix, operator.adjoint(kspace).ravel()).reshape(5, 4)
        found = cg_sense(kspace, mask, maps, iterations=60, tolerance=1e-12, regularization=0.3)
        assert relative_error(found, exact) < 1e-9

    def test_members_of_a_batch_do_not_meet(self) -> None:
        maps, mask = unit_maps(3, 8, 8), make_mask("random", (8,), 2, seed=3)
        kspace = torch.stack([1e6 * random(3, 8, 8), torch.zeros(3, 8, 8), random(3, 8, 8, seed=5)])
        together = cg_sense(kspace, mask, maps, iterations=10)
        for one, alone in zip(together, kspace, strict=True):
            assert torch.allclose(one, cg_sense(alone, mask, maps, iterations=10), rtol=1e-8, atol=0)
        assert (together[1] == 0).all()

    def test_agrees_with_bart(self, bart_binary: str) -> None:
        maps = unit_maps(4, 24, 20, dtype=torch.complex64)
        mask = make_mask("equispaced_fraction", (20,), 2, 0.2, seed=0)
        kspace = SenseOp(maps, mask).forward(random(24, 20, dtype=torch.complex64))
        theirs = pics(
            kspace.numpy(),
            maps.numpy(),
            regularization=None,
            iterations=200,
            pattern=mask.numpy(),
            options=["-l2", "-r", "0.01"],
            scale=1.0,
            binary=bart_binary,
        ).image
        ours = cg_sense(kspace, mask, maps, iterations=200, tolerance=1e-7, regularization=0.01)
        assert relative_error(ours, torch.from_numpy(np.ascontiguousarray(theirs))) < 1e-4


class TestKspaceResidual:
    def test_zero_for_the_truth_and_one_for_nothing(self) -> None:
        maps, image, mask = unit_maps(4, 9, 8), random(2, 9, 8), make_mask("random", (8,), 2, seed=0)
        kspace = SenseOp(maps, mask).forward(image)
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


class TestBadInput:
    def test_mask_type(self) -> None:
        with pytest.raises(ValueError, match=r"mask must be bool, got torch\.float32"):
            SenseOp(None, torch.ones(8))

    def test_mask_of_other_size(self) -> None:
        with pytest.raises(ValueError, match=r"mask \(7,\) does not broadcast to sens_maps \(4, 9, 8\)"):
            SenseOp(unit_maps(4, 9, 8), torch.ones(7, dtype=torch.bool))
        with pytest.raises(ValueError, match=r"mask \(7,\) does not broadcast to kspace \(9, 8\)"):
            SenseOp(None, torch.ones(7, dtype=torch.bool)).forward(random(9, 8))
        with pytest.raises(ValueError, match=r"mask \(3, 1, 1, 8\) does not broadcast to kspace \(4, 9, 8\)"):
            SenseOp(unit_maps(4, 9, 8), torch.ones(3, 1, 1, 8, dtype=torch.bool)).forward(random(9, 8))

    def test_maps_without_coils(self) -> None:
        with pytest.raises(ValueError, match=r"sens_maps needs \(..., coils, ny, nx\), got shape \(9, 8\)"):
            SenseOp(random(9, 8))

    @pytest.mark.parametrize("shape", [(8, 9), (2, 9, 8)])
    def test_image_of_other_size(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"image \(.*\) does not fit sens_maps \(3, 4, 9, 8\)"):
            SenseOp(unit_maps(3, 4, 9, 8)).forward(random(*shape))

    @pytest.mark.parametrize("shape", [(9, 8), (3, 9, 8), (4, 8, 9), (2, 4, 9, 8)])
    def test_kspace_of_other_size(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"kspace \(.*\) does not fit sens_maps \(3, 4, 9, 8\)"):
            SenseOp(unit_maps(3, 4, 9, 8)).adjoint(random(*shape))
