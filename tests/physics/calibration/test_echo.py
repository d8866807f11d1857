"""Calibration follows the echo: an off-centre one costs nothing in its own lines, and little in those of the middle."""

from __future__ import annotations

import functools
import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from csmri_ext.bridge import ecalib
from csmri_ext.phantom import phantom_acquisition
from csmri_ext.physics import (
    calibration_block,
    calibration_offset,
    calibration_shortfall,
    cg_sense,
    ecalib_shortfall,
    estimate_sens_maps,
    find_echo,
)
from csmri_ext.recon.bart_methods import ecalib_around_echo

N, LINES = 96, 16
ANATOMIES = ("brain", "body", "abstract")


@functools.cache
def phantoms() -> list[tuple[Tensor, Tensor]]:
    scans = [phantom_acquisition(1, N, i, n_coils=6, anatomy=name, noise=0.001) for i, name in enumerate(ANATOMIES)]
    assert all(scan.target is not None for scan in scans)
    return [(torch.from_numpy(np.array(s.kspace[0])), torch.from_numpy(np.array(s.target[0]))) for s in scans]


def columns(middle: int, comb: int = 1) -> Tensor:
    mask = torch.zeros(N, dtype=torch.bool)
    mask[comb % 3 :: 3] = True
    mask[middle - LINES // 2 : middle + LINES // 2] = True
    return mask


@functools.cache
def complete_maps() -> list[Tensor]:
    return [estimate_sens_maps(kspace) for kspace, _ in phantoms()]


def quality(echo: tuple[int, int], mask: Tensor, method: str = "espirit", count: int = 3) -> float:
    """Mean PSNR of CG-SENSE over phantoms whose echo lies so many rows and columns off the middle.

    By ``complete``, the maps are those that complete data give.
    """
    found = []
    for i, (kspace, target) in enumerate(phantoms()[:count]):
        measured = kspace.roll(echo, (-2, -1)) * mask
        maps = complete_maps()[i] if method == "complete" else estimate_sens_maps(measured, mask, method)
        image = cg_sense(measured, mask, maps, iterations=12, regularization=0.001).abs()
        found.append(10 * math.log10(float(target.max() ** 2 / (image - target).square().mean())))
    return sum(found) / len(found)


@pytest.fixture(scope="module")
def centred() -> float:
    return quality((0, 0), columns(N // 2))


class TestBandAroundTheEcho:
    @pytest.mark.parametrize("echo", [(0, 6), (0, -9), (7, 0), (5, 6)])
    def test_as_good_as_in_the_middle(self, centred: float, echo: tuple[int, int]) -> None:
        """Shifts by multiples of the comb's spacing: the same samples of the same object."""
        assert quality(echo, columns(N // 2 + echo[1])) == pytest.approx(centred, abs=0.05)

    @pytest.mark.parametrize("method", ["low_resolution", "adaptive"])
    def test_by_every_method(self, method: str) -> None:
        expected = quality((0, 0), columns(N // 2), method, 1)
        assert quality((6, 6), columns(N // 2 + 6), method, 1) == pytest.approx(expected, abs=0.05)

    def test_maps_are_those_of_the_middle(self) -> None:
        (kspace, _), *_ = phantoms()
        mask = columns(N // 2)
        expected = estimate_sens_maps(kspace * mask, mask)
        rolled = estimate_sens_maps((kspace * mask).roll(6, -1), mask.roll(6, -1))
        torch.testing.assert_close(rolled, expected, atol=1e-3, rtol=0)

    def test_in_the_plane(self) -> None:
        (kspace, _), *_ = phantoms()
        mask = torch.zeros(N, N, dtype=torch.bool)
        mask[N // 2 - 10 : N // 2 + 10, N // 2 - 9 : N // 2 + 9] = True
        expected = estimate_sens_maps(kspace * mask, mask)
        mask, kspace = mask.roll((8, -11), (0, 1)), kspace.roll((8, -11), (-2, -1))
        torch.testing.assert_close(estimate_sens_maps(kspace * mask, mask), expected, atol=1e-3, rtol=0)

    def test_every_slice_has_its_own(self) -> None:
        (first, _), (second, _), *_ = phantoms()
        mask = columns(N // 2) | columns(N // 2 + 6)
        batch = torch.stack([first, second.roll((4, 6), (-2, -1))]) * mask
        together = estimate_sens_maps(batch, mask)
        for one, alone in zip(together, batch, strict=True):
            torch.testing.assert_close(one, estimate_sens_maps(alone, mask), atol=1e-5, rtol=0)


class TestBandInTheMiddle:
    @pytest.mark.parametrize(("shift", "loss"), [(2, 1), (5, 1.5), (7, 2.2), (-7, 1.5), (-8, 2.2)])
    def test_an_echo_near_its_end_costs_little(self, shift: int, loss: float) -> None:
        """Beside maps of complete data, 3 to 8 dB before: the patches without the echo had been taken for noise."""
        expected = quality((0, shift), columns(N // 2), "complete")
        assert quality((0, shift), columns(N // 2)) > expected - loss

    def test_an_echo_outside_is_said_in_one_line(self) -> None:
        with pytest.warns(UserWarning, match=rf"row {N // 2}, column {N // 2 + 10}, outside the fully sampled block"):
            found = quality((0, 10), columns(N // 2))
        assert found > quality((0, 10), columns(N // 2), "complete") - 5

    def test_whoever_says_it_elsewhere_is_told(self) -> None:
        (kspace, _), *_ = phantoms()
        told: list[str] = []
        mask = columns(N // 2)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            estimate_sens_maps(kspace.roll(10, -1) * mask, mask, told=told.append)
        assert len(told) == 1


class TestBlock:
    @pytest.mark.parametrize(
        ("sampled", "echo", "block"),
        [
            ("0000001111000000", 8, slice(6, 10)),
            ("0000001111000000", 9, slice(6, 10)),  # at the end, and still in it
            ("0001111000000000", 5, slice(3, 7)),
            ("0001111111100000", 5, slice(3, 11)),  # larger than what lies evenly around the echo
            ("0111111100000000", 4, slice(1, 8)),
            ("0011111100011000", 12, slice(11, 13)),  # nothing better in the middle
            ("0000011111100100", 13, slice(5, 11)),  # the echo is not in it
            ("0100000000000000", 1, slice(1, 2)),
        ],
    )
    def test_of_columns(self, sampled: str, echo: int, block: slice) -> None:
        mask = np.array([flag == "1" for flag in sampled])
        assert calibration_block(mask, (0, echo)) == (block,)
        assert calibration_block(np.tile(mask, (9, 1)), (2, echo)) in ((slice(0, 9), block), (slice(0, 5), block))

    def test_an_echo_in_the_middle_changes_nothing(self) -> None:
        generator = torch.Generator().manual_seed(0)
        for _ in range(200):
            mask = torch.rand(11, 14, generator=generator) < 0.9
            assert calibration_block(mask, (5, 7)) == calibration_block(mask)

    def test_rectangles_are_the_largest(self) -> None:
        from csmri_ext.physics.mask_properties import _rectangle_with

        rng = np.random.default_rng(0)
        for _ in range(30):
            plane, (row, column) = rng.random((7, 8)) < 0.85, rng.integers(7, size=2)
            best = (0, 0)
            for top, bottom in ((t, b) for t in range(row + 1) for b in range(row + 1, 8)):
                for left, right in ((le, r) for le in range(column + 1) for r in range(column + 1, 9)):
                    if plane[top:bottom, left:right].all():
                        sides = bottom - top, right - left
                        best = max(best, (min(sides), sides[0] * sides[1]))
            rows, across = _rectangle_with(plane, (int(row), int(column)))
            sides = rows.stop - rows.start, across.stop - across.start
            assert (min(sides), sides[0] * sides[1]) == best

    def test_shortfalls_look_around_the_echo(self) -> None:
        mask = np.zeros(64, bool)
        mask[40:52] = True
        assert "64 x 0" in str(calibration_shortfall(mask, (64, 64)))
        assert calibration_shortfall(mask, (64, 64), (32, 46)) is None
        assert ecalib_shortfall(mask, 64) is not None
        assert ecalib_shortfall(mask, 64, (32, 46)) is None


def test_find_echo() -> None:
    (kspace, _), *_ = phantoms()
    assert find_echo(kspace) == find_echo(kspace.numpy()) == (N // 2, N // 2)
    assert find_echo(1e-30 * kspace.to(torch.complex128).roll((-5, 9), (-2, -1))) == (N // 2 - 5, N // 2 + 9)
    noise = torch.randn(4, 9, 12, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    assert find_echo(noise) == find_echo(0 * noise) == (4, 6)


class TestBart:
    @pytest.mark.parametrize(
        ("echo", "band", "offset"),
        [((0, 0), 0, (0, 0)), ((0, 1), 0, (0, 0)), ((0, 6), 0, (0, 0)), ((7, 9), 9, (-7, -9)), ((2, -9), -9, (0, 9))],
    )
    def test_how_far_to_roll(self, echo: tuple[int, int], band: int, offset: tuple[int, int]) -> None:
        place = N // 2 + echo[0], N // 2 + echo[1]
        assert calibration_offset(columns(N // 2 + band), (N, N), place) == offset

    def test_maps_are_those_of_the_middle(self, bart_binary: str) -> None:
        """Up to a phase that coils share."""
        (kspace, _), *_ = phantoms()
        mask = columns(N // 2).numpy()
        measured = kspace.numpy() * mask
        expected = ecalib(measured, binary=bart_binary)
        np.testing.assert_array_equal(ecalib_around_echo(measured, mask, binary=bart_binary), expected)
        rolled, own = np.roll(measured, (8, 9), (-2, -1)), np.roll(mask, 9)
        found = ecalib_around_echo(np.stack([rolled, rolled]), own, binary=bart_binary)[1]
        kept = (np.abs(expected).sum(0) > 0) & (np.abs(found).sum(0) > 0)
        assert kept.mean() > 0.95 * (np.abs(expected).sum(0) > 0).mean() > 0.2
        assert np.abs((found.conj() * expected).sum(0))[kept].min() > 0.999
