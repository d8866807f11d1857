from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from csmri_ext.bridge.fourier import fft2c, ifft2c
from csmri_ext.errors import InputError
from csmri_ext.physics import make_mask
from csmri_ext.recon import methods
from csmri_ext.recon.adapted import adapted
from csmri_ext.recon.methods import Method, choose, get, names, register
from csmri_ext.recon.mirrored import mirrored
from csmri_ext.recon.network_method import Network
from csmri_ext.recon.problem import Problem, Reconstruction

NY, NX = 24, 32


def image(n_slices: int = 2) -> np.ndarray:
    blocks = np.random.default_rng(0).random((n_slices, NY // 8, NX // 8)).astype(np.float32)
    return np.kron(blocks, np.ones((1, 8, 8), np.float32))


def problem(coils: int = 1, **fields: object) -> Problem:
    rng = np.random.default_rng(1)
    maps = (rng.normal(size=(2, coils, NY, NX)) + 1j * rng.normal(size=(2, coils, NY, NX))).astype(np.complex64)
    maps /= np.linalg.norm(maps, axis=1, keepdims=True)
    maps = np.ones_like(maps) if coils == 1 else maps
    mask = make_mask("equispaced_fraction", (NY, NX), 2, 0.2, seed=0).numpy()
    kspace = np.where(mask, fft2c(maps * image()[:, None]), np.complex64(0))
    return Problem(kspace, mask, None if coils == 1 else maps, **fields)


def test_names_of_the_contract_exist() -> None:
    assert {"zero-filled", "tv", "tv-bart", "wavelet-bart"} <= set(names())
    assert names()[0] == "zero-filled"


@pytest.mark.parametrize(("typed", "nearest"), [("tv-bert", "tv-bart"), ("zerofilled", "zero-filled"), ("TV", "tv")])
def test_unknown_name_suggests_the_nearest(typed: str, nearest: str) -> None:
    with pytest.raises(InputError, match=rf"unknown method '{typed}'; did you mean .*{nearest}"):
        get(typed)


def test_name_without_neighbours_lists_all() -> None:
    with pytest.raises(InputError, match=r"known: .*tv-bart.*zero-filled"):
        get("qqqqqq")


def test_choice_by_default_leaves_bart_out_unless_asked_for() -> None:
    assert not any(method.needs_bart for method in choose(None, bart=False))
    assert {"tv-bart", "wavelet-bart"} <= {method.name for method in choose(None, bart=True)}


def test_choice_by_name_keeps_the_order_and_drops_repetitions() -> None:
    assert [method.name for method in choose("tv, zero-filled,tv", bart=False)] == ["tv", "zero-filled"]
    with pytest.raises(InputError, match="names no method"):
        choose(" , ", bart=False)


def test_a_method_joins_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))
    mine = Method("mine", lambda p: Reconstruction(ifft2c(p.kspace)[:, 0]), "an example")
    assert register(mine) is mine
    assert get("mine").reconstruct(problem()).image.shape == (2, NY, NX)
    assert mine in choose(None, bart=False)
    with pytest.raises(ValueError, match="'mine' is registered already"):
        register(mine)


def run_by_bart(_: Problem) -> Reconstruction:
    raise AssertionError("refused before it runs")


@pytest.mark.parametrize(("option", "use"), [("--mirrored", mirrored), ("--adapt", partial(adapted, steps=1))])
def test_what_needs_a_network_of_pytorch_refuses_all_others_alike(option: str, use: Callable[..., object]) -> None:
    elsewhere = Network("net", lambda _: pytest.fail("made"))
    elsewhere.in_torch = False
    of_bart = Method("net-bart", run_by_bart, "a network of BART's", needs_bart=True, network=elsewhere)
    given = () if use is mirrored else (problem(),)
    for method, why in [(get("tv"), "tv learns nothing"), (of_bart, "net-bart runs in BART")]:
        assert not method.in_torch
        with pytest.raises(InputError, match=f"^{option} is for networks of PyTorch, and {why}$"):
            use(method, *given)


def test_zero_filled_is_the_adjoint() -> None:
    single = problem()
    np.testing.assert_allclose(get("zero-filled").reconstruct(single).image, ifft2c(single.kspace)[:, 0], atol=1e-6)
    multi = problem(coils=3)
    expected = (multi.sens_maps.conj() * ifft2c(multi.kspace)).sum(axis=1)
    np.testing.assert_allclose(get("zero-filled").reconstruct(multi).image, expected, atol=1e-6)


@pytest.mark.parametrize("coils", [1, 3])
def test_tv_improves_on_zero_filling_and_says_its_weight(coils: int) -> None:
    task = problem(coils, weights={"tv": 0.003}, workers=2)
    result = get("tv").reconstruct(task)
    assert result.image.dtype == np.complex64
    assert result.details["weight"] == 0.003
    zero_filled = get("zero-filled").reconstruct(task).image
    truth = image()
    assert np.linalg.norm(result.image - truth) < 0.6 * np.linalg.norm(zero_filled - truth)


@pytest.mark.parametrize("coils", [1, 3])
def test_bart_gives_the_same_tv_image(coils: int, bart_binary: str) -> None:
    task = problem(coils, weights={"tv": 0.003}, workers=2)
    ours, theirs = get("tv").reconstruct(task), get("tv-bart").reconstruct(task)
    assert np.linalg.norm(ours.image - theirs.image) < 1e-4 * np.linalg.norm(theirs.image)
    argv = theirs.details["bart_argv"]
    assert argv[:2] == ["bart", "pics"]
    assert "T:3:0:0.003" in argv
    assert not any("/" in word for word in argv), "no temporary or private path in the record"


def test_bart_wavelet_improves_on_zero_filling(bart_binary: str) -> None:
    task = problem(weights={"wavelet": 0.003})
    result = get("wavelet-bart").reconstruct(task)
    zero_filled = get("zero-filled").reconstruct(task).image
    assert np.linalg.norm(result.image - image()) < np.linalg.norm(zero_filled - image())
    assert "W:3:0:0.003" in result.details["bart_argv"]


def test_methods_leave_the_problem_as_it_was() -> None:
    task = problem()
    before = task.kspace.copy()
    for name in ("zero-filled", "tv"):
        get(name).reconstruct(task)
    np.testing.assert_array_equal(task.kspace, before)
