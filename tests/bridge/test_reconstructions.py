from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from csmri_ext.bridge import write_reconstructions


def test_reconstructions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = (rng.standard_normal((3, 8, 6)) + 1j * rng.standard_normal((3, 8, 6))).astype(np.complex64)
    write_reconstructions(tmp_path / "r.h5", images)
    with h5py.File(tmp_path / "r.h5", "r") as file:
        assert file["reconstruction"].dtype == np.float32
        np.testing.assert_array_equal(file["reconstruction"][()], np.abs(images))
    images[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="slice 1 has NaN"):
        write_reconstructions(tmp_path / "r.h5", images)
    with pytest.raises(ValueError, match=r"\(slices, h, w\), not \(8, 6\)"):
        write_reconstructions(tmp_path / "r.h5", images[0])
    with h5py.File(tmp_path / "r.h5", "r") as file:
        assert file["reconstruction"].shape == (3, 8, 6)
