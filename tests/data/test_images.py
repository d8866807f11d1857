from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from csmri_ext.bridge import FileFormatError, write_cfl
from csmri_ext.bridge.folder_lock import LOCK_FILE
from csmri_ext.bridge.fourier import fft2c
from csmri_ext.data import Images, ImageVolume, evenly_spaced, open_images, split_by_volume
from csmri_ext.data.images import files_of
from csmri_ext.phantom import phantom_volume, write_phantom


def constant(name: str, n: int, value: float) -> ImageVolume:
    return ImageVolume(name, n, lambda i: np.full((4, 4), value + i, np.complex64))


def test_slices_lie_one_after_the_other() -> None:
    images = Images([constant("a", 2, 10), constant("b", 3, 20)])
    assert len(images) == 5
    assert [image[0, 0].real for image in images] == [10, 11, 20, 21, 22]
    assert images.volumes == ["a", "a", "b", "b", "b"]
    assert images[-1][0, 0] == 22
    with pytest.raises(IndexError):
        images[5]


def test_evenly_spaced_slices() -> None:
    images = Images([constant("a", 5, 10), constant("b", 6, 20)])
    assert [image[0, 0].real for image in evenly_spaced(images, 4)] == [10, 12, 14, 21]
    assert [image[0, 0].real for image in evenly_spaced(images, 1)] == [10]
    assert len(evenly_spaced(images, 20)) == 11


def test_two_volumes_with_one_name() -> None:
    with pytest.raises(ValueError, match="two volumes are called 'a'"):
        Images([constant("a", 1, 0), constant("a", 1, 0)])


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.96, 0.04), (7, 1, 2)])
def test_no_subject_is_in_two_parts(fractions: tuple[float, ...]) -> None:
    images = Images([constant(f"v{i}", 2, i) for i in range(20)])
    parts = split_by_volume(images, fractions, seed=3)
    names = [{part.name for part in images.parts} for images in parts]
    assert set().union(*names) == set(images.volumes)
    assert sum(map(len, names)) == 20
    assert all(names)
    for part, fraction in zip(parts, fractions, strict=True):
        assert abs(len(part.parts) - 20 * fraction / sum(fractions)) <= 1
    assert parts[0].volumes == split_by_volume(images, fractions, seed=3)[0].volumes
    assert parts[0].volumes != split_by_volume(images, fractions, seed=4)[0].volumes


def test_no_group_is_in_two_parts() -> None:
    images = Images([constant(f"v{i}", 2, i) for i in range(12)])
    patients = [f"p{i % 5}" for i in range(12)]
    parts = split_by_volume(images, (2, 1, 1), 3, patients)
    volumes = [[part.name for part in one.parts] for one in parts]
    groups = [{patients[int(name[1:])] for name in names} for names in volumes]
    assert sorted(name for names in volumes for name in names) == sorted(part.name for part in images.parts)
    assert [len(part) for part in groups] == [2, 2, 1]
    assert len(set.union(*groups)) == 5
    one_each = split_by_volume(images, (2, 1, 1), 3, [f"{i:02d}" for i in range(12)])
    assert [one.volumes for one in one_each] == [one.volumes for one in split_by_volume(images, (2, 1, 1), 3)]
    with pytest.raises(ValueError, match=r"2 groups in parts of 1, 1, 1"):
        split_by_volume(images, (1, 1, 1), 0, ["a", "b"] * 6)
    with pytest.raises(ValueError, match="zip"):
        split_by_volume(images, (1, 1), 0, ["a", "b"])


def test_too_few_subjects() -> None:
    with pytest.raises(ValueError, match=r"1 volume in parts of 0\.5, 0\.5"):
        split_by_volume(Images([constant("a", 9, 0)]), (0.5, 0.5))


def test_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write_phantom(tmp_path / "deep" / "one.h5", 4, size=32, seed=1)
    volume = phantom_volume(2, 32, 5)
    np.save(tmp_path / "two.npy", np.abs(volume))
    write_cfl(tmp_path / "three.cfl", fft2c(volume[0]))
    images = open_images([tmp_path])
    assert images.volumes == ["deep/one.h5"] * 4 + ["three.cfl"] + ["two.npy"] * 2
    np.testing.assert_allclose(images[1], phantom_volume(4, 32, 1)[1], atol=1e-6)  # phases kept
    np.testing.assert_allclose(images[-1], np.abs(volume[1]), atol=1e-6)
    assert open_images([tmp_path], slices=0.5).volumes == ["deep/one.h5"] * 2 + ["three.cfl", "two.npy"]


def test_what_a_run_left_among_the_images_is_none(tmp_path: Path) -> None:
    for name in ("one.npy", "run/cells/epoch_001.npy", "other/two.npy"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / name, np.ones((1, 8, 8)))
    (tmp_path / "run" / LOCK_FILE).touch()
    assert [name for _, name in files_of([tmp_path])] == ["one.npy", "other/two.npy"]
    assert [name for _, name in files_of([tmp_path / "run"])] == ["epoch_001.npy"]  # where it is asked for


def test_several_coils_give_their_root_sum_of_squares(tmp_path: Path) -> None:
    write_phantom(tmp_path / "coils.h5", 1, size=32, n_coils=3, noise=0.0)
    image = open_images([tmp_path / "coils.h5"])[0]
    assert not image.imag.any()
    np.testing.assert_allclose(
        image.real, np.linalg.norm(phantom_volume(1, 32, 0, n_coils=3, noise=0.0)[0], axis=0), atol=1e-5
    )


def test_undersampled_files_are_refused(tmp_path: Path) -> None:
    kspace = fft2c(phantom_volume(1, 32, 5)[0])
    kspace[:, ::2] = 0
    write_cfl(tmp_path / "half.cfl", kspace)
    with pytest.raises(FileFormatError, match=r"half\.cfl: undersampled k-space has no reference"):
        open_images([tmp_path / "half.cfl"])


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no images in"):
        open_images([tmp_path])
