"""BART's networks by ``bart reconet``: axes, centring and units by weights of zeros, where the answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_slices import fft2c, ifft2c, make_slice, relative_difference
from small_reconets import train

from csmri_ext.bridge import BartError, CflError, read_multi_cfl, read_reconet_weights, reconet

LAMBDA = 0.3


def without_regularizer(weights: Path) -> Path:
    """Set all convolutions to zero: of a MoDL its data steps remain."""
    values = np.fromfile(f"{weights}.cfl", np.complex64)
    values[:] = 0
    values[0] = LAMBDA
    values.tofile(f"{weights}.cfl")
    return weights


@pytest.mark.parametrize(("shape", "coils"), [((8, 6), 1), ((6, 7), 3), ((5, 9), 2)])
def test_weights_of_zeros_leave_the_data_steps(tmp_path: Path, bart_binary: str, shape, coils) -> None:
    """``x = argmin |A x - y|^2 + lambda |x - x_before|^2``, also for the sides at which ``bart pics`` goes astray."""
    weights = read_reconet_weights(without_regularizer(train(tmp_path / "w", "modl", epochs=1)))
    made = [make_slice(shape, coils, mask="points", acceleration=2, seed=seed) for seed in range(2)]
    mask = made[0].mask
    kspace = np.stack([one.kspace for one in made])
    maps = None if coils == 1 else np.stack([one.sens_maps for one in made])
    result = reconet(kspace, maps, weights, pattern=mask, binary=bart_binary)
    assert (result.image.shape, result.image.dtype) == ((2, *shape), np.complex64)
    for i, image in enumerate(result.image):
        own = np.ones((1, *shape)) if maps is None else maps[i]
        pixels = np.eye(np.prod(shape)).reshape(-1, *shape)
        columns = [(own.conj() * ifft2c(mask * fft2c(own * pixel))).sum(0).ravel() for pixel in pixels]
        adjoint = (own.conj() * ifft2c(mask * kspace[i])).sum(0).ravel()
        expected = adjoint
        for _ in range(2):
            expected = np.linalg.solve(np.array(columns).T + LAMBDA * np.eye(len(pixels)), adjoint + LAMBDA * expected)
        assert relative_difference(image.ravel(), expected) < 1e-3, "its conjugate gradients stop after ten steps"


def test_header_says_which_network_it_is(tmp_path: Path, bart_binary: str) -> None:
    weights = read_reconet_weights(f"{train(tmp_path / 'w', 'varnet')}.hdr")
    assert (weights.network, weights.path) == ("varnet", tmp_path / "w")
    assert weights.options == ("--network", "varnet", "--test", "-I", "2", "-n")
    assert weights.values == sum(array.size for array in read_multi_cfl(weights.path))
    assert weights.command.startswith("reconet -t --network varnet")


def header(words: str) -> str:
    return f"# Dimensions\n5 \n# SizesDimensions\n1 1 \n# MultiDimensions\n2 \n3 \n# Command\n{words} \n"


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("reconet -N modl -tn -I5 --pattern p k s w r", ("-N", "modl", "-n", "-I", "5")),
        (
            "reconet --train -T e=3,r=1e-4 -b 2 --network=varnet --varnet-block F=8,W=5 --iterations 3 k s w r",
            ("--network", "varnet", "--varnet-block", "F=8,W=5", "--iterations", "3"),
        ),
        (
            "reconet -t -g -l w0 --network modl --data-consistency max-cg-iter=5 --no-shared-weights --lowmem k s w r",
            ("--network", "modl", "--data-consistency", "max-cg-iter=5", "--no-shared-weights"),
        ),
        ("first line\nreconet -t --network modl --adam beta1=0.8 --valid-data p=a,k=b k s w r", ("--network", "modl")),
    ],
)
def test_options_of_the_training_that_decide_the_network(tmp_path: Path, words: str, options: tuple[str, ...]) -> None:
    (tmp_path / "w.hdr").write_text(header(words))
    (tmp_path / "w.cfl").write_bytes(bytes(40))
    assert read_reconet_weights(tmp_path / "w").options == options


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("pics -S k s i", "not weights that `bart reconet -t"),
        ("reconet -a --network modl k s w r", "not weights that `bart reconet -t"),
        ("reconet -t k s w r", "not weights that `bart reconet -t"),
        ("reconet -t --network modl --trajectory t k s w r", "non-Cartesian"),
        ("reconet -t --network modl --of-tomorrow k s w r", "--of-tomorrow"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, words: str, message: str) -> None:
    (tmp_path / "w.hdr").write_text(header(words))
    (tmp_path / "w.cfl").write_bytes(bytes(40))
    with pytest.raises(CflError, match=message):
        read_reconet_weights(tmp_path / "w")
    with pytest.raises(CflError, match="no such file"):
        read_reconet_weights(tmp_path / "v")


def test_bad_input_is_named(tmp_path: Path, bart_binary: str) -> None:
    weights = read_reconet_weights(train(tmp_path / "w", "modl", epochs=1))
    kspace, mask = np.ones((2, 1, 8, 8), np.complex64), np.ones(8, bool)
    with pytest.raises(ValueError, match="zero everywhere in slice 1"):
        reconet(kspace * np.array([1, 0])[:, None, None, None], None, weights, pattern=mask)
    with pytest.raises(ValueError, match="sens_maps are needed"):
        reconet(np.ones((1, 2, 8, 8)), None, weights, pattern=mask)
    with pytest.raises(ValueError, match="do not fit"):
        reconet(kspace, kspace[:1], weights, pattern=mask)
    with pytest.raises(ValueError, match="NaN"):
        reconet(kspace * np.nan, None, weights, pattern=mask)
    (tmp_path / "w.cfl").write_bytes(bytes(80))
    with pytest.raises(BartError):
        reconet(kspace, None, weights, pattern=mask)
