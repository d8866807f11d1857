from __future__ import annotations

import itertools
import pickle
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from damaged_files import require_refused

from csmri_ext.bridge import FileFormatError, load
from csmri_ext.bridge.arrays.nifti import PLANES, read_nifti

nibabel = pytest.importorskip("nibabel")

# A volume in the RAS+ frame whose value tells the position; every test file is this volume, stored in some other way.
RAS_SHAPE = (4, 5, 6)
RAS = (1 + np.arange(np.prod(RAS_SHAPE))).reshape(RAS_SHAPE).astype(np.int16)
RAS_AFFINE = np.array([[1.0, 0, 0, -10], [0, 2, 0, -20], [0, 0, 3, -30], [0, 0, 0, 1]])


def stored_as(codes: str, data: np.ndarray = RAS) -> nibabel.Nifti1Image:
    wanted = nibabel.orientations.axcodes2ornt(codes)
    image = nibabel.Nifti1Image(data, RAS_AFFINE)
    turn = nibabel.orientations.ornt_transform(nibabel.orientations.io_orientation(RAS_AFFINE), wanted)
    return image.as_reoriented(turn)


ALL_ORIENTATIONS = [
    "".join(axes) for pairs in itertools.permutations(("LR", "AP", "IS")) for axes in itertools.product(*pairs)
]


@pytest.mark.parametrize("codes", ALL_ORIENTATIONS)
def test_every_orientation_gives_the_same_slices(tmp_path: Path, codes: str) -> None:
    nibabel.save(stored_as(codes), tmp_path / "v.nii")
    axial = read_nifti(tmp_path / "v.nii")
    # rows towards posterior, columns towards left: both against RAS+
    np.testing.assert_array_equal(np.asarray(axial.target), RAS[::-1, ::-1].transpose(2, 1, 0))
    sagittal = read_nifti(tmp_path / "v.nii", plane="sagittal")
    np.testing.assert_array_equal(np.asarray(sagittal.target), RAS[:, ::-1, ::-1].transpose(0, 2, 1))
    coronal = read_nifti(tmp_path / "v.nii", plane="coronal")
    np.testing.assert_array_equal(np.asarray(coronal.target), RAS[::-1, :, ::-1].transpose(1, 2, 0))
    for volume in (axial, sagittal, coronal):
        s, y, x = 1, 2, 3
        position = volume.attrs["affine"] @ (s, y, x, 1)
        i, j, k = np.rint(np.linalg.solve(RAS_AFFINE, position))[:3].astype(int)
        assert volume.target[s][y, x] == RAS[i, j, k]


@pytest.mark.parametrize("plane", PLANES)
def test_exchanged_axes_lie_where_they_did(tmp_path: Path, plane: str) -> None:
    nibabel.save(stored_as("PIR"), tmp_path / "v.nii")
    volume = load(tmp_path / "v.nii", plane=plane, phase_encoding="y")
    s, y, x = 1, 3, 2
    i, j, k = np.rint(np.linalg.solve(RAS_AFFINE, volume.attrs["affine"] @ (s, y, x, 1)))[:3].astype(int)
    assert volume.target[s][y, x] == RAS[i, j, k]
    straight = load(tmp_path / "v.nii", plane=plane)
    assert volume.matrix_size == volume.target.shape[1:] == straight.matrix_size[::-1]
    assert volume.attrs["recon_size"] == straight.attrs["recon_size"][::-1]


def test_oblique_volumes_turn_to_the_closest_axes(tmp_path: Path) -> None:
    angle = np.deg2rad(20)
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    nibabel.save(nibabel.Nifti1Image(RAS, rotation @ RAS_AFFINE), tmp_path / "v.nii")
    np.testing.assert_array_equal(read_nifti(tmp_path / "v.nii").target[2], RAS[::-1, ::-1, 2].T)


@pytest.mark.parametrize("extension", ["nii", "nii.gz", "img"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, ">i2", np.float32, np.float64])
def test_types_and_containers(tmp_path: Path, extension: str, dtype: object) -> None:
    image_class = nibabel.Nifti1Pair if extension == "img" else nibabel.Nifti1Image
    header = image_class.header_class(endianness=">" if dtype == ">i2" else "<")
    header.set_data_dtype(dtype)
    nibabel.save(image_class(RAS.astype(dtype), RAS_AFFINE, header), tmp_path / f"v.{extension}")
    volume = pickle.loads(pickle.dumps(read_nifti(tmp_path / f"v.{extension}")))
    np.testing.assert_array_equal(volume.target[3], RAS[::-1, ::-1, 3].T)
    assert volume.target.dtype == np.float32
    assert volume.kspace.shape == (6, 1, 5, 4)
    assert volume.attrs["simulated"] is True


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(RAS, RAS_AFFINE)
    image.header.set_slope_inter(0.5, 10)
    nibabel.save(image, tmp_path / "v.nii.gz")
    expected = np.asarray(nibabel.load(tmp_path / "v.nii.gz").dataobj)[::-1, ::-1, 0].T
    assert not np.array_equal(expected, RAS[::-1, ::-1, 0].T)
    np.testing.assert_allclose(read_nifti(tmp_path / "v.nii.gz").target[0], expected, rtol=1e-6)


def test_four_axes_need_the_index_of_a_volume(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.stack([RAS, 2 * RAS], axis=-1), RAS_AFFINE), tmp_path / "v.nii")
    np.testing.assert_array_equal(read_nifti(tmp_path / "v.nii", volume=1).target[0], 2 * RAS[::-1, ::-1, 0].T)
    for volume in (None, 2, -1):
        rest = "" if volume is None else f", not {volume}"
        with pytest.raises(FileFormatError, match=f"choose a volume from 0 to 1 with --volume{rest}$"):
            read_nifti(tmp_path / "v.nii", volume=volume)
    nibabel.save(nibabel.Nifti1Image(RAS[..., np.newaxis], RAS_AFFINE), tmp_path / "one.nii")
    assert read_nifti(tmp_path / "one.nii").target.shape == (6, 5, 4)
    nibabel.save(nibabel.Nifti1Image(RAS[:, :, 0], RAS_AFFINE), tmp_path / "flat.nii")
    assert read_nifti(tmp_path / "flat.nii").target.shape == (1, 5, 4)


@pytest.mark.parametrize(
    ("shape", "voxel", "plane"),
    [
        ((5, 24, 28), (1, 1, 1), "sagittal"),  # a header that says nothing
        ((5, 24, 28), (1, 1, 3), "sagittal"),
        ((24, 5, 28), (1, 1, 1), "coronal"),
        ((24, 1, 28), (1, 1, 1), "coronal"),
        ((24, 28, 5), (3, 1, 1), "axial"),
        ((8, 24, 28), (1, 1, 1), "axial"),
        ((8, 24, 28), (2, 1, 1), "sagittal"),
        ((24, 24, 28), (1, 1, 1.4), "axial"),
        ((24, 24, 28), (1, 4, 1), "coronal"),
    ],
)
@pytest.mark.parametrize("axes", ["RAS", "LIP", "ASR"])
def test_images_are_not_cut_across_a_few_slices(
    tmp_path: Path, shape: tuple[int, ...], voxel: tuple[float, ...], plane: str, axes: str
) -> None:
    image = nibabel.Nifti1Image(np.ones(shape, np.float32), np.diag([*voxel, 1]))
    turn = nibabel.orientations.axcodes2ornt(axes)
    to_file = nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), turn)
    nibabel.save(image.as_reoriented(to_file), tmp_path / "v.nii")
    volume = read_nifti(tmp_path / "v.nii")
    assert volume.attrs["plane"] == plane
    assert volume.n_slices == shape[("sagittal", "coronal", "axial").index(plane)]


def test_negative_values_give_a_magnitude_that_fits_the_kspace(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(RAS - 40, RAS_AFFINE), tmp_path / "v.nii")
    with pytest.raises(
        FileFormatError, match=r"v\.nii: .* negative values, down to -39, .*--force takes the magnitude"
    ):
        read_nifti(tmp_path / "v.nii")
    volume = read_nifti(tmp_path / "v.nii", force=True)
    np.testing.assert_array_equal(volume.target[1], np.abs(RAS - 40)[::-1, ::-1, 1].T)
    assert np.linalg.norm(volume.kspace[1]) == pytest.approx(np.linalg.norm(volume.target[1]), rel=1e-5)


def test_bad_values_name_the_slice(tmp_path: Path) -> None:
    data = RAS.astype(np.float32)
    data[:, :, 0] = 0
    data[1, 1, 3] = np.nan
    nibabel.save(nibabel.Nifti1Image(data, RAS_AFFINE), tmp_path / "v.nii")
    volume = read_nifti(tmp_path / "v.nii")
    assert volume.n_slices == 5
    assert volume.attrs["first_slice"] == 1
    with pytest.raises(FileFormatError, match=r"v\.nii: slice 3 .* NaN"):
        volume.kspace[2]
    nibabel.save(nibabel.Nifti1Image(0 * RAS, RAS_AFFINE), tmp_path / "zero.nii")
    with pytest.raises(FileFormatError, match="all 6 slices are zero"):
        read_nifti(tmp_path / "zero.nii")


def test_damaged_files(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.random.default_rng(0).random((30, 30, 30)), RAS_AFFINE), tmp_path / "v.nii.gz")
    nibabel.save(nibabel.Nifti1Image(RAS, RAS_AFFINE), tmp_path / "v.nii")
    zipped, plain = (tmp_path / "v.nii.gz").read_bytes(), (tmp_path / "v.nii").read_bytes()
    broken_magic = plain[:344] + b"xxxx" + plain[348:]
    contents = {
        "cut.nii.gz": zipped[: len(zipped) // 2],
        "flipped.nii.gz": zipped[:2000] + bytes(reversed(zipped[2000:])),
        "cut.nii": plain[:-50],
        "header.nii": plain[:100],
        "magic.nii": broken_magic,
        "empty.nii": b"",
    }
    require_refused(tmp_path, contents, read_nifti, "NIfTI file")


def test_refused_kinds(tmp_path: Path) -> None:
    rgb = np.zeros(RAS_SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(rgb, RAS_AFFINE), tmp_path / "rgb.nii")
    with pytest.raises(FileFormatError, match="colour is not supported"):
        read_nifti(tmp_path / "rgb.nii")
    with pytest.raises(FileFormatError, match="unknown plane 'oblique'; known: axial, coronal, sagittal"):
        read_nifti(tmp_path / "rgb.nii", plane="oblique")
    assert set(PLANES) == {"axial", "coronal", "sagittal"}


def test_without_nibabel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ImportError, match=r"pip install csmri_ext\[nifti\]"):
        read_nifti(tmp_path / "v.nii")


@pytest.mark.parametrize("extension", ["nii", "nii.gz"])
def test_memory_stays_that_of_a_slice(tmp_path: Path, extension: str) -> None:
    data = np.zeros((128, 128, 200), np.float32)
    data[:] = np.random.default_rng(0).integers(1, 4, data.shape[2])
    nibabel.save(nibabel.Nifti1Image(data, RAS_AFFINE), tmp_path / f"v.{extension}")
    total = float(data.sum(dtype=np.float64))
    del data
    tracemalloc.start()
    try:
        volume = read_nifti(tmp_path / f"v.{extension}")
        found = sum(float(image.sum(dtype=np.float64)) for image in volume.target)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == pytest.approx(total)
    assert peak < 5e6  # the volume has 13 MB
