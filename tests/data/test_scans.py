from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from csmri_ext.bridge import read_cfl, write_cfl
from csmri_ext.bridge.fourier import fft2c
from csmri_ext.data import Masks
from csmri_ext.data.scans import HeldBackSamples, open_scans, stacked_scans
from csmri_ext.errors import InputError
from csmri_ext.phantom import coil_maps, phantom_volume
from csmri_ext.physics import make_mask


def write(path: Path, size: tuple[int, int], coils: int, seed: int, acceleration: int = 2) -> None:
    """An undersampled .cfl as BART has it: (nx, ny, 1, coils)."""
    image = phantom_volume(1, size, seed, processed=False, noise=0.002)[0]
    kspace = (
        fft2c(coil_maps(size, coils, seed) * image) * make_mask("equispaced", size, acceleration, seed=seed).numpy()
    )
    write_cfl(path, np.ascontiguousarray(kspace.T)[:, :, None].astype(np.complex64))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    write(tmp_path / "a.cfl", (48, 40), 4, 0)
    write(tmp_path / "b.cfl", (40, 40), 3, 1)
    write(tmp_path / "c.cfl", (44, 36), 1, 2)
    return tmp_path


def test_undersampled_files_open_as_they_are(scans: Path) -> None:
    opened = open_scans([scans])
    assert [part.name for part in opened.parts] == ["a.cfl", "b.cfl", "c.cfl"]
    shapes = [tuple(scan.kspace.shape) for scan in opened]  # type: ignore[attr-defined]
    assert shapes == [(4, 48, 40), (3, 40, 40), (44, 36)]
    for scan in opened:
        assert scan.mask is not None  # type: ignore[attr-defined]
        assert 0.3 < scan.mask.float().mean() < 0.8  # type: ignore[attr-defined]


def test_samples_are_split_reproducibly_and_batches_have_one_shape(scans: Path) -> None:
    opened = open_scans([scans])

    def made(epoch: int = 0, splits: int = 0) -> HeldBackSamples:
        return HeldBackSamples(
            opened,
            Masks(),
            length=12,
            batch_size=2,
            strip=16,
            epoch=epoch,
            splits=splits,  # type: ignore[arg-type]
        )

    first, again, later = made(), made(), made(1)
    for i in range(0, 12, 2):
        batch = stacked_scans([first[i], first[i + 1]])
        assert not (batch.mask & batch.target).any()
        assert batch.kspace.shape[-2] == 16
        assert batch.target.any()
        acquired = (batch.kspace != 0).flatten(1, -3).any(1) if batch.kspace.ndim == 4 else batch.kspace != 0
        assert torch.equal(batch.mask | batch.target, acquired)
        torch.testing.assert_close(again[i].kspace, first[i].kspace, rtol=0, atol=0)
    assert any(
        not torch.equal(first[i].mask, later[i].mask) for i in range(12) if first[i].mask.shape == later[i].mask.shape
    )
    whole = [HeldBackSamples(opened, Masks(), length=40, splits=2, epoch=e)[i] for e in range(2) for i in range(20)]  # type: ignore[arg-type]
    kinds = {(tuple(sample.mask.shape), sample.mask.numpy().tobytes()) for sample in whole}
    assert len(kinds) == 6, "two splits of each of three slices"


def test_columns_that_were_not_measured_are_never_predicted(tmp_path: Path) -> None:
    image = phantom_volume(1, (48, 40), 0, processed=False, noise=0.002)[0]
    kspace = fft2c(image).astype(np.complex64)
    kspace[:, :13] = 0
    write_cfl(tmp_path / "a.cfl", np.ascontiguousarray(kspace.T))
    (sample,) = list(HeldBackSamples(open_scans([tmp_path]), Masks()))  # type: ignore[arg-type]
    assert sample.target.any()
    assert not (sample.mask | sample.target)[:, :13].any()


def test_the_validation_set_stays(scans: Path) -> None:
    opened = open_scans([scans])
    a, b = (list(HeldBackSamples(opened, Masks(), epoch=epoch)) for epoch in (0, 3))  # type: ignore[arg-type]
    assert [tuple(sample.kspace.shape) for sample in a] == [(4, 48, 40), (3, 40, 40), (44, 36)]
    for one, two in zip(a, b, strict=True):
        assert torch.equal(one.target, two.target)


def test_coils_without_a_centre_are_refused_at_once(tmp_path: Path) -> None:
    write(tmp_path / "a.cfl", (32, 32), 3, 0)
    kspace = np.asarray(read_cfl(tmp_path / "a.cfl")).copy()
    kspace[15] = 0  # beside the zero frequency
    write_cfl(tmp_path / "a.cfl", kspace)
    with pytest.raises(InputError, match=r"a\.cfl: the fully sampled centre .* need at least 4 x 4"):
        open_scans([tmp_path])


def roll(path: Path, rows: int, columns: int) -> None:
    write_cfl(path, np.roll(np.asarray(read_cfl(path)), (columns, rows), (0, 1)))


def test_lines_around_an_echo_elsewhere_serve(tmp_path: Path) -> None:
    """The scan of the middle, rolled, with its mask: the same maps, and what is around the echo is never predicted."""
    write(tmp_path / "a.cfl", (48, 48), 4, 0)
    (middle,) = HeldBackSamples(open_scans([tmp_path]), Masks())  # type: ignore[arg-type]
    roll(tmp_path / "a.cfl", 0, 14)
    opened = open_scans([tmp_path])
    (rolled,) = HeldBackSamples(opened, Masks())  # type: ignore[arg-type]
    assert middle.sens_maps is not None and rolled.sens_maps is not None
    torch.testing.assert_close(rolled.sens_maps, middle.sens_maps, atol=2e-3, rtol=0)
    around = slice(24 - 2, 24 + 2), slice(24 + 14 - 2, 24 + 14 + 2)
    for epoch in range(4):
        for sample in HeldBackSamples(opened, Masks(), length=6, share=0.8, epoch=epoch):  # type: ignore[arg-type]
            assert not sample.target[around].any()
            assert sample.mask[around].any()
