from __future__ import annotations

import threading
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from made_slices import complex_normal, fft2c, ifft2c, make_maps, make_slice, relative_difference

from csmri_ext.bridge import LazyStack
from csmri_ext.errors import InputError
from csmri_ext.iterative.bart_scaling import bart_scale
from csmri_ext.iterative.finite_differences import gradient_normal
from csmri_ext.iterative.tv import solve_tv, tv, tv_volume
from csmri_ext.iterative.tv_image_update import CG_ITERATIONS, SenseUpdate, conjugate_gradient


def literal_tv(made, weight, iterations, rho=0.5):
    """The algorithm as written down, in double precision: z and u are stored, operators are applied as they stand."""
    maps = np.ones_like(made.kspace) if made.sens_maps is None else made.sens_maps
    scale = bart_scale(made.undersampled)
    forward = lambda x: np.where(made.mask, fft2c(maps * x), 0)  # noqa: E731
    adjoint = lambda y: np.sum(maps.conj() * ifft2c(np.where(made.mask, y, 0)), axis=0)  # noqa: E731
    grad = lambda x: np.stack([x - np.roll(x, 1, axis) for axis in (0, 1)])  # noqa: E731
    grad_adjoint = lambda v: sum(v[axis] - np.roll(v[axis], -1, axis) for axis in (0, 1))  # noqa: E731
    normal = lambda x: adjoint(forward(x)) + rho * grad_adjoint(grad(x))  # noqa: E731

    x = np.zeros(made.image.shape, complex)
    z = u = np.zeros((2, *x.shape), complex)
    data = adjoint(made.kspace.astype(complex) / scale)
    counts = []
    while len(counts) < iterations and sum(counts) <= iterations:
        rhs = data + rho * grad_adjoint(z - u)
        r = p = rhs - normal(x)
        counts.append(0)
        while counts[-1] < 10:
            counts[-1] += 1
            applied = normal(p)
            step = np.vdot(r, r).real / np.vdot(p, applied).real
            x, last, r = x + step * p, r, r - step * applied
            if np.linalg.norm(r) <= 1e-3 * np.linalg.norm(rhs):
                break
            p = r + np.vdot(r, r).real / np.vdot(last, last).real * p
        h = 1.6 * grad(x) - 0.6 * z + u
        magnitude = np.sqrt(np.sum(np.abs(h) ** 2, axis=0))
        z = h * np.maximum(0, 1 - weight / rho / np.maximum(magnitude, 1e-30))
        u = h - z
    return x * scale, tuple(counts)


@pytest.mark.parametrize("mask", ["columns", "rows", "points"])
@pytest.mark.parametrize(("shape", "n_coils"), [((64, 48), 1), ((45, 51), 1), ((48, 64), 3), ((33, 50), 2)])
@pytest.mark.parametrize("weight", [0.003, 0.03])
def test_tv_is_the_algorithm_as_written_down(shape, n_coils, mask, weight):
    made = make_slice(shape, n_coils, mask)
    expected, counts = literal_tv(made, weight, iterations=100)
    result = solve_tv(made.kspace, made.mask, made.sens_maps, weight=weight, iterations=100)
    assert result.cg_iterations == counts
    assert relative_difference(result.image, expected) <= 1e-5
    assert result.image.dtype == np.complex64


def test_tv_suppresses_aliasing():
    made = make_slice((96, 96), mask="points", acceleration=3, noise=0)
    zero_filled = relative_difference(ifft2c(made.undersampled[0]), made.image)
    assert relative_difference(tv(made.kspace, made.mask, weight=0.005), made.image) < 0.5 * zero_filled


def test_cg_iterations_end_just_above_the_budget():
    made = make_slice()
    for iterations in (1, 5, 30, 200):
        counts = solve_tv(made.kspace, made.mask, iterations=iterations).cg_iterations
        assert all(1 <= count <= CG_ITERATIONS for count in counts)
        assert sum(counts[:-1]) <= iterations
        assert sum(counts) > iterations or len(counts) == iterations


@pytest.mark.parametrize("n_coils", [1, 3])
def test_image_scales_and_turns_with_the_data(n_coils):
    made = make_slice((48, 52), n_coils)
    reference = tv(made.kspace, made.mask, made.sens_maps)
    image = tv(-2000j * made.kspace, made.mask, made.sens_maps)
    assert relative_difference(image / -2000j, reference) <= 1e-5


def test_scale_one_takes_the_weight_in_image_units():
    made = make_slice((48, 52))
    result = solve_tv(made.kspace, made.mask, weight=0.02)
    image = tv(made.kspace, made.mask, weight=0.02 * result.scale, scale=1.0)
    assert result.scale == pytest.approx(bart_scale(made.undersampled))
    assert relative_difference(image, result.image) <= 1e-5


def test_samples_outside_the_mask_are_ignored():
    made = make_slice((40, 44))
    expected = tv(made.undersampled, made.mask)
    np.testing.assert_array_equal(tv(made.kspace, made.mask), expected)
    np.testing.assert_array_equal(tv(made.kspace[0], np.broadcast_to(made.mask, (40, 44))), expected)
    np.testing.assert_array_equal(tv(made.kspace, made.mask.astype(np.float32)), expected)


def test_one_coil_with_maps_of_ones_is_one_coil_without_maps():
    made = make_slice((50, 47), mask="points")
    image = tv(made.kspace, made.mask, np.ones_like(made.kspace))
    assert relative_difference(image, tv(made.kspace, made.mask)) <= 1e-5


def test_inputs_are_not_changed():
    made = make_slice((32, 36), 2)
    copies = [array.copy() for array in (made.kspace, made.mask, made.sens_maps)]
    tv(made.kspace, made.mask, made.sens_maps, iterations=10)
    for array, copy in zip((made.kspace, made.mask, made.sens_maps), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("n_coils", [1, 2])
def test_no_regularization_and_flat_images_give_no_warning(n_coils):
    made = make_slice((32, 36), n_coils)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(tv(made.kspace, made.mask, made.sens_maps, weight=0)).all()
        flat = fft2c(np.ones_like(made.kspace) if n_coils == 1 else made.sens_maps)
        assert np.isfinite(tv(flat, made.mask, made.sens_maps, weight=0)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kspace": np.ones((2, 3, 8, 8))}, r"\(2, 3, 8, 8\)"),
        ({"mask": np.ones((8, 9))}, r"mask of shape \(8, 9\) .* \(8, 8\)"),
        ({"kspace": np.ones((2, 8, 8))}, r"2 coils, so it needs sens_maps of shape \(2, 8, 8\)"),
        ({"sens_maps": np.ones((2, 8, 8))}, r"\(2, 8, 8\) do not fit k-space \(1, 8, 8\)"),
        ({"kspace": np.full((1, 8, 8), np.nan)}, "k-space has NaN"),
        ({"sens_maps": np.full((1, 8, 8), np.nan)}, "sens_maps have NaN"),
        ({"kspace": np.zeros((1, 8, 8))}, "all zero"),
        ({"mask": np.zeros(8)}, "all zero inside the mask"),
        ({"weight": -0.1}, "weight .* -0.1"),
        ({"weight": np.nan}, "weight"),
        ({"iterations": 0}, "iterations .* 0"),
        ({"rho": 0.0}, "rho"),
        ({"scale": 0.0}, "scale"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"kspace": np.ones((1, 8, 8)), "mask": np.ones(8), "sens_maps": None} | change
    with pytest.raises(InputError, match=message):
        tv(arguments.pop("kspace"), arguments.pop("mask"), arguments.pop("sens_maps"), **arguments)


# --- parts -----------------------------------------------------------------------------------------------------------


def test_conjugate_gradient_solves_a_small_system():
    diagonal = np.array([0.5, 1, 2, 3], np.float32)
    increment, iterations = conjugate_gradient(lambda p: diagonal * p, np.ones(4, np.float32), 1e-6)
    np.testing.assert_allclose(increment, 1 / diagonal, rtol=1e-5)
    assert iterations <= 5


def test_conjugate_gradient_counts_applications_and_stops():
    diagonal = np.linspace(0.01, 5, 400, dtype=np.float32)
    calls = []

    def apply(direction):
        calls.append(direction)
        return diagonal * direction

    assert conjugate_gradient(apply, np.ones(400, np.float32), 0.0)[1] == len(calls) == CG_ITERATIONS
    calls.clear()
    assert conjugate_gradient(apply, np.ones(400, np.float32), 1e9)[1] == len(calls) == 1  # never none
    assert conjugate_gradient(apply, np.zeros(400, np.float32), 1.0)[1] == 0


@pytest.mark.parametrize(("kind", "axes"), [("columns", (-1,)), ("rows", (-2,)), ("points", (-2, -1))])
def test_sense_update_leaves_out_transforms_that_cancel(kind, axes):
    made = make_slice((20, 24), 3, kind)
    mask = np.broadcast_to(made.mask, (20, 24))
    update = SenseUpdate(made.kspace, mask, made.sens_maps, rho=0.7)
    image = complex_normal(np.random.default_rng(0), (20, 24)).astype(np.complex64)
    spectra = np.fft.fft2(made.sens_maps * image) * mask
    expected = np.sum(made.sens_maps.conj() * np.fft.ifft2(spectra), axis=0) + 0.7 * gradient_normal(image)
    assert update.axes == axes
    np.testing.assert_allclose(update._normal(image), expected, atol=2e-5)


# --- other array modules ---------------------------------------------------------------------------------------------

IN_CUPY = frozenset(
    """abs any arange argmax asarray ascontiguousarray broadcast_to complex64 concatenate cumsum dot empty_like exp
    finfo float32 float64 isfinite maximum multiply sin sort sqrt stack sum where zeros zeros_like""".split()  # noqa: SIM905
)
FFT_IN_CUPY = frozenset(["fft2", "ifft2", "fftn", "ifftn", "fftshift", "ifftshift"])


class StandIn(SimpleNamespace):
    """numpy under another identity: gives only the functions that cupy has too."""

    def __init__(self):
        super().__init__(fft=SimpleNamespace(**{name: getattr(np.fft, name) for name in FFT_IN_CUPY}))

    def __getattr__(self, name):
        if name not in IN_CUPY:
            raise AttributeError(f"cupy has no function {name}, or this test does not know it")
        return getattr(np, name)


@pytest.mark.parametrize("n_coils", [1, 2])
def test_every_array_function_comes_from_the_given_module(n_coils):
    made = make_slice((36, 41), n_coils, "points")
    image = tv(made.kspace, made.mask, made.sens_maps, xp=StandIn())
    assert relative_difference(image, tv(made.kspace, made.mask, made.sens_maps)) <= 1e-5


# --- volumes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def volume():
    slices = [make_slice((32, 40), 2, "columns", seed=0), make_slice((32, 40), 2, "columns", seed=3)]
    kspace = np.stack([slices[i % 2].kspace * (1 + i) for i in range(5)])
    return kspace, slices[0].mask, np.broadcast_to(make_maps((32, 40), 2), kspace.shape)


@pytest.mark.parametrize("workers", [1, 3])
def test_volume_is_slices_one_by_one(volume, workers):
    kspace, mask, maps = volume
    threads = []
    images = tv_volume(
        kspace,
        mask,
        maps,
        workers=workers,
        progress=lambda: threads.append(threading.current_thread()),
        weight=0.02,
        iterations=40,
    )
    expected = [tv(k, mask, s, weight=0.02, iterations=40) for k, s in zip(kspace, maps, strict=True)]
    np.testing.assert_array_equal(images, expected)
    assert threads == [threading.main_thread()] * 5


def test_volume_reads_slice_by_slice_and_takes_single_coil_stacks(volume):
    kspace, mask, _ = volume
    reads = []

    def read(index):
        reads.append(index)
        return kspace[index, 0]

    images = tv_volume(LazyStack(read, 5, (32, 40), np.complex64), mask, iterations=20)
    assert sorted(reads) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(images[2], tv(kspace[2, 0], mask, iterations=20))


def test_volume_errors(volume):
    kspace, mask, maps = volume
    with pytest.raises(InputError, match="maps have 2 slices, k-space has 5"):
        tv_volume(kspace, mask, maps[:2])
    with pytest.raises(InputError, match="no slices"):
        tv_volume(kspace[:0], mask, maps[:0])
    kspace[3] = np.nan
    with pytest.raises(InputError, match="NaN"):
        tv_volume(kspace, mask, maps, workers=2, iterations=5)
