from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from held_folders import left_behind

from csmri_ext.data import PhantomSettings, phantom_shards
from csmri_ext.phantom import phantom_volume

SMALL = PhantomSettings(size=32, slices=2, seed=5, anatomies=("brain", "body"))


def test_the_images_are_the_phantoms(tmp_path: Path) -> None:
    images = phantom_shards(tmp_path, 3, SMALL)
    assert images.volumes == ["brain_000005"] * 2 + ["body_000006"] * 2 + ["brain_000007"] * 2
    expected = phantom_volume(2, 32, 6, anatomy="body")
    np.testing.assert_allclose(images[3], expected[1], atol=6e-4 * np.abs(expected).max())
    assert images[3].dtype == np.complex64


def test_only_what_is_missing_is_drawn(tmp_path: Path) -> None:
    phantom_shards(tmp_path, 2, SMALL)
    kept = tmp_path / "brain_000005.npy"
    before = kept.stat().st_mtime_ns
    (tmp_path / "body_000006.npy").unlink()
    leftover = left_behind(tmp_path / "body_000006.npy")
    told: list[int] = []
    phantom_shards(tmp_path, 3, SMALL, progress=told.append)
    assert told == [2, 3]
    assert not leftover.exists()
    assert kept.stat().st_mtime_ns == before


def test_several_processes_draw_the_same(tmp_path: Path) -> None:
    one, two = phantom_shards(tmp_path / "one", 2, SMALL), phantom_shards(tmp_path / "two", 2, SMALL, workers=2)
    np.testing.assert_array_equal(np.stack(list(one)), np.stack(list(two)))


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    phantom_shards(tmp_path, 1, SMALL)
    other = PhantomSettings(size=48, slices=2, seed=5, anatomies=("brain", "body"))
    with pytest.raises(ValueError, match="size 32 instead of 48"):
        phantom_shards(tmp_path, 1, other)
    assert len(list(tmp_path.glob("*.npy"))) == 1


def test_no_volumes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 phantom volumes"):
        phantom_shards(tmp_path, 0, SMALL)


def test_files_of_somebody_else_are_not_taken_for_phantoms(tmp_path: Path) -> None:
    settings = PhantomSettings(size=32, slices=1)
    (tmp_path / f"{settings.name(1)}.npy").write_bytes(b"mine")
    with pytest.raises(ValueError, match=rf"{settings.name(1)}\.npy, .* no phantom\.json of a run.*another --cache"):
        phantom_shards(tmp_path, 2, settings)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]
