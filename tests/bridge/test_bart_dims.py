from __future__ import annotations

import numpy as np
import pytest

from csmri_ext.bridge import CflError, bart, from_bart, to_bart
from csmri_ext.bridge.fourier import fft2c


def array(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.complex64).reshape(shape)


def bart_shape(**sizes: int) -> tuple[int, ...]:
    return tuple(sizes.get(f"d{i}", 1) for i in range(16))


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((5, 7), bart_shape(d0=7, d1=5)),
        ((3, 5, 7), bart_shape(d0=7, d1=5, d3=3)),
        ((4, 3, 5, 7), bart_shape(d0=7, d1=5, d3=3, d13=4)),
        ((4, 2, 3, 5, 7), bart_shape(d0=7, d1=5, d3=3, d4=2, d13=4)),
        ((1, 1, 1), bart_shape()),
    ],
)
def test_layout_shares_memory(shape: tuple[int, ...], dims: tuple[int, ...]) -> None:
    x = array(*shape)
    stored = to_bart(x)
    assert stored.shape == dims
    assert stored.flags.f_contiguous
    assert np.shares_memory(stored, x)
    assert stored.ravel(order="F").tobytes() == x.tobytes()
    np.testing.assert_array_equal(from_bart(stored, ndim=x.ndim), x)


def test_x_is_the_first_dimension() -> None:
    x = array(3, 5, 7)
    assert to_bart(x)[6, 4, 0, 2].item() == x[2, 4, 6]


@pytest.mark.parametrize("shape", [(3,), (), (1, 2, 3, 4, 5, 6)])
def test_to_bart_refuses_other_axes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(ny, nx\)"):
        to_bart(array(*shape))


@pytest.mark.parametrize("slice_dim", [10, 13, 15])
def test_slices_are_found(slice_dim: int) -> None:
    dims = [7, 5, 1, 3, *[1] * 12]
    dims[slice_dim] = 4
    stored = array(*dims)
    assert from_bart(stored).shape == (4, 3, 5, 7)
    index = [6, 4, 0, 2, *[0] * 12]
    index[slice_dim] = 1
    assert from_bart(stored)[1, 2, 4, 6] == stored[tuple(index)]


@pytest.mark.parametrize("dims", [(7, 5, 1, 3), (1, 7, 5, 3), (7, 1, 5, 3)])
def test_image_plane_is_found(dims: tuple[int, ...]) -> None:
    stored = array(*dims)
    np.testing.assert_array_equal(from_bart(stored, ndim=3), stored.reshape(7, 5, 3).T)


def test_other_dimension_as_x() -> None:
    stored = array(7, 5, 1, 3)
    np.testing.assert_array_equal(from_bart(stored, ndim=3, x_dim=1), stored[:, :, 0].transpose(2, 0, 1))
    np.testing.assert_array_equal(from_bart(stored, x_dim=0), from_bart(stored))
    with pytest.raises(CflError, match=r"x_dim must be one of the image plane \(0, 1\), got 2"):
        from_bart(stored, x_dim=2)


def test_degenerate_images() -> None:
    assert from_bart(array(5)).shape == (1, 1, 1, 5)
    assert from_bart(array(1, 5)).shape == (1, 1, 5, 1)
    assert from_bart(array(1)).shape == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ((4, 5, 6), r"4 x 5 x 6, not one plane\. Slices belong on dimension 13"),
        ((4, 5, 1, 2, 1, 3), r"dimensions 5 \(size 3\) have no place"),
        ((4, 5, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 3), r"dimensions 13 \(size 3\)"),
        ((4, 5, 1, 2, 2), r"\(1, 2, 2, 5, 4\) does not fit into 4 axes"),
    ],
)
def test_what_has_no_place_is_refused(dims: tuple[int, ...], message: str) -> None:
    with pytest.raises(CflError, match=message):
        from_bart(array(*dims))


def test_ndim() -> None:
    stored = array(4, 5, 1, 2, 3)
    assert from_bart(stored, ndim=5).shape == (1, 3, 2, 5, 4)
    with pytest.raises(CflError, match="does not fit into 2 axes"):
        from_bart(array(4, 5, 1, 2), ndim=2)
    with pytest.raises(ValueError, match="ndim must be 2 to 5, got 1"):
        from_bart(stored, ndim=1)


@pytest.mark.parametrize("shape", [(8, 6), (7, 9), (2, 3, 7, 8)])
def test_fft_of_bart_is_ours(shape: tuple[int, ...], bart_binary: str) -> None:
    rng = np.random.default_rng(0)
    image = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
    theirs = from_bart(bart(["fft", "-u", "3"], to_bart(image), binary=bart_binary), ndim=image.ndim)
    assert np.linalg.norm(theirs - fft2c(image)) < 1e-6 * np.linalg.norm(image)
