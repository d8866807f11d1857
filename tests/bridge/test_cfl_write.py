from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from csmri_ext.bridge import CflError, read_cfl, read_cfl_header, write_cfl


def random_array(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def bart_dims(program: str, path: Path) -> tuple[int, ...]:
    """Dimensions that BART itself reads."""
    result = subprocess.run([program, "show", "-m", path], capture_output=True, text=True, check=True)
    found = re.search(r"^AoD:(.*)$", result.stdout, re.MULTILINE)
    assert found, result.stdout
    return tuple(int(size) for size in found[1].split())


def full(dims: tuple[int, ...]) -> tuple[int, ...]:
    return (*dims, *[1] * (16 - len(dims)))


def test_bart_reads_what_we_write(tmp_path: Path, bart_binary: str) -> None:
    array = random_array(6, 5, 1, 4, 2, 1, 3)  # coils on 3, maps on 4, and a gap
    write_cfl(tmp_path / "x", array[..., None, None], history="our command", provenance={"mask": "équispacé"})
    assert bart_dims(bart_binary, tmp_path / "x") == full(array.shape)
    subprocess.run([bart_binary, "copy", tmp_path / "x", tmp_path / "y"], check=True)
    assert read_cfl(tmp_path / "y").tobytes("F") == array.tobytes("F")
    result = subprocess.run([bart_binary, "nrmse", tmp_path / "x", tmp_path / "y"], capture_output=True, text=True)
    assert float(result.stdout) == 0


def test_sections(tmp_path: Path) -> None:
    write_cfl(tmp_path / "x", np.ones((3, 2)), history=["bart fft 3 a b", "ours"], provenance={"seed": 7})
    lines = (tmp_path / "x.hdr").read_text().splitlines()
    assert lines[:5] == ["# Dimensions", "3 2 " + "1 " * 14, "# Command", "bart fft 3 a b", "ours"]
    assert lines[5] == "# Creator"
    assert re.fullmatch(r"csmri_ext \S+", lines[6])
    assert lines[7] == "# csmri_ext"
    assert json.loads(lines[8]) == {"version": lines[6].split()[1], "dtype": "float64", "seed": 7}
    header = read_cfl_header(tmp_path / "x")
    assert header.command == "bart fft 3 a b\nours"
    assert header.provenance["seed"] == 7


@pytest.mark.parametrize(
    "history",
    [
        "# Dimensions\n2 2\n# Data\nother",
        "#",
        "\n\n",
        "a\n#Dimensions 9",
        "x" * 100_000,
        ["# Dimensions", "9 9"],
        "\0",
        "é",
    ],
)
def test_history_cannot_break_the_header(history: str | list[str], tmp_path: Path, bart_binary: str) -> None:
    array = random_array(3, 4)
    provenance = {"note": "\n# Dimensions\n7 7\n", "long": "y" * 5000}
    write_cfl(tmp_path / "x", array, history=history, provenance=provenance)
    assert bart_dims(bart_binary, tmp_path / "x") == full((3, 4))
    np.testing.assert_array_equal(read_cfl(tmp_path / "x", squeeze=True), array)
    assert read_cfl_header(tmp_path / "x").provenance["note"] == provenance["note"]


@pytest.mark.parametrize("dtype", [np.bool_, np.int16, np.uint8, np.float16, np.float32, np.float64, np.complex128])
def test_types_become_complex64(dtype: type, tmp_path: Path) -> None:
    array = (10 * np.random.default_rng(0).random((5, 4, 3))).astype(dtype)
    write_cfl(tmp_path / "x", array)
    np.testing.assert_array_equal(read_cfl(tmp_path / "x", squeeze=True), array.astype(np.complex64))


def test_layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csmri_ext.bridge.bart_files.cfl._BLOCK_BYTES", 100)  # several blocks
    array = random_array(6, 5, 1, 4)
    for view in (
        array,
        array.T,
        array[::2],
        array[..., ::-1],
        array[:, :, :, :1],
        array.astype(">c8"),
        array[0, 0, 0, 0],
    ):
        write_cfl(tmp_path / "x", view)
        np.testing.assert_array_equal(read_cfl(tmp_path / "x").reshape(view.shape, order="F"), view)
    line = np.arange(1000.0)
    write_cfl(tmp_path / "x", line)
    np.testing.assert_array_equal(read_cfl(tmp_path / "x", squeeze=True), line)


def test_transposed_array_is_written_without_a_copy(tmp_path: Path) -> None:
    coil_images = np.ones((8, 1024, 1024), np.complex64)  # 64 MB
    tracemalloc.start()
    write_cfl(tmp_path / "x", coil_images.T)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()
    assert (tmp_path / "x.cfl").read_bytes() == coil_images.tobytes()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((1,) * 17), "shape"),
        (np.ones((2, 0)), r"\(2, 0\)"),
        (np.array(["a"]), "type <U1"),
        (np.array([None]), "type object"),
        (np.array([1e300]), "beyond the range of complex64"),
    ],
)
def test_arrays_that_cannot_be_written(array: np.ndarray, message: str, tmp_path: Path) -> None:
    with pytest.raises(CflError, match=message):
        write_cfl(tmp_path / "x", array)
    assert list(tmp_path.iterdir()) == []


def test_mode_follows_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        write_cfl(tmp_path / "x", np.ones(3))
    finally:
        os.umask(previous)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("x.cfl", "x.hdr")] == [0o640, 0o640]


def test_overwriting_leaves_mapped_arrays_valid(tmp_path: Path) -> None:
    write_cfl(tmp_path / "x", np.full((50, 50), 1))
    old = read_cfl(tmp_path / "x")
    write_cfl(tmp_path / "x", old[:20] * 2)
    assert (old == 1).all()
    assert (read_cfl(tmp_path / "x", squeeze=True) == 2).all()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_full_disk_leaves_the_old_files(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    write_cfl(tmp_path / "x", np.ones((4, 4)))
    before = contents(tmp_path)
    for name in ("cfl", "hdr"):  # the temporary name leads to a device that is always full
        (tmp_path / f".x.{name}.{os.getpid()}.tmp").symlink_to("/dev/full")
        with pytest.raises(OSError, match=r"cannot write 0\.8 MB: No space left on device.*x\.cfl") as caught:
            write_cfl(tmp_path / "x", np.zeros((100, 1000)))
        assert caught.value.errno == errno.ENOSPC
        assert contents(tmp_path) == before


def test_unwritable_places(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="cannot write"):
        write_cfl(tmp_path / "no such folder" / "x", np.ones(3))
    (tmp_path / "x.hdr").mkdir()
    with pytest.raises(IsADirectoryError, match="x"):
        write_cfl(tmp_path / "x", np.ones(3))
    assert [path.name for path in tmp_path.iterdir()] == ["x.hdr"]


@pytest.mark.parametrize("calls_before", [0, 1, 2])
@pytest.mark.parametrize("after_call", [False, True])
def test_interrupted_replacement(
    calls_before: int, after_call: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C before or after any of the two renames leaves the old pair or the new one, never a mixture."""
    write_cfl(tmp_path / "x", np.ones((4, 4)))
    calls = 0
    original = Path.replace

    def interrupted(path: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == calls_before + 1 and not after_call:
            raise KeyboardInterrupt
        result = original(path, target)
        if calls == calls_before + 1:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(Path, "replace", interrupted)
    if calls_before < 2:
        with pytest.raises(KeyboardInterrupt):
            write_cfl(tmp_path / "x", np.zeros((3, 7)))
    else:
        write_cfl(tmp_path / "x", np.zeros((3, 7)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.cfl", "x.hdr"]
    is_old = calls_before == 0 and not after_call
    assert read_cfl(tmp_path / "x", squeeze=True).shape == ((4, 4) if is_old else (3, 7))


def test_interrupted_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cfl(tmp_path / "x", np.ones((4, 4)))
    before = contents(tmp_path)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("csmri_ext.bridge.bart_files.cfl._as_complex64", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_cfl(tmp_path / "x", np.zeros((9, 9)))
    assert contents(tmp_path) == before


def test_both_files_are_on_the_disk_before_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("content"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *paths: (order.append("name"), replace(*paths)))
    write_cfl(tmp_path / "x", np.ones(3))
    assert order == ["content", "content", "name", "name", "content"], "data and header, their names, then the folder"
