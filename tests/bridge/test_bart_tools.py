from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from csmri_ext.bridge import (
    LazyStack,
    bart,
    ecalib,
    find_bart,
    from_bart,
    load_cfl_kspace,
    pics,
    read_cfl,
    to_bart,
    write_cfl,
)
from csmri_ext.bridge.fourier import fft2c, ifft2c

N_COILS, NY, NX = 4, 40, 32
TV = "T:3:0:0.01"


@pytest.fixture(scope="module")
def phantom(bart_binary: str) -> tuple[np.ndarray, np.ndarray]:
    """Fully sampled k-space (coils, ny, nx) of BART's phantom, and its coil sensitivities."""
    image = from_bart(bart(["phantom", "-x", NY]), ndim=2)[:, :NX]
    sens_maps = from_bart(bart(["phantom", "-S", N_COILS, "-x", NY]), ndim=3)[:, :, :NX]
    return fft2c(image * sens_maps), sens_maps


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    mask = np.random.default_rng(0).random((NY, NX)) < 0.4
    mask[NY // 2 - 8 : NY // 2 + 8, NX // 2 - 8 : NX // 2 + 8] = True
    return mask


def run(argv: list[str], folder: Path) -> None:
    """Run a command with one thread, as the functions under test do."""
    subprocess.run(argv, cwd=folder, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def by_hand(folder: Path, argv: list[str], **arrays: np.ndarray) -> np.ndarray:
    """Run `argv` in `folder` on files named as the arguments."""
    for name, array in arrays.items():
        write_cfl(folder / name, to_bart(array))
    run([find_bart(), *argv[1:]], folder)
    return from_bart(read_cfl(folder / argv[-1]), ndim=5)[0]


@pytest.mark.parametrize("terms", [TV, "W:3:0:0.01", [TV, "W:3:0:0.005"], None])
def test_pics_is_the_stated_command(
    terms: str | list[str] | None, phantom: tuple[np.ndarray, np.ndarray], mask: np.ndarray, tmp_path: Path
) -> None:
    kspace, sens_maps = phantom
    image, argv = pics(kspace, sens_maps, regularization=terms, iterations=20, pattern=mask)
    assert image.shape == (NY, NX)
    assert image.dtype == np.complex64
    assert argv[:4] == ["bart", "pics", "-S", "-i"]
    assert argv[-5:] == ["-p", "pattern", "kspace", "sens_maps", "image"]
    expected = by_hand(tmp_path, argv, pattern=mask, kspace=kspace * mask, sens_maps=sens_maps)
    np.testing.assert_array_equal(image, expected[0, 0])


def test_pics_reconstructs(phantom: tuple[np.ndarray, np.ndarray], mask: np.ndarray) -> None:
    kspace, sens_maps = phantom
    full = np.sum(ifft2c(kspace) * sens_maps.conj(), axis=0) / np.sum(np.abs(sens_maps) ** 2, axis=0)
    zero_filled = np.sum(ifft2c(kspace * mask) * sens_maps.conj(), axis=0)
    zero_filled *= np.vdot(zero_filled, full) / np.vdot(zero_filled, zero_filled)
    image, _ = pics(kspace, sens_maps, regularization="T:3:0:0.001", pattern=mask)
    assert np.linalg.norm(image - full) < 0.3 * np.linalg.norm(zero_filled - full)


def test_samples_outside_the_pattern_do_not_count(phantom: tuple[np.ndarray, np.ndarray], mask: np.ndarray) -> None:
    kspace, sens_maps = phantom
    polluted = np.where(mask, kspace, 1e3).astype(np.complex64)
    options = {"regularization": TV, "iterations": 10}
    expected = pics(kspace * mask, sens_maps, pattern=mask, **options).image
    np.testing.assert_array_equal(pics(polluted, sens_maps, pattern=mask, **options).image, expected)
    found, argv = pics(kspace * mask, sens_maps, **options)  # the pattern is taken from the zeros
    np.testing.assert_array_equal(found, expected)
    assert "-p" in argv


def test_columns_as_pattern(phantom: tuple[np.ndarray, np.ndarray]) -> None:
    kspace, sens_maps = phantom
    columns = np.arange(NX) % 2 == 0
    columns[NX // 2 - 4 : NX // 2 + 4] = True
    options = {"regularization": TV, "iterations": 10}
    image = pics(kspace, sens_maps, pattern=columns, **options).image
    expected = pics(kspace, sens_maps, pattern=np.broadcast_to(columns, (NY, NX)), **options).image
    np.testing.assert_array_equal(image, expected)


def test_slices_are_independent(phantom: tuple[np.ndarray, np.ndarray], mask: np.ndarray) -> None:
    """Each slice has its own scale and its own mask; BART's own loop over slices takes both from the first slice."""
    kspace, sens_maps = phantom
    volume = np.stack([kspace, 50 * kspace[:, ::-1], 0.1 * kspace[:, :, ::-1]])
    masks = np.stack([mask, mask[::-1], np.ones_like(mask)])
    lazy = LazyStack(lambda i: volume[i], 3, volume.shape[1:], np.complex64)
    options = {"regularization": TV, "iterations": 10}
    images, _ = pics(lazy, sens_maps, pattern=masks, processes=2, **options)
    assert images.shape == (3, NY, NX)
    for i in range(3):
        np.testing.assert_array_equal(images[i], pics(volume[i], sens_maps, pattern=masks[i], **options).image)
    per_slice_maps = np.stack([sens_maps] * 3)
    np.testing.assert_array_equal(pics(volume, per_slice_maps, pattern=masks, **options).image, images)


def test_image_has_the_scale_of_the_data(phantom: tuple[np.ndarray, np.ndarray], mask: np.ndarray) -> None:
    kspace, sens_maps = phantom
    image = pics(kspace, sens_maps, regularization=TV, iterations=20, pattern=mask).image
    larger = pics(1000 * kspace, sens_maps, regularization=TV, iterations=20, pattern=mask).image
    assert np.linalg.norm(larger - 1000 * image) < 1e-5 * np.linalg.norm(larger)


def test_given_scale(phantom: tuple[np.ndarray, np.ndarray], mask: np.ndarray) -> None:
    """Scale 1 puts the weight into the units of the data: scaling both leaves the image as it is."""
    kspace, sens_maps = phantom
    options = {"iterations": 20, "pattern": mask}
    image, argv = pics(kspace, sens_maps, regularization="T:3:0:0.001", scale=1, **options)
    assert argv[argv.index("-w") + 1] == "1.0"
    larger = pics(64 * kspace, sens_maps, regularization="T:3:0:0.064", scale=1, **options).image
    assert np.linalg.norm(larger - 64 * image) < 1e-4 * np.linalg.norm(larger)


def test_single_coil(phantom: tuple[np.ndarray, np.ndarray], mask: np.ndarray, tmp_path: Path) -> None:
    kspace = phantom[0][0]
    image, argv = pics(kspace, regularization=TV, iterations=20, pattern=mask)
    expected = by_hand(tmp_path, argv, pattern=mask, kspace=kspace * mask, sens_maps=np.ones((NY, NX)))
    np.testing.assert_array_equal(image, expected[0, 0])
    np.testing.assert_array_equal(pics(kspace[None], regularization=TV, iterations=20, pattern=mask).image, image)


def test_pics_refuses_what_does_not_fit(phantom: tuple[np.ndarray, np.ndarray]) -> None:
    kspace, sens_maps = phantom
    with pytest.raises(ValueError, match=r"\(1, 4, 40, 32\) has several coils: sens_maps are needed"):
        pics(kspace, regularization=TV)
    with pytest.raises(ValueError, match=r"sens_maps \(3, 40, 32\) do not fit k-space .* \(1, 4, 40, 32\)"):
        pics(kspace, sens_maps[:3], regularization=TV)
    with pytest.raises(ValueError, match=r"pattern \(40,\) does not fit k-space \(slices, ny, nx\) = \(1, 40, 32\)"):
        pics(kspace, sens_maps, regularization=TV, pattern=np.ones(NY))
    with pytest.raises(ValueError, match="expected k-space"):
        pics(kspace[0, 0], regularization=TV)
    with pytest.raises(ValueError, match="zero everywhere"):
        pics(kspace * 0, sens_maps, regularization=TV)
    with pytest.raises(ValueError, match="NaN"):
        pics(kspace * np.nan, sens_maps, regularization=TV)


def test_ecalib(phantom: tuple[np.ndarray, np.ndarray], mask: np.ndarray, tmp_path: Path) -> None:
    kspace = phantom[0] * mask
    sens_maps = ecalib(kspace)
    assert sens_maps.shape == (N_COILS, NY, NX)
    argv = ["bart", "ecalib", "-m", "1", "-r", "24", "kspace", "maps"]
    np.testing.assert_array_equal(sens_maps, by_hand(tmp_path, argv, kspace=kspace)[0])
    norm = np.linalg.norm(sens_maps, axis=0)
    assert ((norm < 1e-3) | (np.abs(norm - 1) < 1e-3)).all()
    stack = ecalib(np.stack([kspace, 2 * kspace]))
    assert stack.shape == (2, N_COILS, NY, NX)
    np.testing.assert_array_equal(stack[0], sens_maps)


def test_several_maps(phantom: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    kspace = phantom[0]
    two = ecalib(kspace, maps=2, calibration_size=(16, 12), options=["-c", "0.9"])
    assert two.shape == (2, N_COILS, NY, NX)
    argv = ["bart", "ecalib", "-m", "2", "-r", "12:16:1", "-c", "0.9", "kspace", "maps"]
    np.testing.assert_array_equal(two, by_hand(tmp_path, argv, kspace=kspace))
    assert ecalib(kspace[None], maps=2).shape == (1, 2, N_COILS, NY, NX)
    with pytest.raises(ValueError, match="number of coils, 4, got 5"):
        ecalib(kspace, maps=5)


@pytest.mark.parametrize("shape", [(NY, NX), (1, NY, NX), (3, 1, NY, NX)])
def test_single_coil_sensitivities_are_ones(shape: tuple[int, ...]) -> None:
    sens_maps = ecalib(np.zeros(shape, np.complex64))
    np.testing.assert_array_equal(sens_maps, np.ones(shape if len(shape) > 2 else (1, *shape)))
    assert sens_maps.dtype == np.complex64


def test_eight_coil_file(shared_data: Path, bart_binary: str, tmp_path: Path) -> None:
    """The file, stored as 1 180 230 8, read into our axes, gives the image that BART makes of it directly.

    Up to the sign: BART 0.8 turns it for a side of 230 (see `pics_centering`).
    """
    source = shared_data / "bart" / "brain_8ch_ksp"
    acquisition = load_cfl_kspace(source)
    sens_maps = ecalib(acquisition.kspace)
    image, _ = pics(acquisition.kspace, sens_maps, regularization=TV, iterations=3, pattern=acquisition.mask)
    for command in (
        f"ecalib -m1 {source} maps",
        f"pattern {source} pattern",
        f"pics -S -i 3 -R T:6:0:0.01 -p pattern {source} maps image",
    ):
        run([bart_binary, *command.split()], tmp_path)
    direct = from_bart(read_cfl(tmp_path / "image"), ndim=2).copy()
    direct *= np.sign(np.vdot(direct, image[0]).real)
    assert np.linalg.norm(image[0] - direct) < 1e-5 * np.linalg.norm(direct)
