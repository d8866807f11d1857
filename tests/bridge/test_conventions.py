from __future__ import annotations

import numpy as np
import pytest

from csmri_ext.bridge import looks_dc_at_corner, sampling_pattern
from csmri_ext.bridge.fourier import fft2c


def smooth_image(ny: int, nx: int) -> np.ndarray:
    y, x = np.mgrid[:ny, :nx]
    return np.exp(-(((y - ny / 3) / ny * 4) ** 2) - ((x - nx / 2) / nx * 5) ** 2) * np.exp(1j * x / nx * 9)


@pytest.mark.parametrize("shape", [(64, 48), (63, 47), (8, 9), (320, 320)])
def test_dc_of_kspace(shape: tuple[int, int]) -> None:
    kspace = fft2c(smooth_image(*shape))
    assert not looks_dc_at_corner(kspace)
    assert looks_dc_at_corner(np.fft.ifftshift(kspace))
    coils = np.stack([kspace, 2 * kspace])
    assert looks_dc_at_corner(np.fft.ifftshift(coils, axes=(1, 2)))


@pytest.mark.parametrize("n", [128, 255, 320])
@pytest.mark.parametrize("acceleration", [4, 8])
@pytest.mark.parametrize("as_type", [bool, np.float32])
def test_dc_of_masks(n: int, acceleration: int, as_type: type) -> None:
    columns = np.arange(n) % acceleration == 0
    center = int(n * 0.32 / acceleration)
    columns[(n - center) // 2 : (n + center) // 2] = True
    mask = columns.astype(as_type)
    assert not looks_dc_at_corner(mask)
    assert looks_dc_at_corner(np.fft.ifftshift(mask))
    plane = np.broadcast_to(mask, (96, n))
    assert not looks_dc_at_corner(plane)
    assert looks_dc_at_corner(np.fft.ifftshift(plane))


def test_no_dc_to_see() -> None:
    assert not looks_dc_at_corner(np.ones(64, bool))
    assert not looks_dc_at_corner(np.zeros((8, 8)))
    assert not looks_dc_at_corner(np.random.default_rng(0).standard_normal((64, 64)))
    with pytest.raises(ValueError, match="a single number"):
        looks_dc_at_corner(np.float32(1))


def test_radial_masks_of_other_toolboxes(vectors) -> None:
    y, x = np.mgrid[-128:128, -128:128]
    angles = np.pi * np.arange(27) / 27
    distance = np.abs(y * np.cos(angles)[:, None, None] - x * np.sin(angles)[:, None, None])
    mask = (distance < 0.5).any(axis=0)
    assert not looks_dc_at_corner(mask)
    assert looks_dc_at_corner(np.fft.fftshift(mask))


def test_sampling_patterns() -> None:
    rng = np.random.default_rng(0)
    full = rng.standard_normal((3, 10, 12, 2)) @ [1, 1j]
    assert sampling_pattern(full) is None
    one_coil_silent = full.copy()
    one_coil_silent[0] = 0
    assert sampling_pattern(one_coil_silent) is None
    columns = np.arange(12) % 3 == 0
    np.testing.assert_array_equal(sampling_pattern(full * columns), columns)
    dots = rng.random((10, 12)) < 0.4
    np.testing.assert_array_equal(sampling_pattern(full * dots), dots)
    rows = np.arange(10)[:, None] % 2 == 0
    np.testing.assert_array_equal(sampling_pattern(full * rows), np.broadcast_to(rows, (10, 12)))
    padded = np.zeros_like(full)
    padded[:, 2:, 1:9] = full[:, 2:, 1:9]  # zero padding, partial Fourier
    assert sampling_pattern(padded) is None
    np.testing.assert_array_equal(sampling_pattern(padded * columns), columns & (np.abs(np.arange(12) - 4.5) < 4))
