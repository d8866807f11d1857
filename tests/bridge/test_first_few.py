"""Lists that are too long for a message end with how many there are besides."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from csmri_ext.bridge import FileFormatError, load
from csmri_ext.bridge.file_arrays import choose_stored
from csmri_ext.bridge.first_few import first_few


def test_the_last_element_counts_what_is_left_out() -> None:
    words = list("abcde")
    assert first_few(words, 5) == first_few(words, 6) == words
    assert first_few(words, 4) == ["a", "b", "c", "and 2 more"]
    assert first_few(words, 2, "{} others") == ["a", "4 others"]
    assert first_few([], 2) == []


def test_errors_that_list_a_file_say_how_much_they_leave_out(tmp_path: Path) -> None:
    arrays = {f"array{i:02}": np.ones((8, 8), np.complex64) for i in range(14)}
    np.savez(tmp_path / "a.npz", **arrays)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    rest = r"array10( \(8, 8\))?, and 3 more\b"
    with pytest.raises(FileFormatError, match=rf"it holds .*{rest}"):
        load(tmp_path / "a.npz")
    with pytest.raises(FileFormatError, match=rf"datasets found: .*{rest}"):
        load(tmp_path / "a.h5")
    with pytest.raises(FileFormatError, match=rf"which array is the mask.*{rest}"):
        choose_stored(tmp_path / "a.npz", ("mask",), "mask", None)
