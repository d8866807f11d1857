"""The result folder: rows and provenance written after every finished row, and read back by ``--resume``."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge import from_bart, read_cfl, to_bart, write_cfl
from csmri_ext.bridge.atomic import replacing
from csmri_ext.errors import InputError, naming, one_line
from csmri_ext.report.rows import ChosenWeight, Row

ROWS_FILE = "results.json"
TABLE_FILE = "results.csv"
RECON_FOLDER = "recons"
_LISTS = {"slice_psnr", "slice_ssim", "details"}  # what does not fit into a cell of a table


def write_bytes(path: Path, content: bytes) -> Path:
    """Write `path` as a whole or not at all, and return it.

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written; it names `path`, and nothing is left behind.
    """
    with naming(path), replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def require_writable(path: Path) -> None:
    """Prove that a folder can be created or written, by a nameless file in the part of it that exists.

    Raises
    ------
    InputError
        If it is a file, lies below a file, cannot be written, or the disk is full.
    """
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(b"0")
    except OSError as error:
        reason = one_line(OSError(error.errno, error.strerror))
        raise InputError(f"cannot write into the output folder {path}: {reason}") from error


class Store:
    """Rows and provenance of one comparison, mirrored into ``results.json`` and ``results.csv``.

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
        self.rows: list[Row] = []

    @property
    def recons(self) -> Path:
        """Folder of the reconstructed images."""
        return self.folder / RECON_FOLDER

    def resume(self) -> int:
        """Take over the rows of an earlier run of the same settings on the same inputs.

        Returns
        -------
            How many rows were taken over; 0 where the folder holds no results.

        Raises
        ------
        InputError
            If settings or inputs differ (the message says which), or the file cannot be read.
        """
        path = self.folder / ROWS_FILE
        if not path.exists():
            return 0
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
            rows = [_row(row) for row in earlier["rows"]]
            then, now = earlier["provenance"], self._jsonable(self.provenance)
            differences = [
                *_differences(then["settings"], now["settings"]),
                *_input_differences(then["inputs"], now["inputs"]),
                *_mask_differences(then["masks"], now["masks"]),
            ]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"--resume: {path} is not a results file of this program ({error})") from error
        if differences:
            raise InputError(
                f"--resume: {path} was made with other settings: {'; '.join(differences)}. "
                "Repeat its settings, or choose another --out"
            )
        self.rows = rows
        self.provenance = {
            **then,
            **now,
            "masks": [*then["masks"], *(m for m in now["masks"] if m not in then["masks"])],
            "earlier_runs": [*then.get("earlier_runs", []), {key: then.get(key) for key in ("date", "command")}],
        }
        return len(rows)

    def discard_earlier(self) -> None:
        """Remove the images of an earlier run in this folder, so that no stale file stands beside new rows."""
        path = self.folder / ROWS_FILE
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))["rows"]
            names = [row["details"]["recon"] for row in earlier]
        except (OSError, ValueError, KeyError, TypeError):
            return  # no earlier results, or not ours: leave everything alone
        for name in names:
            data = self.recons / Path(name).name
            data.unlink(missing_ok=True)
            data.with_suffix(".hdr").unlink(missing_ok=True)

    def find(self, method: str, mask: str, acceleration: float | None, volume: str) -> Row | None:
        """Return the finished row of this method, mask setting and volume, or None."""
        key = (method, mask, acceleration, volume)
        for row in self.rows:
            if (row.method, row.mask, row.acceleration, row.volume) == key:
                return row
        return None

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
        self.rows.append(row)
        self.write()

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
        """Write ``results.json`` and ``results.csv``, each as a whole."""
        document = {"rows": [row.as_dict() for row in self.rows], "provenance": self.provenance}
        text = json.dumps(self._jsonable(document), indent=1, allow_nan=False) + "\n"
        write_bytes(self.folder / ROWS_FILE, text.encode())
        write_bytes(self.folder / TABLE_FILE, self._csv().encode())

    def _csv(self) -> str:
        names = [field.name for field in fields(Row) if field.name not in _LISTS]
        text = io.StringIO()
        writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row.as_dict() for row in self.rows)
        return text.getvalue()

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
    """Name the file of a row's images; different rows have different names, whatever their volume is called."""
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", row.volume)
    if stem != row.volume:  # "a b" and "a_b" must not share a file
        stem += "-" + hashlib.sha256(row.volume.encode()).hexdigest()[:6]
    setting = row.mask if row.acceleration is None else f"{row.mask}_R{row.acceleration:g}"
    return f"{stem}_{setting}_{row.method}.cfl"


def _differences(earlier: dict[str, Any], now: dict[str, Any]) -> list[str]:
    keys = [*earlier, *(key for key in now if key not in earlier)]
    return [
        f"{key} {earlier.get(key)!r} then, {now.get(key)!r} now" for key in keys if earlier.get(key) != now.get(key)
    ]


def _input_differences(earlier: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[str]:
    then = {entry["volume"]: entry for entry in earlier}
    here = {entry["volume"]: entry for entry in now}
    differences = [f"input {name} is no longer given" for name in then if name not in here]
    differences += [f"input {name} is new" for name in here if name not in then]
    for name in then.keys() & here.keys():
        if then[name]["sha256"] != here[name]["sha256"]:
            differences.append(f"input {name} has changed")
        elif then[name]["slices"] != here[name]["slices"]:
            before, after = ("-".join(map(str, entry[name]["slices"])) for entry in (then, here))
            differences.append(f"input {name}: slices {before} then, {after} now")
    return differences


def _mask_differences(earlier: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[str]:
    then = {(entry["setting"], entry["volume"]): entry["hash"] for entry in earlier}
    return [
        f"mask {entry['setting']} of {entry['volume']} has changed"
        for entry in now
        if then.get((entry["setting"], entry["volume"]), entry["hash"]) != entry["hash"]
    ]
