from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from csmri_ext.bridge import Acquisition, write_cfl
from csmri_ext.bridge.bart_files.cfl import data_file
from csmri_ext.errors import InputError
from csmri_ext.recon.inputs import inspect, open_volumes, phantom_volumes
from csmri_ext.recon.result_record import describe_input
from csmri_ext.recon.volumes import Volume


def save(path: Path, n_slices: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name))
    np.save(path, rng.random((n_slices, 8, 10)).astype(np.float32) + 1)
    return path


def test_files_and_folders_become_volumes(tmp_path: Path) -> None:
    one = save(tmp_path / "one.npy")
    save(tmp_path / "folder" / "b.npy")
    save(tmp_path / "folder" / "a.npy")
    write_cfl(tmp_path / "folder" / "c", np.ones((8, 10, 1, 2), np.complex64))
    (tmp_path / "folder" / "notes.txt").write_text("not data")
    volumes = open_volumes([str(one), str(tmp_path / "folder")], None)
    assert [volume.label for volume in volumes] == ["one.npy", "a.npy", "b.npy", "c.cfl"]
    assert volumes[0].slices == range(3)


def test_bart_name_without_extension(tmp_path: Path) -> None:
    write_cfl(tmp_path / "ksp", np.ones((8, 10, 1, 2), np.complex64))
    (volume,) = open_volumes([str(tmp_path / "ksp")], None)
    inspect([volume], lambda n: None)
    assert volume.sha256 == hashlib.sha256((tmp_path / "ksp.cfl").read_bytes()).hexdigest()


def test_a_file_of_another_format_without_extension(tmp_path: Path) -> None:
    """It had been taken for one of BART's, whose data are looked for in another file."""
    save(tmp_path / "x.npy").rename(tmp_path / "scan")
    (volume,) = open_volumes([str(tmp_path / "scan")], None)
    inspect([volume], lambda n: None)
    assert volume.sha256 == hashlib.sha256((tmp_path / "scan").read_bytes()).hexdigest()


def test_data_that_a_header_names(tmp_path: Path) -> None:
    write_cfl(tmp_path / "data", np.ones((8, 10, 1, 2), np.complex64))
    (tmp_path / "ksp.hdr").write_bytes(b"# Dimensions\n8 10 1 2\n# Data\n%s\n" % os.fsencode(tmp_path / "data.cfl"))
    (volume,) = open_volumes([str(tmp_path / "ksp")], None)
    inspect([volume], lambda n: None)
    digest = hashlib.sha256((tmp_path / "data.cfl").read_bytes()).hexdigest()
    assert volume.sha256 == digest
    for name in ("ksp", "ksp.hdr", "ksp.cfl"):
        assert describe_input(tmp_path / name, hashed=True)["sha256"] == digest
    for name in ("none", "other.hdr"):
        assert data_file(tmp_path / name) == tmp_path / name
    (tmp_path / "other.hdr").write_bytes(b"an Analyze header")
    assert data_file(tmp_path / "other.hdr") == tmp_path / "other.hdr"


def test_equal_names_are_told_apart(tmp_path: Path) -> None:
    paths = [save(tmp_path / name / "scan.npy") for name in ("p1", "p2")]
    labels = [volume.label for volume in open_volumes([str(path) for path in paths] + [str(paths[0])], None)]
    assert labels == ["p1/scan.npy (1)", "p2/scan.npy", "p1/scan.npy (3)"]


def test_folder_without_data_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no file that can be read"):
        open_volumes([str(tmp_path)], None)


def test_chunks_cover_the_slices_once_and_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    acquisition = Acquisition(kspace=np.ones((40, 2, 8, 10), np.complex64), name="a")
    volume = Volume("a", acquisition, range(3, 39), "a")
    assert [i for chunk in volume.chunks() for i in chunk] == list(range(3, 39))
    assert max(len(chunk) for chunk in volume.chunks()) <= 16
    monkeypatch.setattr("csmri_ext.recon.volumes.CHUNK_BYTES", 3 * 2 * 8 * 10 * 8)
    assert [len(chunk) for chunk in volume.chunks()] == [3] * 12
    monkeypatch.setattr("csmri_ext.recon.volumes.CHUNK_BYTES", 1)
    assert len(list(volume.chunks())) == 36


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"mask": np.ones(9, bool)}, r"mask \(9,\) does not fit k-space \(ny, nx\) = \(8, 10\)"),
        (
            {"sens_maps": np.ones((2, 3, 8, 10), np.complex64)},
            r"\(2, 3, 8, 10\) do not fit k-space \(2, 2, 8, 10\)",
        ),
    ],
)
def test_shapes_that_differ_are_both_named(fields: dict, complaint: str) -> None:
    acquisition = Acquisition(kspace=np.ones((2, 2, 8, 10), np.complex64), name="a", **fields)
    with pytest.raises(InputError, match=complaint):
        Volume("a", acquisition, range(2), "a").check()


@pytest.mark.parametrize("value", [np.nan, np.inf, 0])
def test_unusable_slices_are_named(value: float) -> None:
    kspace = np.ones((3, 1, 8, 10), np.complex64)
    kspace[1, 0] = value
    volume = Volume("a", Acquisition(kspace=kspace, name="a"), range(3), "scan.h5")
    with pytest.raises(InputError, match=r"scan\.h5: k-space of slice 1"):
        volume.check()
    volume.slices = range(2, 3)
    volume.check()


def test_phantom_is_reproducible_and_depends_on_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csmri_ext.recon.inputs.PHANTOM_SIZE", 32)
    hashes = []
    for seed in (0, 0, 1):
        reported, validation = phantom_volumes(seed, 1)
        inspect([*reported, *validation], lambda n: None)
        hashes.append([volume.sha256 for volume in reported])
        assert not {volume.sha256 for volume in validation} & set(hashes[-1]), "weights are tuned on other subjects"
    assert hashes[0] == hashes[1]
    assert not set(hashes[1]) & set(hashes[2])


def test_labels_of_strange_names_can_be_written(tmp_path: Path) -> None:
    for name in ("a" * 240 + ".npy", "b" * 240 + ".npy", "=1+1\n.npy", os.fsdecode(b"caf\xe9.npy")):
        np.save(tmp_path / name, np.ones((8, 8), np.float32))
    volumes = open_volumes([str(tmp_path)], None)
    labels = [volume.label for volume in volumes]
    assert len(set(labels)) == 4
    for volume in volumes:
        assert len(volume.label.encode()) <= 120
        assert volume.label.isprintable()
        volume.source.encode()
        volume.seed_name.encode()
        assert volume.label.endswith(".npy")
    assert "caf\\udce9.npy" in labels


@pytest.mark.parametrize(("padding", "expected"), [((2, 7), [2, 3, 4, 5, 6]), ((0, 10), range(10)), (None, range(10))])
def test_measured_columns_end_where_the_padding_begins(padding: tuple[int, int] | None, expected: list[int]) -> None:
    acquisition = Acquisition(kspace=np.ones((1, 1, 8, 10), np.complex64), name="a", attrs={"padding": padding})
    assert list(np.flatnonzero(Volume("a", acquisition, range(1), "a").measured)) == list(expected)


def test_weights_of_the_phantom_are_tuned_on_other_subjects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csmri_ext.recon.inputs.PHANTOM_SIZE", 32)
    monkeypatch.setattr("csmri_ext.recon.inputs.PHANTOM_ANATOMIES", ("abstract",))
    reported, tuned_on = phantom_volumes(3, 1)
    for volume, other in zip(reported, tuned_on, strict=True):
        assert np.abs(volume.target([0]) - other.target([0])).max() > 0.1
        assert volume.source != other.source
