"""`SearchFolder`: what a search leaves on disk, and what it continues from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from shutil import copyfile
from typing import Any

import torch

from csmri_ext.bridge.atomic import replacing
from csmri_ext.bridge.file_marks import what_changed
from csmri_ext.bridge.folder_lock import LOCK_FILE
from csmri_ext.data.reading_words import same_reading
from csmri_ext.errors import InputError, naming
from csmri_ext.models.genotypes import write_genotype
from csmri_ext.models.torch_files import read_objects
from csmri_ext.search.curves import alpha_figure, write_alphas, write_epochs
from csmri_ext.search.drawing import draw_cell, save_figure
from csmri_ext.search.search import Search

CHECKPOINT = "search.ckpt"
WRITTEN = (
    *(CHECKPOINT, "genotype.json", "cell.png", "cell.svg", "cells/epoch_*"),
    *("alphas.csv", "alphas.png", "alphas.svg", "epochs.csv"),
)
"""Names of a search in its folder, as `csmri_ext.outputs.existing` takes them."""
MARKS = (CHECKPOINT, LOCK_FILE)
_BEGIN_ANEW = ": move it away, and the same command begins anew; or choose another folder"


class SearchFolder:
    """Files of one search; each is replaced as a whole, so that none is ever half written.

    ``genotype.json`` (the derived cell), ``cell.png|svg``, ``cells/epoch_001.png|svg``..., ``alphas.csv|png``,
    ``epochs.csv``, ``search.ckpt``.

    Parameters
    ----------
    path
        Made where it does not exist.
    data
        Description of the data, part of the checkpoint: a search continues with the same data only.
    reading
        The options that say how their files are read, and which slices; part of the checkpoint as well.
    files
        Which files they are, see `csmri_ext.bridge.file_marks`; part of the checkpoint as well.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        data: Sequence[str] = (),
        reading: str = "",
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.path, self.data, self.reading, self.files = Path(path), list(data), reading, dict(files or {})
        (self.path / "cells").mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        """The file that the search continues from."""
        return self.path / CHECKPOINT

    def write_epoch(self, search: Search) -> None:
        """Write everything after an epoch; the checkpoint last, so that it never is ahead of the other files."""
        number, history, operations = len(search.history), search.history, search.supernet.operations
        genotype = history[-1].genotype
        title = f"epoch {number}"
        stem = self.path / "cells" / f"epoch_{number:03d}"
        save_figure(draw_cell(genotype, title), stem)
        for ending in (".png", ".svg"):
            with replacing(self.path / f"cell{ending}") as temporary:
                copyfile(f"{stem}{ending}", temporary)
        with replacing(self.path / "genotype.json") as temporary:
            write_genotype(temporary, genotype)
        write_alphas(self.path / "alphas.csv", history, operations)
        save_figure(alpha_figure(history, operations), self.path / "alphas")
        write_epochs(self.path / "epochs.csv", history)
        self.save(search)

    def save(self, search: Search) -> None:
        """Write the checkpoint."""
        with naming(self.checkpoint), replacing(self.checkpoint) as temporary:
            state = {"search": search.state_dict(), "data": self.data, "reading": self.reading, "files": self.files}
            torch.save(state, temporary)

    def resume(self, search: Search) -> bool:
        """Continue a search from the checkpoint; False where there is none.

        Raises
        ------
        InputError
            A checkpoint of another search, or not a checkpoint.
        """
        if not self.checkpoint.is_file():
            return False
        state = self._load()
        if state["data"] != self.data:
            there, here = state["data"], self.data
            differing = next((f"{a!r} instead of {b!r}" for a, b in zip(there, here, strict=False) if a != b), "")
            told = differing or f"{len(there)} entries instead of {len(here)}"
            raise InputError(f"{self.path} holds a search on other data ({told}): choose another folder")
        changed = what_changed(state["files"], self.files)
        if changed:
            raise InputError(
                f"{self.path} holds a search on other data of this name ({changed}): choose another folder"
            )
        if not same_reading(state["reading"], self.reading):
            read = f"reading {state['reading']!r}, not {self.reading!r}"
            raise InputError(f"{self.path} holds a search with {read}: choose another folder")
        try:
            search.load_state_dict(state["search"])
        except InputError as error:
            raise InputError(f"{self.path} holds {error}: choose another folder") from error
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            raise InputError(f"{self.checkpoint} is not the checkpoint of this search{_BEGIN_ANEW}") from error
        return True

    def _load(self) -> dict[str, Any]:
        try:
            state = read_objects(self.checkpoint, "a checkpoint")
        except InputError as error:
            raise InputError(f"{self.checkpoint} is not the checkpoint of a search ({error}){_BEGIN_ANEW}") from error
        known = {"search", "data", "reading", "files"}
        if not isinstance(state, dict) or not {"search", "data"} <= set(state) <= known:
            raise InputError(f"{self.checkpoint} is not the checkpoint of a search{_BEGIN_ANEW}")
        return {"reading": self.reading, "files": self.files, **state}  # an older version did not say it
