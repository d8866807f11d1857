from __future__ import annotations

import pickle
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from csmri_ext.bridge import CflError, FileFormatError, LazyStack, load, load_cfl_kspace, read_cfl, to_bart, write_cfl
from csmri_ext.bridge.fourier import ifft2c


def random_kspace(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def test_fully_sampled(tmp_path: Path) -> None:
    kspace = random_kspace(3, 2, 9, 8)
    write_cfl(tmp_path / "x", to_bart(kspace), history="made by a test", provenance={"seed": 0})
    acquisition = load_cfl_kspace(tmp_path / "x.cfl")
    np.testing.assert_array_equal(np.asarray(acquisition.kspace), kspace)
    assert (acquisition.mask, acquisition.sens_maps) == (None, None)
    assert isinstance(acquisition.target, LazyStack)
    rss = np.sqrt((np.abs(ifft2c(kspace)) ** 2).sum(axis=1))
    np.testing.assert_allclose(np.asarray(acquisition.target), rss, rtol=1e-5)
    assert acquisition.target.dtype == np.float32
    assert acquisition.name == "x.cfl"
    assert acquisition.attrs["format"] == "cfl"
    assert acquisition.attrs["dims"] == (8, 9, 1, 2, *[1] * 9, 3, 1, 1)
    assert acquisition.attrs["image_dims"] == (1, 0)
    assert acquisition.attrs["command"] == "made by a test"
    assert acquisition.attrs["provenance"]["seed"] == 0


@pytest.mark.parametrize("name", ["x", "x.hdr", "x.cfl"])
def test_names(name: str, tmp_path: Path) -> None:
    write_cfl(tmp_path / "x", to_bart(random_kspace(4, 5)))
    acquisition = load_cfl_kspace(tmp_path / name)
    assert acquisition.name == "x.cfl"  # seeds the mask, so it must not depend on how the file was named
    assert acquisition.kspace.shape == (1, 1, 4, 5)


def test_ra(tmp_path: Path, bart_binary: str) -> None:
    kspace = random_kspace(2, 4, 5)
    write_cfl(tmp_path / "x", to_bart(kspace))
    subprocess.run([bart_binary, "copy", tmp_path / "x", tmp_path / "y.ra"], check=True)
    acquisition = load_cfl_kspace(tmp_path / "y.ra")
    np.testing.assert_array_equal(acquisition.kspace[0], kspace)
    assert (acquisition.name, acquisition.attrs["format"]) == ("y.ra", "ra")


def test_undersampled_columns(tmp_path: Path) -> None:
    mask = np.array([1, 0, 1, 1, 1, 0, 0, 1], dtype=bool)
    write_cfl(tmp_path / "x", to_bart(random_kspace(2, 3, 9, 8) * mask))
    acquisition = load_cfl_kspace(tmp_path / "x")
    np.testing.assert_array_equal(acquisition.mask, mask)
    assert acquisition.target is None


def test_undersampled_points(tmp_path: Path) -> None:
    mask = np.random.default_rng(1).random((9, 8)) < 0.5
    kspace = random_kspace(3, 9, 8) * mask
    kspace[0, mask] = 0  # a sample counts as acquired if any coil has it
    write_cfl(tmp_path / "x", to_bart(kspace))
    np.testing.assert_array_equal(load_cfl_kspace(tmp_path / "x").mask, mask)


def test_readout_on_the_first_dimension(tmp_path: Path) -> None:
    """Files of a scanner have the readout on BART's dimension 0; `x_dim` makes phase encoding our last axis."""
    mask = np.array([1, 0, 1, 1, 1, 0, 0, 1], dtype=bool)
    stored = random_kspace(6, 8, 1, 2) * mask[:, None, None]
    write_cfl(tmp_path / "x", stored)
    plain = load_cfl_kspace(tmp_path / "x")
    assert plain.kspace.shape == (1, 2, 8, 6)
    np.testing.assert_array_equal(plain.mask, np.broadcast_to(mask[:, None], (8, 6)))
    turned = load_cfl_kspace(tmp_path / "x", x_dim=1)
    np.testing.assert_array_equal(turned.kspace[0], plain.kspace[0].swapaxes(1, 2))
    np.testing.assert_array_equal(turned.mask, mask)
    assert turned.attrs["image_dims"] == (0, 1)


def test_slices_on_other_dimensions(tmp_path: Path) -> None:
    kspace = random_kspace(3, 2, 9, 8)
    for dim in (10, 15):
        write_cfl(tmp_path / "x", np.moveaxis(to_bart(kspace), 13, dim))
        np.testing.assert_array_equal(np.asarray(load_cfl_kspace(tmp_path / "x").kspace), kspace)


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ((8, 9, 3, 2), "8 x 9 x 3, not one plane"),
        ((8, 9, 1, 2, 2), r"BART dimension 4 \(maps\) has size 2"),
        ((8, 9, 1, 2, 1, 1, 3), r"dimensions 6 \(size 3\) have no place in .*: choose one with `bart slice`"),
    ],
)
def test_other_dimensions(dims: tuple[int, ...], message: str, tmp_path: Path) -> None:
    write_cfl(tmp_path / "x", random_kspace(*dims))
    with pytest.raises(CflError, match=rf"x: .*{message}"):
        load_cfl_kspace(tmp_path / "x")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(value: float, tmp_path: Path) -> None:
    kspace = random_kspace(2, 3, 9, 8)
    kspace[1, 0, 4, 4] = value
    write_cfl(tmp_path / "x", to_bart(kspace))
    acquisition = load_cfl_kspace(tmp_path / "x")
    with pytest.raises(FileFormatError, match=r"x\.cfl: slice 1 .* NaN or infinite"):
        np.asarray(acquisition.kspace)
    write_cfl(tmp_path / "x", to_bart(kspace[1]))
    with pytest.raises(FileFormatError, match=r"x\.cfl: .* NaN or infinite"):
        load_cfl_kspace(tmp_path / "x")


def test_all_zero(tmp_path: Path) -> None:
    write_cfl(tmp_path / "x", np.zeros((8, 9)))
    with pytest.raises(FileFormatError, match=r"x\.cfl: .*zero everywhere"):
        load_cfl_kspace(tmp_path / "x")


def test_slices_sampled_differently(tmp_path: Path) -> None:
    mask = np.array([[1, 0, 1, 1], [1, 1, 0, 1]])
    write_cfl(tmp_path / "x", to_bart(random_kspace(2, 1, 5, 4) * mask[:, None, None]))
    acquisition = load_cfl_kspace(tmp_path / "x")
    with pytest.raises(FileFormatError, match="sampled elsewhere than slice 0"):
        np.asarray(acquisition.kspace)


@pytest.mark.parametrize("n_slices", [1, 3])
def test_sensitivities(n_slices: int, tmp_path: Path) -> None:
    maps = random_kspace(n_slices, 2, 9, 8, seed=1)
    write_cfl(tmp_path / "x", to_bart(random_kspace(3, 2, 9, 8)))
    write_cfl(tmp_path / "maps", to_bart(maps))
    acquisition = load_cfl_kspace(tmp_path / "x", sens_maps=tmp_path / "maps")
    np.testing.assert_array_equal(np.asarray(acquisition.sens_maps), np.broadcast_to(maps, (3, 2, 9, 8)))


def test_sensitivities_of_slices_repeat_in_every_frame(tmp_path: Path) -> None:
    stored = np.zeros((8, 9, 1, 2, *[1] * 6, 2, 1, 1, 3), np.complex64)  # x, y, coils, frames, slices
    for frame in range(2):
        for i in range(3):
            stored[:, :, 0, :, 0, 0, 0, 0, 0, 0, frame, 0, 0, i] = random_kspace(2, 9, 8, seed=3 * frame + i).T
    maps = random_kspace(3, 2, 9, 8, seed=9)
    write_cfl(tmp_path / "x", stored)
    write_cfl(tmp_path / "maps", to_bart(maps))
    acquisition = load_cfl_kspace(tmp_path / "x", sens_maps=tmp_path / "maps")
    np.testing.assert_array_equal(np.asarray(acquisition.sens_maps), np.concatenate([maps, maps]))


def test_sensitivities_of_another_shape(tmp_path: Path) -> None:
    write_cfl(tmp_path / "x", to_bart(random_kspace(2, 9, 8)))
    write_cfl(tmp_path / "maps", to_bart(random_kspace(3, 9, 8)))
    with pytest.raises(CflError, match=r"\(1, 3, 9, 8\) do not fit k-space \(1, 2, 9, 8\)"):
        load_cfl_kspace(tmp_path / "x", sens_maps=tmp_path / "maps")


def test_one_slice_at_a_time(tmp_path: Path) -> None:
    """A volume of 64 MB is read in slices of 2 MB."""
    kspace = np.broadcast_to(random_kspace(1, 512, 512), (32, 1, 512, 512))
    write_cfl(tmp_path / "x", to_bart(np.ascontiguousarray(kspace)))
    tracemalloc.start()
    acquisition = load_cfl_kspace(tmp_path / "x")
    assert isinstance(acquisition.kspace, LazyStack)
    for item in acquisition.kspace:
        assert item.shape == (1, 512, 512)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_an_array_in_the_order_of_numpy_is_no_scan_of_four_columns(tmp_path: Path) -> None:
    kspace = random_kspace(4, 64, 60)
    write_cfl(tmp_path / "x", kspace[np.newaxis])
    with pytest.raises(CflError, match=r"1 x 4 x 64 x 60, x would have 4 samples: coils belong on dimension 3"):
        load(tmp_path / "x")
    assert load(tmp_path / "x", force=True).kspace.shape == (1, 60, 64, 4)
    np.testing.assert_array_equal(load(tmp_path / "x", axes="1 coil y x").kspace[0], kspace)


def test_goes_to_other_processes(tmp_path: Path) -> None:
    kspace = random_kspace(2, 3, 9, 8)
    write_cfl(tmp_path / "x", to_bart(kspace))
    copy = pickle.loads(pickle.dumps(load_cfl_kspace(tmp_path / "x")))
    np.testing.assert_array_equal(copy.kspace[1], kspace[1])


def test_undersampled_eight_coil_file(shared_data: Path) -> None:
    acquisition = load(shared_data / "bart" / "brain_8ch_ksp.cfl")
    assert acquisition.kspace.shape == (1, 8, 230, 180)  # stored as 1 180 230 8
    stored = read_cfl(shared_data / "bart" / "brain_8ch_ksp", squeeze=True)
    np.testing.assert_array_equal(acquisition.kspace[0], stored[0].transpose(2, 1, 0))
    assert acquisition.mask is not None
    assert acquisition.mask.shape == (230, 180)
    assert 0.12 < acquisition.mask.mean() < 0.13
    assert acquisition.target is None
    assert acquisition.attrs["image_dims"] == (2, 1)
    assert acquisition.attrs["command"] == "fmac ksp2 mask ksp"
