from __future__ import annotations

import numpy as np
import pytest

from csmri_ext.bridge.fourier import center_crop, fft2c, ifft2c


def test_numpy_fourier_is_unitary_centred_and_crops_like_fastmri() -> None:
    for shape in [(7, 8), (9, 5), (6, 4), (3, 10, 14)]:
        rng = np.random.default_rng(0)
        image = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
        kspace = fft2c(image)
        assert np.linalg.norm(kspace) == pytest.approx(np.linalg.norm(image), rel=1e-6)
        np.testing.assert_allclose(ifft2c(kspace), image, atol=1e-6)
        impulse = np.zeros(shape)
        impulse[..., shape[-2] // 2, shape[-1] // 2] = 1
        np.testing.assert_allclose(fft2c(impulse), 1 / np.sqrt(shape[-2] * shape[-1]), atol=1e-7)
    np.testing.assert_array_equal(center_crop(np.eye(7), (3, 3)), np.eye(3))
    numbers = np.arange(42).reshape(6, 7)  # odd differences leave one more behind than before
    np.testing.assert_array_equal(center_crop(numbers, (3, 4)), numbers[1:4, 1:5])
    with pytest.raises(ValueError, match="cannot crop 7 x 7 to 8 x 3"):
        center_crop(np.eye(7), (8, 3))
