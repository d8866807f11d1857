from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from csmri_ext.bridge import read_cfl
from csmri_ext.errors import InputError
from csmri_ext.outputs import require_writable, write_bytes
from csmri_ext.report.rows import Row
from csmri_ext.report.store import Store

SETTINGS = {"mask seed": 1, "tv weight": "auto"}
INPUTS = [{"volume": "a.png", "sha256": "00", "slices": [0, 2]}]
MASKS = [{"setting": "random 4x", "volume": "a.png", "hash": "ab"}]


def row(method: str = "tv", volume: str = "a.png", **values: object) -> Row:
    fields = {"mask": "random", "acceleration": 4.0, "slices": 2, "mse": 0.1, "nmse": 0.2, "psnr": 30.0, "ssim": 0.9}
    return Row(method=method, volume=volume, seconds=1.0, parameters=0, flops=None, **{**fields, **values})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, SETTINGS, INPUTS, MASKS)


def image(seed: int = 0) -> np.ndarray:
    real, imaginary = np.random.default_rng(seed).normal(size=(2, 2, 5, 7)).astype(np.float32)
    return real + 1j * imaginary


def test_row_reads_back_with_its_images(store: Store) -> None:
    store.add(row(slice_psnr=[29.0, 31.0], details={"weight": 0.01}), image())
    again = Store(store.folder, SETTINGS, INPUTS, MASKS)
    assert again.resume() == 1
    assert again.rows == store.rows
    np.testing.assert_array_equal(again.images(again.rows[0]), image())
    assert again.find("tv", "random", 4.0, "a.png") is again.rows[0]
    assert again.find("tv", "random", 8.0, "a.png") is None


def test_a_mask_that_is_described_in_another_way_stays_one(store: Store) -> None:
    store.add(row(), image())
    again = Store(store.folder, SETTINGS, INPUTS, [{**MASKS[0], "center": [9]}, {**MASKS[0], "setting": "random 8x"}])
    again.resume()
    again.write()
    masks = json.loads((store.folder / "results.json").read_text())["provenance"]["masks"]
    assert masks == again.provenance["masks"] == [{**MASKS[0], "center": [9]}, {**MASKS[0], "setting": "random 8x"}]


def test_images_lie_as_bart_expects(store: Store) -> None:
    store.add(row(), image())
    (path,) = store.recons.glob("*.cfl")
    dims = read_cfl(path).shape
    assert (dims[0], dims[1], dims[13]) == (7, 5, 2)
    assert math.prod(dims) == 70


def test_json_has_exactly_the_promised_keys(store: Store) -> None:
    store.add(row(), image())
    document = json.loads((store.folder / "results.json").read_text())
    assert set(document) == {"rows", "provenance"}
    promised = "method mask acceleration volume slices mse nmse psnr ssim seconds parameters flops"
    assert set(promised.split()) <= set(document["rows"][0])


def test_a_run_that_is_killed_has_said_what_it_lacks(store: Store) -> None:
    """Nothing runs after SIGKILL: every write says how far the rows go, and keeps no statistics of fewer rows."""
    volumes = {"method": "tv", "mask": "random", "acceleration": 4.0, "volumes": ["a.png", "b.png", "c.png"]}
    store.provenance["planned"] = [volumes]
    store.add(row(), image())
    store.provenance["statistics"] = {"how": "of one row"}
    store.provenance["stopped"] = {"at": "2026-01-31T12:00:05+00:00", "by": "SIGINT"}
    store.write()
    again = Store(store.folder, SETTINGS, INPUTS, MASKS)
    again.resume()
    again.add(row(volume="b.png"), image())
    found = json.loads((store.folder / "results.json").read_text())["provenance"]
    assert found["completeness"]["headline"].startswith("Partial: 2 of 3 reconstructions finished")
    assert "statistics" not in found
    again.add(row(volume="c.png"), image())
    found = json.loads((store.folder / "results.json").read_text())["provenance"]
    assert found["completeness"] == {"complete": True, "planned": 3, "finished": 3, "headline": ""}


def test_csv_has_one_line_per_row(store: Store) -> None:
    store.add(row(), image())
    store.add(row(volume='odd, "name".png', mse=None, psnr=None), image())
    with (store.folder / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["volume"] for line in lines] == ["a.png", 'odd, "name".png']
    assert float(lines[0]["psnr"]) == 30.0
    assert lines[1]["psnr"] == ""


def test_volumes_with_similar_names_do_not_share_a_file(store: Store) -> None:
    for index, name in enumerate(("a b.png", "a_b.png", "a/b.png")):
        store.add(row(volume=name), image(index))
    assert len(list(store.recons.glob("*.cfl"))) == 3
    for index, stored in enumerate(store.rows):
        np.testing.assert_array_equal(store.images(stored), image(index))


def test_resume_of_an_empty_folder_starts_afresh(store: Store) -> None:
    assert store.resume() == 0


@pytest.mark.parametrize(
    ("settings", "inputs", "masks", "complaint"),
    [
        ({**SETTINGS, "mask seed": 2}, INPUTS, MASKS, "mask seed 1 then, 2 now"),
        (SETTINGS, [{**INPUTS[0], "sha256": "11"}], MASKS, "input a.png has changed"),
        (SETTINGS, [{**INPUTS[0], "slices": [1, 2]}], MASKS, "input a.png: slices 0-2 then, 1-2 now"),
        (SETTINGS, [*INPUTS, {**INPUTS[0], "volume": "b.png"}], MASKS, "input b.png is new"),
        (SETTINGS, [], MASKS, "input a.png is no longer given"),
        (SETTINGS, INPUTS, [{**MASKS[0], "hash": "cd"}], "mask random 4x of a.png has changed"),
    ],
)
def test_resume_refuses_other_settings_and_says_what_differs(
    store: Store, settings: dict, inputs: list, masks: list, complaint: str
) -> None:
    store.add(row(), image())
    other = Store(store.folder, settings, inputs, masks)
    with pytest.raises(InputError, match=complaint):
        other.resume()
    assert other.rows == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [{}], "provenance": {}}', '{"rows": 3, "provenance": 4}'])
def test_resume_of_a_foreign_file_is_an_error(store: Store, text: str) -> None:
    (store.folder / "results.json").write_text(text)
    with pytest.raises(InputError, match=r"results\.json is not a results file"):
        store.resume()


def test_new_run_removes_the_images_of_the_last_one_and_nothing_else(store: Store) -> None:
    store.add(row(), image())
    mine = store.recons / "my_own.cfl"
    mine.write_text("keep")
    Store(store.folder, SETTINGS, INPUTS, MASKS).discard_earlier()
    assert list(store.recons.iterdir()) == [mine]


def test_discarding_never_leaves_the_folder(store: Store, tmp_path: Path) -> None:
    victim = tmp_path / "victim.cfl"
    victim.write_text("keep")
    document = {"rows": [{"details": {"recon": "../victim.cfl"}}], "provenance": {}}
    (store.folder / "results.json").write_text(json.dumps(document))
    store.discard_earlier()
    assert victim.exists()


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.json"
    write_bytes(path, b"old")

    def full_disk(self: Path, content: bytes) -> None:
        with self.open("wb") as file:
            file.write(content[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left") as caught:
        write_bytes(path, b"new text")
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def no_json(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_what_is_not_finite_becomes_null(store: Store) -> None:
    details = {"weight": np.float32(0.5), "shape": (1, 2), "errors": [math.inf, np.float64(-math.inf)]}
    store.add(row(psnr=math.nan, mse=math.inf, details=details), image())
    (stored,) = json.loads((store.folder / "results.json").read_text(), parse_constant=no_json)["rows"]
    assert stored["psnr"] is stored["mse"] is None
    assert stored["details"]["weight"] == 0.5
    assert stored["details"]["shape"] == [1, 2]
    assert stored["details"]["errors"] == [None, None]


def test_scores_that_are_not_finite_read_back(store: Store) -> None:
    """A network that diverged and a perfect image stay in the table of what has a reference."""
    nothing = dict.fromkeys(("mse", "nmse", "psnr", "ssim"))
    lost = dict.fromkeys(nothing, math.nan)
    store.add(row("diverged", **lost, slice_psnr=[math.nan, 31.0], slice_ssim=[math.nan, 0.9]), image())
    store.add(row("perfect", mse=0.0, nmse=0.0, psnr=math.inf, ssim=1.0, slice_psnr=[math.inf] * 2), image())
    store.add(row("prospective", **nothing), image())
    json.loads((store.folder / "results.json").read_text(), parse_constant=no_json)
    again = Store(store.folder, SETTINGS, INPUTS, MASKS)
    assert again.resume() == 3
    assert str(again.rows) == str(store.rows)  # as text: not-a-number differs from itself


def test_output_folder_is_probed_without_creating_anything(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=f"cannot write into the output folder {bad}"):
            require_writable(bad)
