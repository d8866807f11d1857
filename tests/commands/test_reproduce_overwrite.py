"""`csmri reproduce --overwrite` removes trainings of its own, and no other folder of that name."""

from __future__ import annotations

from pathlib import Path

import pytest

from csmri_ext.errors import InputError
from csmri_ext.experiments.results_folder import NETWORKS, discard_earlier, require_room
from csmri_ext.report.store import ROWS_FILE, Store


def test_files_beside_the_trainings_stay(tmp_path: Path) -> None:
    store = Store(tmp_path, {}, [], {})
    store.write()
    assert (tmp_path / ROWS_FILE).is_file()
    training, own = tmp_path / NETWORKS / "random" / "unet", tmp_path / NETWORKS / "unet.py"
    training.mkdir(parents=True)
    other = tmp_path / NETWORKS / "random" / "modl" / "notes.txt"
    (other.parent / "csv" / "part_000").mkdir(parents=True)
    for path in (training / "unet.safetensors", own, other, other.with_name("last.ckpt")):
        path.write_text("{}")
    for folder in (training, other.parent):
        (folder / "run.json").write_text('{"name": "unet"}')
    discard_earlier(store)
    assert not training.exists() and own.read_text() == "{}"
    assert list(other.parent.iterdir()) == [other]
    assert not (tmp_path / ROWS_FILE).exists()


def test_images_among_what_would_be_replaced(tmp_path: Path) -> None:
    image = tmp_path / "recons" / "knee.cfl"
    image.parent.mkdir()
    image.write_bytes(b"1")
    (tmp_path / "other.h5").symlink_to(image)
    with pytest.raises(InputError, match=r"knee\.cfl is an input: choose another --out"):
        require_room([tmp_path / "other.h5"], tmp_path)
    require_room([tmp_path / "knee.h5"], tmp_path)
