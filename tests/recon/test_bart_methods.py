from __future__ import annotations

import numpy as np
import pytest
from made_slices import ifft2c, make_slice, relative_difference

from csmri_ext.bridge import BartError, ecalib
from csmri_ext.iterative.tv import tv, tv_volume
from csmri_ext.recon.bart_methods import tv_bart, wavelet_bart


def test_tv_bart_is_tv(bart_binary):
    made = make_slice((64, 60), 3)
    result = tv_bart(made.kspace, made.mask, made.sens_maps, weight=0.02, iterations=100, binary=bart_binary)
    expected = tv(made.kspace, made.mask, made.sens_maps, weight=0.02, iterations=100)
    assert relative_difference(result.image, expected) <= 1e-5
    assert result.image.dtype == np.complex64
    assert result.argv == [
        ["bart", "pics", "-S", "-i", "100", "-R", "T:3:0:0.02", "-p", "pattern", "kspace", "sens_maps", "image"]
    ]


@pytest.mark.parametrize("processes", [1, 2])
def test_volume_has_a_scale_per_slice_and_keeps_its_order(bart_binary, processes):
    made = make_slice((48, 52))
    kspace = np.stack([made.kspace, 100 * made.kspace[:, ::-1], made.kspace.conj()])
    result = tv_bart(kspace, made.mask, iterations=40, processes=processes, binary=bart_binary)
    expected = tv_volume(kspace, made.mask, iterations=40)
    for image, reference in zip(result.image, expected, strict=True):
        assert relative_difference(image, reference) <= 1e-5


def test_each_slice_may_have_its_own_mask(bart_binary):
    first, second = (make_slice((48, 52), mask="points", seed=seed) for seed in (1, 2))
    masks = np.stack([first.mask, second.mask])
    result = tv_bart(np.stack([first.kspace, second.kspace]), masks, iterations=20, binary=bart_binary)
    assert relative_difference(result.image[1], tv(second.kspace, second.mask, iterations=20)) <= 1e-5


def test_one_coil_gets_maps_of_ones_never_ecalib(bart_binary):
    made = make_slice((48, 48))
    for kspace in (made.kspace, made.kspace[0]):
        result = tv_bart(kspace, made.mask, iterations=20, binary=bart_binary)
        assert result.sens_maps is None
        assert [command[1] for command in result.argv] == ["pics"]
        assert result.image.shape == (48, 48)
        assert result.image.all()  # ecalib would cut the background off


@pytest.mark.parametrize("method", [tv_bart, wavelet_bart])
def test_several_coils_without_maps_are_calibrated_on_what_was_acquired(bart_binary, method):
    made = make_slice((64, 64), 4, acceleration=2, noise=0)
    result = method(made.kspace, made.mask, iterations=30, binary=bart_binary)
    maps = ecalib(made.undersampled, binary=bart_binary)
    assert [command[:4] for command in result.argv] == [["bart", "ecalib", "-m", "1"], ["bart", "pics", "-S", "-i"]]
    np.testing.assert_array_equal(result.sens_maps, maps)
    given = method(made.kspace, made.mask, maps, iterations=30, binary=bart_binary)
    np.testing.assert_array_equal(result.image, given.image)


@pytest.mark.parametrize("shape", [(64, 64), (62, 63)])
def test_wavelets_suppress_aliasing_and_repeat_exactly(bart_binary, shape):
    made = make_slice(shape, mask="points", acceleration=3)
    result = wavelet_bart(made.kspace, made.mask, weight=0.005, binary=bart_binary)
    zero_filled = relative_difference(ifft2c(made.undersampled[0]), made.image)
    assert relative_difference(result.image, made.image) < 0.8 * zero_filled
    assert "W:3:0:0.005" in result.argv[0]
    again = wavelet_bart(made.kspace, made.mask, weight=0.005, binary=bart_binary)
    np.testing.assert_array_equal(result.image, again.image)


def test_stronger_wavelet_weights_leave_less(bart_binary):
    made = make_slice((64, 64))
    energies = [
        np.linalg.norm(wavelet_bart(made.kspace, made.mask, weight=weight, iterations=20, binary=bart_binary).image)
        for weight in (0.1, 1.0, 10.0)
    ]
    assert energies[0] > energies[1] > energies[2]


def test_weights_reach_bart_in_full_precision(bart_binary):
    made = make_slice((32, 32))
    result = tv_bart(made.kspace, made.mask, weight=np.float64(0.01234567), iterations=5, binary=bart_binary)
    assert "T:3:0:0.01234567" in result.argv[0]


@pytest.mark.parametrize(
    ("kspace", "mask", "message"),
    [
        (np.ones((1, 8, 8)), np.ones((8, 9)), r"\(8, 9\)"),
        (np.ones((1, 8, 8)), np.zeros(8), "zero"),
        (np.full((1, 8, 8), np.nan), np.ones(8), "NaN"),
    ],
)
def test_bad_input_is_named(bart_binary, kspace, mask, message):
    with pytest.raises(ValueError, match=message):
        tv_bart(kspace, mask, binary=bart_binary)


def test_missing_bart_is_a_bart_error(tmp_path):
    with pytest.raises(BartError, match="no BART program at"):
        tv_bart(np.ones((1, 8, 8)), np.ones(8), binary=tmp_path / "bart")
