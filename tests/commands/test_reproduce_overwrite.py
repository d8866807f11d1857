"""`csmri reproduce --overwrite` removes trainings of its own, and no other folder of that name."""

from __future__ import annotations

from pathlib import Path

from csmri_ext.commands.reproduce import NETWORKS, discard_earlier
from csmri_ext.report.store import ROWS_FILE, Store


def test_files_beside_the_trainings_stay(tmp_path: Path) -> None:
    store = Store(tmp_path, {}, [], {})
    store.write()
    assert (tmp_path / ROWS_FILE).is_file()
    training, own = tmp_path / NETWORKS / "random" / "unet", tmp_path / NETWORKS / "unet.py"
    training.mkdir(parents=True)
    for path in (training / "run.json", training / "unet.safetensors", own):
        path.write_text("{}")
    discard_earlier(store)
    assert not training.exists() and own.read_text() == "{}"
    assert not (tmp_path / ROWS_FILE).exists()
