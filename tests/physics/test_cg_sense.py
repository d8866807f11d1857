from __future__ import annotations

import numpy as np
import pytest
import torch
from tolerance import relative_error
from torch import Tensor

from csmri_ext.bridge import pics
from csmri_ext.physics import Encoding, cg_sense, make_mask, rss


def random(*shape: int, dtype: torch.dtype = torch.complex128, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def unit_maps(*shape: int, dtype: torch.dtype = torch.complex128) -> Tensor:
    maps = random(*shape, dtype=dtype, seed=7)
    return maps / rss(maps).unsqueeze(-3)


class TestCgSense:
    def test_fully_sampled_data_are_inverted(self) -> None:
        maps, image = unit_maps(4, 9, 8), random(2, 9, 8)
        kspace = Encoding(None, None, maps).forward(image)
        assert relative_error(cg_sense(kspace, None, maps, iterations=3), image) < 1e-10

    def test_aliasing_is_unfolded(self) -> None:
        maps, image = unit_maps(6, 16, 16), random(16, 16)
        mask = make_mask("equispaced", (16,), 2, 0, seed=0)
        kspace = Encoding(None, mask, maps).forward(image)
        assert relative_error(Encoding(None, mask, maps).adjoint(kspace), image) > 0.3
        assert relative_error(cg_sense(kspace, mask, maps, iterations=100, tolerance=1e-12), image) < 1e-8

    def test_solves_the_regularized_normal_equations(self) -> None:
        maps, mask = unit_maps(3, 5, 4), make_mask("random", (5, 4), 2, seed=3)
        kspace = random(3, 5, 4)
        operator = Encoding(None, mask, maps)
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

    @pytest.mark.parametrize("scale", [1e-20, 1e-30, 1e18, 1e30])
    def test_the_unit_of_the_data(self, scale: float) -> None:
        maps, mask = unit_maps(4, 9, 8, dtype=torch.complex64), make_mask("random", (8,), 2, seed=0)
        kspace = random(4, 9, 8, dtype=torch.complex64)
        found = cg_sense(scale * kspace, mask, maps)
        assert relative_error(found / scale, cg_sense(kspace, mask, maps)) < 1e-4

    @pytest.mark.parametrize("bad", [torch.nan, torch.inf])
    def test_bad_samples_are_an_error_where_they_count(self, bad: float) -> None:
        maps, mask = unit_maps(4, 9, 8), torch.tensor([True, False] * 4)
        kspace = random(4, 9, 8)
        expected = cg_sense(kspace, mask, maps)
        kspace[0, 0, 1] = bad
        assert torch.equal(cg_sense(kspace, mask, maps), expected)
        kspace[0, 0, 0] = bad
        with pytest.raises(ValueError, match=r"kspace \(4, 9, 8\) has NaN or infinite values at 1 sampled position"):
            cg_sense(kspace, mask, maps)

    @pytest.mark.parametrize("bad", [torch.nan, torch.inf])
    def test_bad_maps_and_weights_are_an_error(self, bad: float) -> None:
        """They gave an image of zeros."""
        maps, kspace = unit_maps(4, 9, 8), random(4, 9, 8)
        with pytest.raises(ValueError, match=r"regularization must be a number of 0 or more, got"):
            cg_sense(kspace, None, maps, regularization=bad)
        maps[1, 2, 3] = bad
        with pytest.raises(ValueError, match=r"sens_maps \(4, 9, 8\) have NaN or infinite values"):
            cg_sense(kspace, None, maps)

    def test_agrees_with_bart(self, bart_binary: str) -> None:
        maps = unit_maps(4, 24, 20, dtype=torch.complex64)
        mask = make_mask("equispaced_fraction", (20,), 2, 0.2, seed=0)
        kspace = Encoding(None, mask, maps).forward(random(24, 20, dtype=torch.complex64))
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
