from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from csmri_ext.bridge import write_cfl
from csmri_ext.bridge.file_marks import file_marks, what_changed

SIZE = 100_000


def mark(path: Path) -> dict[str, str]:
    return file_marks([(path, "name")])


@pytest.mark.parametrize("place", [0, SIZE // 2 + 10, SIZE - 1])
def test_another_byte_at_either_end_or_in_the_middle(place: int, tmp_path: Path) -> None:
    content = bytearray(SIZE)
    (tmp_path / "a").write_bytes(content)
    content[place] = 1
    (tmp_path / "b").write_bytes(content)
    assert mark(tmp_path / "a")["name"].startswith("100000 bytes, ")
    assert what_changed(mark(tmp_path / "a"), mark(tmp_path / "b")) == "name is another file now"
    assert what_changed(mark(tmp_path / "a"), mark(tmp_path / "a")) is None


def test_a_copy_elsewhere_is_the_same_and_the_header_of_a_pair_counts(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.cfl").write_bytes(b"12345678")
        (tmp_path / folder / "x.hdr").write_text("1 1")
    assert mark(tmp_path / "a/x.cfl") == mark(tmp_path / "b/x.cfl")
    (tmp_path / "b/x.hdr").write_text("1 1 1")
    assert mark(tmp_path / "a/x.cfl") != mark(tmp_path / "b/x.cfl")


def test_a_pair_of_bart_has_one_mark_by_each_of_its_names(tmp_path: Path) -> None:
    write_cfl(tmp_path / "x.cfl", np.ones((4, 2), np.complex64))
    marks = {mark(tmp_path / name)["name"] for name in ("x", "x.cfl", "x.hdr")}
    assert len(marks) == 1 and marks.pop().startswith("64 bytes, ")
