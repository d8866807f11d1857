"""What an experiment writes into its folder: kept apart from its images, and removed for the next run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from csmri_ext.experiments.figures import FIGURE_FILES
from csmri_ext.outputs import existing, require_apart
from csmri_ext.report.store import ROWS_FILE, Store
from csmri_ext.report.store import WRITTEN as OF_A_STORE

NETWORKS = "networks"  # folder of the trainings
TABLE_FILE = "table.csv"
WRITTEN = (TABLE_FILE, *FIGURE_FILES)
"""Names besides those of a store and of the trainings, as `csmri_ext.outputs.existing` takes them."""


def require_room(images: Sequence[Path], folder: Path) -> None:
    """Refuse to replace or remove an image; results may lie among images, as none of their files is taken for one.

    Raises
    ------
    InputError
        Names it.
    """
    from csmri_ext.training.run_files import WRITTEN as OF_A_RUN  # loads Lightning

    runs = [f"{path.relative_to(folder)}/{name}" for path in folder.glob(f"{NETWORKS}/*/*") for name in OF_A_RUN]
    written = existing(folder, (*OF_A_STORE, *WRITTEN, *runs))
    require_apart(written, {"an input": images}, "choose another --out")


def discard_earlier(store: Store) -> None:
    """Remove what an earlier run has left in the folder; a folder that holds no results of ours stays as it is."""
    if not (store.folder / ROWS_FILE).is_file():
        return
    store.discard_earlier()
    if (store.folder / ROWS_FILE).exists():  # somebody else's file of that name
        return
    from csmri_ext.training.run_files import discard_run

    for record in sorted((store.folder / NETWORKS).glob("*/*/run.json")):  # other files there are somebody's
        discard_run(record.parent)
    for pattern in FIGURE_FILES:
        for path in store.folder.glob(pattern):
            path.unlink()
