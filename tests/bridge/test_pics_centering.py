from __future__ import annotations

import numpy as np
import pytest

from csmri_ext.bridge.bart_program.pics_centering import center_for_pics
from csmri_ext.bridge.bart_program.tools import pics


def centered_fft2(image):
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, axes=(-2, -1)), norm="ortho"), axes=(-2, -1))


@pytest.mark.parametrize("shape", [(16, 16), (16, 18), (18, 22), (15, 16), (16, 15), (13, 21), (16, 1), (181, 230)])
@pytest.mark.parametrize("n_coils", [1, 3])
def test_pics_returns_a_fully_sampled_image_where_it_was(bart_binary, rng_image, shape, n_coils):
    image = rng_image(shape)
    sens_maps = np.ones((1, *shape)) if n_coils == 1 else rng_image((n_coils, *shape))
    sens_maps = (sens_maps / np.sqrt(np.sum(np.abs(sens_maps) ** 2, axis=0))).astype(np.complex64)
    kspace = centered_fft2(sens_maps * image).astype(np.complex64)
    recon = pics(
        kspace, sens_maps, regularization=None, iterations=50, pattern=np.ones(shape), binary=bart_binary
    ).image
    assert np.linalg.norm(recon - image) <= 1e-5 * np.linalg.norm(image)


def test_multiples_of_four_are_left_alone_without_asking_bart():
    kspace = np.ones((2, 12, 8), np.complex64)
    assert center_for_pics(kspace, "no such program") is kspace


@pytest.fixture
def rng_image():
    rng = np.random.default_rng(1)
    return lambda shape: (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
