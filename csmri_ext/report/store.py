"""The result folder: rows and provenance kept after every finished row, and read back when the command runs again."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge import CflError, from_bart, read_cfl, to_bart, write_cfl
from csmri_ext.bridge.atomic import clear_leftovers
from csmri_ext.errors import InputError
from csmri_ext.outputs import require_free, write_bytes
from csmri_ext.report.completeness import completeness
from csmri_ext.report.differences import differences
from csmri_ext.report.journal import JOURNAL_FILE, Journal
from csmri_ext.report.rows import ChosenWeight, Row
from csmri_ext.report.rows_as_csv import as_csv

ROWS_FILE = "results.json"
TABLE_FILE = "results.csv"
SLICES_FILE = "slices.csv"
SLICE_COLUMNS = ("method", "mask", "acceleration", "volume", "slice", "psnr", "ssim")
FEW_ROWS = 64  # so many are written out at each row
LONGEST_PART = 90  # characters of a volume's or a method's name in the name of a file
RECON_FOLDER, ERROR_FOLDER = "recons", "errors"
WRITTEN = (
    *(ROWS_FILE, TABLE_FILE, SLICES_FILE, JOURNAL_FILE),
    *(f"{folder}/*{ending}" for folder in (RECON_FOLDER, ERROR_FOLDER) for ending in (".cfl", ".hdr")),
)
"""Names that a store may write in its folder, as `csmri_ext.outputs.existing` takes them."""
_LISTS = {"slice_psnr", "slice_ssim", "details"}  # what does not fit into a cell of a table


class Store:
    """Rows and provenance of one comparison, mirrored into ``results.json`` and ``results.csv``.

    Several processes may hold stores of one folder at once, with the same settings and inputs: rows go into a journal
    behind a lock as they finish (`Journal`), and every write of ``results.json`` merges what all of them have made.

    Parameters
    ----------
    folder
        The output folder; it exists and can be written.
    settings
        What decides the numbers besides method, mask, acceleration and volume: seed, slices, TV weight...
    inputs
        One `Volume.describe` per volume.
    masks
        One `Sampling.describe` per volume and mask setting.
    """

    def __init__(
        self, folder: Path, settings: dict[str, Any], inputs: list[dict[str, Any]], masks: list[dict[str, Any]]
    ) -> None:
        self.folder = folder
        self.provenance: dict[str, Any] = {"settings": settings, "inputs": inputs, "masks": masks}
        self._rows: dict[tuple[str, str, float | None, str], Row] = {}
        self.damaged: list[Row] = []  # rows taken over whose images are not whole: to be made again
        self._journal = Journal(folder)
        self._seen: tuple[Any, ...] = ()
        self._rows_on_disk = 0  # in results.json, when we wrote it last

    @property
    def rows(self) -> list[Row]:
        """All finished rows, in the order of the folder."""
        return list(self._rows.values())

    @property
    def recons(self) -> Path:
        """Folder of the reconstructed images."""
        return self.folder / RECON_FOLDER

    @property
    def errors(self) -> Path:
        """Folder of their estimated errors, where these were asked for; the files have the same names."""
        return self.folder / ERROR_FOLDER

    def resume(self, or_else: str = "", also: Sequence[str] = ()) -> int:
        """Claim the folder, and take over the rows of earlier runs of the same settings on the same inputs.

        A row whose images were cut off, by a full disk or a power failure, is left out and listed in `damaged`.

        Parameters
        ----------
        or_else
            What the command offers besides its earlier settings and another folder, for the message.
        also
            Names that the command writes into the folder besides `WRITTEN`.

        Returns
        -------
            How many rows were taken over; 0 where the folder holds no results.

        Raises
        ------
        InputError
            If settings or inputs differ (the message says which), or the file cannot be read; or there are no results,
            but files that would be replaced.
        """
        path = self.folder / ROWS_FILE
        if not self._journal.is_used():  # nobody of ours was here, and none leaves a lock behind who is refused
            self._require_free(also)
        clear_leftovers(self.folder, recursive=True)
        with self._journal.locked():
            try:
                earlier = self._on_disk()
                now = self._jsonable(self.provenance)
                if earlier is None:
                    self._require_free(also)
                    self._journal.append({"claim": now})
                    return 0
                rows, then = earlier
                different = differences(then, now)
            except InputError:
                raise
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise InputError(
                    f"{path} is not a results file of this program ({error}); choose another --out"
                ) from error
        if different:
            raise InputError(
                f"{path} was made with other settings: {'; '.join(different)}. "
                f"Repeat its settings, or choose another --out{or_else}"
            )
        self.damaged = [row for row in rows if not self._is_whole(row)]
        self._rows = {row.key: row for row in rows if row not in self.damaged}
        self.provenance = self._merged(then, now)
        return len(self._rows)

    def discard_earlier(self) -> bool:
        """Remove what earlier runs have written into this folder, and nothing else; False where nothing is ours.

        The folder stays claimed, whatever happens next: what is left of the earlier run is known to be ours.
        """
        if not self._journal.is_used() and not (self.folder / ROWS_FILE).exists():
            return False
        with self._journal.locked():
            try:
                earlier = self._on_disk()
                names = [] if earlier is None else [row.details["recon"] for row in earlier[0]]
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                return False  # leave everything alone
            if earlier is None:
                return False
            self._journal.clear()
            self._journal.append({"claim": self._jsonable(self.provenance)})
            for name in names:
                for data in (self.recons / Path(name).name, self.errors / Path(name).name):
                    data.unlink(missing_ok=True)
                    data.with_suffix(".hdr").unlink(missing_ok=True)
            for name in (ROWS_FILE, TABLE_FILE, SLICES_FILE):
                (self.folder / name).unlink(missing_ok=True)
        return True

    def _require_free(self, also: Sequence[str]) -> None:
        """Refuse to replace files where no run of ours has left its results or its claim."""
        require_free(self.folder, [*WRITTEN, *also], (ROWS_FILE, *self._journal.marks()))

    def refresh(self) -> None:
        """Take over the rows that other processes have finished since."""
        state = self._state()
        if state == self._seen:
            return
        with self._journal.locked():
            earlier = self._on_disk()
            self._seen = self._state()
        if earlier is not None:
            self._rows = self._with_others(earlier[0])

    def find(self, method: str, mask: str, acceleration: float | None, volume: str) -> Row | None:
        """Return the finished row of this method, mask setting and volume, or None."""
        return self._rows.get((method, mask, acceleration, volume))

    def add(self, row: Row, image: NDArray[np.complex64]) -> None:
        """Keep a finished row: first its images as ``.cfl``, then the row itself.

        Parameters
        ----------
        row
            ``row.details["recon"]`` is set to the file's name.
        image
            complex64 ``(slices, h, w)``; BART dimensions are ``w h 1 ... slices``, the slices on 13.
        """
        self.recons.mkdir(exist_ok=True)
        path = self.recons / _recon_name(row)
        setting = row.mask if row.acceleration is None else f"{row.mask}, acceleration {row.acceleration:g}"
        write_cfl(path, to_bart(image[:, np.newaxis]), history=f"{row.method} of {row.volume}, mask {setting}")
        row.details["recon"] = path.name
        self._rows[row.key] = row
        with self._journal.locked():
            self._journal.append({"row": self._jsonable(row.as_dict())})
        if len(self._rows) < FEW_ROWS or len(self._rows) >= 2 * self._rows_on_disk:  # not at every row of thousands
            self.write()

    def add_error_map(self, row: Row, error: NDArray[np.float32]) -> None:
        """Keep an estimate of the error of every pixel of a finished row, real ``(slices, h, w)``, as ``.cfl``."""
        self.errors.mkdir(exist_ok=True)
        history = f"estimated error of {row.method} of {row.volume}"
        image = to_bart(error.astype(np.complex64)[:, np.newaxis])
        write_cfl(self.errors / str(row.details["recon"]), image, history=history)

    def error_map(self, row: Row) -> NDArray[np.float32] | None:
        """Read what `add_error_map` kept; None where there is none."""
        path = self.errors / str(row.details.get("recon"))
        return from_bart(read_cfl(path))[:, 0].real if path.exists() else None

    def images(self, row: Row) -> NDArray[np.complex64] | None:
        """Map the images of a row into memory, complex64 ``(slices, h, w)``; None where the file is gone."""
        path = self.recons / str(row.details.get("recon"))
        return from_bart(read_cfl(path))[:, 0] if path.exists() else None

    def tuned(self, family: str, setting: str) -> dict[str, ChosenWeight]:
        """Weights that were tuned for a family at a mask setting, by volume; empty where none were."""
        entry = self.provenance.get("tuning", {}).get(f"{family}, {setting}", {"weights": {}})
        return {label: ChosenWeight(weight, entry["how"]) for label, weight in entry["weights"].items()}

    def keep_tuning(
        self, family: str, setting: str, chosen: dict[str, ChosenWeight], table: list[dict[str, Any]]
    ) -> None:
        """Keep the weights that were chosen, why, and the errors of all that were tried."""
        entry = {
            "weights": {label: weight.value for label, weight in chosen.items()},
            "how": next(iter(chosen.values())).reason,
            "table": table,
        }
        self.provenance.setdefault("tuning", {})[f"{family}, {setting}"] = entry

    def write(self) -> None:
        """Write ``results.json``, ``results.csv`` and ``slices.csv``, each as a whole, with the rows of everybody."""
        with self._journal.locked():
            try:
                earlier = self._on_disk()
            except (KeyError, TypeError, AttributeError, ValueError):
                earlier = None
            if earlier is not None:
                self._rows = self._with_others(earlier[0])
                self.provenance = self._merged(earlier[1], self.provenance)
            if "planned" in self.provenance:  # here, since a run that is killed says nothing later
                self.provenance["completeness"] = completeness(self.rows, self.provenance).as_dict()
            document = {"rows": [row.as_dict() for row in self.rows], "provenance": self.provenance}
            text = json.dumps(self._jsonable(document), indent=1, allow_nan=False) + "\n"
            write_bytes(self.folder / ROWS_FILE, text.encode())
            names = [field.name for field in fields(Row) if field.name not in _LISTS]
            write_bytes(self.folder / TABLE_FILE, as_csv(names, (row.as_dict() for row in self.rows)))
            write_bytes(self.folder / SLICES_FILE, as_csv(SLICE_COLUMNS, self._slices()))
            self._journal.clear()
            self._rows_on_disk = len(self._rows)
            self._seen = self._state()

    def _slices(self) -> Iterator[dict[str, Any]]:
        """Scores of every slice, with the number it has in its file."""
        slices = {entry["volume"]: slice_numbers(entry) for entry in self.provenance["inputs"]}
        for row in self.rows:
            numbers = slices.get(row.volume, [])
            for i, (psnr, ssim) in enumerate(zip(row.slice_psnr, row.slice_ssim, strict=False)):
                where = dict(zip(("method", "mask", "acceleration", "volume"), row.key, strict=True))
                yield {**where, "slice": numbers[i] if i < len(numbers) else i, "psnr": psnr, "ssim": ssim}

    def _on_disk(self) -> tuple[list[Row], dict[str, Any]] | None:
        """Rows and provenance in the folder, those in the journal last; None where it holds neither."""
        path = self.folder / ROWS_FILE
        entries = self._journal.entries()
        if not path.exists() and not entries:
            return None
        if not path.exists() and not self._journal.marks():
            raise ValueError(f"and {JOURNAL_FILE} is not one of its journals")
        document: dict[str, Any] = {"rows": [], "provenance": {}}
        if path.exists():
            document = json.loads(path.read_text(encoding="utf-8"))
        rows = {row.key: row for row in map(_row, document["rows"])}
        provenance = document["provenance"]
        for entry in entries:
            if "row" in entry:
                row = _row(entry["row"])
                rows[row.key] = row
            elif "claim" in entry and not provenance:
                provenance = entry["claim"]
        return list(rows.values()), provenance

    def _with_others(self, on_disk: list[Row]) -> dict[tuple[str, str, float | None, str], Row]:
        """Rows of the folder in its order, ours in place of theirs, those of ours last that it does not have."""
        lost = {row.key: row for row in self.damaged}
        kept = {}
        for row in on_disk:
            ours = self._rows.get(row.key)
            if ours is None and row.key in lost and lost[row.key].seconds == row.seconds:
                continue  # the very row whose images are not whole
            kept[row.key] = ours or row
        return {**kept, **self._rows}

    @staticmethod
    def _merged(then: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
        """Provenance of several runs into one folder: the newest counts, lists are joined, other runs are named."""
        merged = {**then, **now}
        masks = {(e["setting"], e["volume"]): e for e in (*then.get("masks", []), *now.get("masks", []))}
        merged["masks"] = list(masks.values())  # each once, however a version described it
        if "planned" in then or "planned" in now:
            planned = then.get("planned", [])
            merged["planned"] = [*planned, *(e for e in now.get("planned", []) if e not in planned)]
        if "tuning" in then or "tuning" in now:
            merged["tuning"] = {**then.get("tuning", {}), **now.get("tuning", {})}
        runs = [*then.get("earlier_runs", []), {key: then.get(key) for key in ("date", "command")}]
        runs += now.get("earlier_runs", [])
        this = {key: now.get(key) for key in ("date", "command")}
        others = [run for i, run in enumerate(runs) if run.get("command") and run != this and run not in runs[:i]]
        if others:
            merged["earlier_runs"] = others
        for key in ("stopped", "statistics"):  # of rows as they were when the other run ended
            if key not in now:
                merged.pop(key, None)
        return merged

    def _is_whole(self, row: Row) -> bool:
        """Whether the images of a row can be read, or were removed by somebody who needs only the numbers."""
        try:
            self.images(row)
        except CflError:
            return False
        return True

    def _state(self) -> tuple[Any, ...]:
        try:
            status = (self.folder / ROWS_FILE).stat()
        except FileNotFoundError:
            return self._journal.state()
        return status.st_ino, status.st_mtime_ns, *self._journal.state()

    @staticmethod
    def _jsonable(value: Any) -> Any:
        """Plain json: numpy scalars become numbers, tuples become lists, what is not finite becomes null."""
        if isinstance(value, dict):
            return {str(key): Store._jsonable(item) for key, item in value.items()}
        if isinstance(value, (list, tuple, range)):
            return [Store._jsonable(item) for item in value]
        if hasattr(value, "item"):
            value = value.item()
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return value


def _row(stored: dict[str, Any]) -> Row:
    """Read a row; a score that was not finite is null, as is every score where there is no reference."""
    known = {field.name for field in fields(Row)}
    row = Row(**{key: value for key, value in stored.items() if key in known})
    if row.slice_psnr:  # there is a reference
        psnr = math.inf if row.mse == 0 else math.nan
        row.slice_psnr = [psnr if value is None else value for value in row.slice_psnr]
        row.slice_ssim = [math.nan if value is None else value for value in row.slice_ssim]
        row.psnr = psnr if row.psnr is None else row.psnr
        row.mse, row.nmse, row.ssim = (math.nan if v is None else v for v in (row.mse, row.nmse, row.ssim))
    return row


def _recon_name(row: Row) -> str:
    """Name the file of a row's images; different rows have different names, whatever volume and method are called."""
    setting = row.mask if row.acceleration is None else f"{row.mask}_R{row.acceleration:g}"
    return f"{_file_part(row.volume)}_{setting}_{_file_part(row.method)}.cfl"


def _file_part(name: str) -> str:
    """Keep what any file system takes, and where that changed or shortened the name, a hash of the whole."""
    part = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    if part == name and len(part) <= LONGEST_PART:
        return part
    return f"{part[:LONGEST_PART]}-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:6]}"


def slice_numbers(entry: dict[str, Any]) -> list[int]:
    """Numbers of the slices that took part, from an entry of ``provenance["inputs"]``."""
    first, end = entry["slices"]
    return [number for number in range(first, end) if number not in entry.get("skipped", ())]
