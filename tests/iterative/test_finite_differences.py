from __future__ import annotations

import numpy as np
import pytest
from made_slices import complex_normal

from csmri_ext.iterative.finite_differences import gradient, gradient_adjoint, gradient_normal, gradient_spectrum

SHAPES = [(8, 8), (7, 12), (5, 3), (1, 6), (2, 2)]


@pytest.fixture
def image(request):
    return complex_normal(np.random.default_rng(0), request.param).astype(np.complex64)


def of(image):
    return gradient(image, out=np.empty((2, *image.shape), np.complex64))


@pytest.mark.parametrize("image", SHAPES, indirect=True)
def test_gradient_is_the_periodic_backward_difference(image):
    expected = np.stack([image - np.roll(image, 1, axis=axis) for axis in (0, 1)])
    np.testing.assert_array_equal(of(image), expected)


@pytest.mark.parametrize("image", SHAPES, indirect=True)
def test_adjoint_satisfies_the_dot_product_test(image):
    field = complex_normal(np.random.default_rng(1), (2, *image.shape)).astype(np.complex64)
    left, right = np.vdot(field, of(image)), np.vdot(gradient_adjoint(field), image)
    assert abs(left - right) <= 1e-5 * np.linalg.norm(field) * np.linalg.norm(image)


@pytest.mark.parametrize("image", SHAPES, indirect=True)
def test_normal_is_adjoint_after_gradient_and_diagonal_in_kspace(image):
    expected = gradient_adjoint(of(image))
    np.testing.assert_allclose(gradient_normal(image), expected, atol=1e-5)
    in_kspace = np.fft.ifft2(gradient_spectrum(image.shape) * np.fft.fft2(image))
    np.testing.assert_allclose(in_kspace, expected, atol=1e-5)
