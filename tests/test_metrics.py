from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from csmri_ext import metrics
from csmri_ext.metrics import METRIC_VARIANT, mse, nmse, over_volumes, psnr, slice_psnr, slice_ssim, ssim

VECTORS = json.loads((Path(__file__).parent / "vectors" / "metric_vectors.json").read_text())
CASES = VECTORS["cases"]
METRICS = {"MSE": mse, "NMSE": nmse, "PSNR": psnr, "SSIM": ssim}
MAXVAL_GIVEN = 3.7e-4


def volumes(case: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The recipe that the vectors state."""
    rng = np.random.RandomState(case["seed"])
    n, n_slices = case["n"], case["n_slices"]
    y, x = np.mgrid[0:n, 0:n].astype(np.float64) / n
    target = np.stack([(np.sin(7 * x + s) + np.cos(5 * y * (s + 1)) + 2) * 1e-4 for s in range(n_slices)])
    target += 1e-5 * rng.rand(n_slices, n, n)
    recon = np.abs(target + case["noise"] * 1e-4 * rng.randn(n_slices, n, n))
    return target.astype(case["dtype"]), recon.astype(case["dtype"])


@pytest.fixture(params=CASES, ids=lambda case: f"{case['case']}-{case['dtype']}", name="case")
def _case(request: pytest.FixtureRequest) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    target, recon = volumes(request.param)
    assert target.max() == pytest.approx(request.param["gt_max"], rel=1e-7)
    assert recon.sum(dtype=np.float64) == pytest.approx(request.param["pred_sum"], rel=1e-7)
    return request.param, target, recon


@pytest.mark.parametrize("name", METRICS)
def test_fastmri_vectors(case: tuple[dict[str, Any], np.ndarray, np.ndarray], name: str) -> None:
    expected, target, recon = case
    value = METRICS[name](target, recon)
    assert isinstance(value, float)
    assert value == pytest.approx(expected[name], rel=1e-6)


def test_given_data_range(case: tuple[dict[str, Any], np.ndarray, np.ndarray]) -> None:
    expected, target, recon = case
    assert psnr(target, recon, MAXVAL_GIVEN) == pytest.approx(expected["PSNR_maxval_given"], rel=1e-6)
    assert ssim(target, recon, MAXVAL_GIVEN) == pytest.approx(expected["SSIM_maxval_given"], rel=1e-6)


def test_slices(case: tuple[dict[str, Any], np.ndarray, np.ndarray]) -> None:
    expected, target, recon = case
    assert slice_psnr(target, recon).shape == slice_ssim(target, recon).shape == (expected["n_slices"],)
    assert slice_psnr(target, recon).mean() == pytest.approx(expected["PSNR_mean_of_slices_volume_max"], rel=1e-6)
    assert slice_ssim(target, recon).mean() == pytest.approx(expected["SSIM"], rel=1e-6)


def test_the_variants_that_it_is_not(case: tuple[dict[str, Any], np.ndarray, np.ndarray]) -> None:
    expected, target, recon = case
    assert abs(ssim(target, recon) - expected["SSIM_gaussian_wang"]) > 0.005
    if expected["n_slices"] > 1:
        assert abs(psnr(target, recon) - expected["PSNR_mean_of_slices_slice_max"]) > 1e-3


@pytest.mark.parametrize("name", METRICS)
def test_summary_over_volumes(name: str) -> None:
    values = [METRICS[name](*volumes(case)) for case in CASES if case["dtype"] == "float32" and case["case"] in "ABC"]
    summary = over_volumes(values)
    assert summary.n == 3
    assert summary.mean == pytest.approx(VECTORS["aggregate"]["means"][name], rel=1e-6)
    assert summary.std == pytest.approx(VECTORS["aggregate"]["stddevs"][name], rel=1e-6)
    assert summary.two_std == 2 * summary.std


@pytest.mark.parametrize("name", METRICS)
def test_constant_slice(name: str) -> None:
    target = np.zeros((2, 16, 16), np.float32)
    target[0, 4:12, 4:12] = 1
    recon = target.copy()
    recon[1] += 0.01
    assert METRICS[name](target, recon) == pytest.approx(VECTORS["edge"][name], rel=1e-6)


def test_written_out() -> None:
    rng = np.random.default_rng(0)
    target, recon = rng.random((2, 3, 9, 8))
    error = ((target - recon) ** 2).mean()
    assert mse(target, recon) == pytest.approx(error, rel=1e-14)
    assert nmse(target, recon) == pytest.approx(error / (target**2).mean(), rel=1e-14)
    assert psnr(target, recon) == pytest.approx(20 * math.log10(target.max()) - 10 * math.log10(error), rel=1e-14)
    slices = [structural_similarity(t, r, data_range=target.max()) for t, r in zip(target, recon, strict=True)]
    assert ssim(target, recon) == pytest.approx(np.mean(slices), rel=1e-14)


def test_equal_volumes() -> None:
    target = np.random.default_rng(0).random((2, 9, 8))
    assert mse(target, target) == nmse(target, target) == 0
    assert psnr(target, target) == math.inf
    assert ssim(target, target) == 1
    assert (slice_psnr(target, target) == math.inf).all()


def test_tensors_and_single_slices() -> None:
    target, recon = np.random.default_rng(0).random((2, 3, 9, 8)).astype(np.float32)
    for metric in METRICS.values():
        assert metric(torch.from_numpy(target), torch.from_numpy(recon)) == metric(target, recon)
        assert metric(target[0], recon[0]) == metric(target[:1], recon[:1])


def test_integers_do_not_wrap() -> None:
    assert mse(np.full((1, 8, 8), 3, np.uint8), np.full((1, 8, 8), 5, np.uint8)) == 4


def test_nan_is_not_hidden() -> None:
    target = np.ones((1, 8, 8))
    recon = target.copy()
    recon[0, 4, 4] = np.nan
    assert all(math.isnan(metric(target, recon)) for metric in METRICS.values())


def test_variant_names_what_matters() -> None:
    for word in ("fastMRI", "volume", "data range", "maximum", "uniform 7 x 7"):
        assert word in METRIC_VARIANT


def test_summary_in_words() -> None:
    assert f"{over_volumes([1.0, 2.0, 3.0]):.2f}" == "2.00 ± 1.00"
    assert str(over_volumes([0.5])) == "0.5"
    assert math.isnan(over_volumes([0.5]).std)
    with pytest.raises(ValueError, match="no values"):
        over_volumes([])


@pytest.mark.parametrize("unit", [1e-30, 1e-7, 1, 1e25])
def test_float32_volumes_in_any_unit(unit: float) -> None:
    """Squares that float32 cannot hold are added in float64; 75 x 320 pixels are not a multiple of any part."""
    generator = np.random.default_rng(0)
    target = (generator.random((2, 75, 320)) * unit).astype(np.float32)
    recon = (target * (1 + 1e-3 * generator.standard_normal(target.shape))).astype(np.float32)
    recon[1] = target[1]
    wide = target.astype(np.float64), recon.astype(np.float64)
    assert nmse(target, recon) == pytest.approx(nmse(*wide), rel=3e-7)
    assert psnr(target, recon) == pytest.approx(psnr(*wide), abs=3e-6)
    assert slice_psnr(target, recon)[1] == math.inf


class TestBadInput:
    @pytest.mark.parametrize("metric", [*METRICS.values(), slice_psnr, slice_ssim])
    def test_shapes_are_both_named(self, metric: Any) -> None:
        with pytest.raises(ValueError, match=r"target has shape \(2, 9, 8\), but recon has shape \(2, 8, 9\)"):
            metric(np.ones((2, 9, 8)), np.ones((2, 8, 9)))

    @pytest.mark.parametrize("shape", [(8,), (2, 1, 8, 8), (0, 8, 8)])
    def test_axes(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"volumes \(slices, h, w\) or one slice \(h, w\), got shape"):
            mse(np.ones(shape), np.ones(shape))

    def test_complex(self) -> None:
        with pytest.raises(ValueError, match="recon is complex64: take its absolute value"):
            psnr(np.ones((1, 8, 8)), np.ones((1, 8, 8), np.complex64))

    @pytest.mark.parametrize("metric", [nmse, psnr, ssim])
    def test_empty_target(self, metric: Any) -> None:
        with pytest.raises(ValueError, match="the data range must be positive, got 0"):
            metric(np.zeros((1, 8, 8)), np.ones((1, 8, 8)))

    def test_slices_smaller_than_the_window(self) -> None:
        with pytest.raises(ValueError, match=r"at least 7 x 7, got \(6, 9\)"):
            ssim(np.ones((1, 6, 9)), np.ones((1, 6, 9)))

    def test_unknown_name(self) -> None:
        with pytest.raises(AttributeError, match="no attribute 'lpips'"):
            _ = metrics.lpips


def test_image_metrics_do_without_torch() -> None:
    code = "import sys, csmri_ext.metrics; assert 'torch' not in sys.modules; csmri_ext.metrics.count_flops"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


@pytest.mark.parametrize("shape", [(2, 7, 7), (2, 40, 33), (1, 75, 320)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_ssim_is_that_of_scikit_image(shape: tuple[int, ...], dtype: type) -> None:
    """In float64, to its rounding, with strips that do and do not fill the slice."""
    generator = np.random.default_rng(0)
    target, recon = (generator.uniform(0, 200, shape).astype(dtype) for _ in range(2))
    pairs = zip(target.astype(float), recon.astype(float), strict=True)
    expected = [structural_similarity(t, r, data_range=float(target.max())) for t, r in pairs]
    np.testing.assert_allclose(slice_ssim(target, recon), expected, atol=1e-12)


def test_images_in_float64_stay_in_it() -> None:
    rng = np.random.default_rng(0)
    target, recon = rng.random((1, 300, 200)), rng.random((1, 300, 200))
    assert metrics.mse(target, recon) == pytest.approx(((target - recon) ** 2).mean(), rel=1e-13)
    assert metrics.nmse(target, recon) == pytest.approx(((target - recon) ** 2).sum() / (target**2).sum(), rel=1e-13)
