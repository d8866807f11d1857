"""What a command would write is kept apart from what it reads and from what others wrote, by whatever name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from csmri_ext.bridge import write_cfl
from csmri_ext.bridge.atomic import replacing
from csmri_ext.errors import InputError
from csmri_ext.outputs import (
    existing,
    require_apart,
    require_free,
    require_outside,
    require_writable_file,
    written_as,
)


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_links_hard_links_and_pairs_are_the_file_they_are() -> None:
    Path("mask.npy").write_bytes(b"1")
    Path("link.npy").symlink_to("mask.npy")
    os.link("mask.npy", "hard.npy")
    for name in ("mask.npy", "link.npy", "hard.npy", "./mask.npy"):
        with pytest.raises(InputError, match=f"^{Path(name)} is what --mask reads: choose"):
            require_apart([Path(name)], {"the input": [Path("free")], "what --mask reads": [Path("mask.npy")]})
    require_apart([Path("new.npy")], {"what --mask reads": [Path("mask.npy")]})
    write_cfl("maps", np.ones((2, 2)))
    for name in ("maps", "maps.cfl", "maps.hdr"):
        for result in written_as(Path("maps.cfl")):
            with pytest.raises(InputError, match=f"{result} is what --sens-maps reads"):
                require_apart([result], {"what --sens-maps reads": [Path(name)]})


def test_a_folder_is_free_where_no_name_is_taken_or_a_run_left_its_mark() -> None:
    folder, names = Path("out"), ("table.csv", "recons/*.cfl")
    require_free(folder, names, ("results.json",))
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    require_free(folder, names, ("results.json",))
    (folder / "table.csv").symlink_to("nowhere")  # replaced just as well
    (folder / "recons").write_text("a file where a folder is needed")
    assert existing(folder, names) == [folder / "table.csv", folder / "recons"]
    with pytest.raises(
        InputError, match=r"out holds table\.csv, recons, which would be replaced, and no results\.json"
    ):
        require_free(folder, names, ("results.json",))
    (folder / "results.json").write_text("{}")
    require_free(folder, names, ("results.json",))


@pytest.mark.parametrize("out", ["data", "data/sub", "data/../data/sub", "link/sub"])
def test_a_run_does_not_lie_where_its_images_are(out: str) -> None:
    Path("data/sub").mkdir(parents=True)
    Path("link").symlink_to("data")
    image = Path("data/sub/a.npy")
    image.write_bytes(b"")
    with pytest.raises(InputError, match=f"{out} holds data/sub/a.npy and is searched for images"):
        require_outside(Path(out), [Path("data")], [image])
    require_outside(Path(out), [image], [image])  # a file alone is not searched
    require_outside(Path("data2/run"), [Path("data")], [image])
    require_outside(Path("data/run"), [Path("data")], [image])
    require_outside(Path(), [Path("data")], [image])


def test_a_file_that_cannot_be_written_says_so_before() -> None:
    Path("file").write_text("mine")
    Path("folder").mkdir()
    os.mkfifo("pipe")
    require_writable_file(Path("file"))
    require_writable_file(Path("to/come/new.json"))
    assert not Path("to").exists()
    for bad, why in (("folder", "it is a folder"), ("pipe", "it is a device"), ("file/new.json", "not a directory")):
        with pytest.raises(InputError, match=why):
            require_writable_file(Path(bad))
    with pytest.raises(InputError, match="file is an input"):
        require_writable_file(Path("file"), read=["file"])
    assert Path("file").read_text() == "mine"


def test_no_file_takes_the_place_of_a_device() -> None:
    os.mkfifo("pipe")
    with pytest.raises(OSError, match="is a device"), replacing("pipe") as temporary:
        temporary.write_text("new")
    assert Path("pipe").is_fifo() and [path.name for path in Path().iterdir()] == ["pipe"]
