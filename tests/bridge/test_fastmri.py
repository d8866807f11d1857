from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from csmri_ext.bridge import Acquisition, FileFormatError, LazyStack, read_fastmri, write_fastmri
from csmri_ext.bridge.fourier import center_crop, ifft2c
from csmri_ext.bridge.ismrmrd.header import make_header, parse_header

# Sizes of a fastMRI knee file: 640 x 368 encoded, 320 x 320 reconstructed, 4 padding columns left, 3 right.
KNEE_HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <encoding>
    <encodedSpace><matrixSize><x>640</x><y>368</y><z>1</z></matrixSize></encodedSpace>
    <reconSpace><matrixSize><x>320</x><y>320</y><z>1</z></matrixSize></reconSpace>
    <encodingLimits>
      <kspace_encoding_step_1><minimum>0</minimum><maximum>360</maximum><center>180</center></kspace_encoding_step_1>
    </encodingLimits>
  </encoding>
</ismrmrdHeader>"""


def random_kspace(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def make_file(path: Path, **datasets: object) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in datasets.items():
            file[name] = value
    return path


def read_like_slice_dataset(path: Path, challenge: str, dataslice: int) -> tuple:
    """What fastMRI's SliceDataset does with a file (fastmri/data/mri_data.py), in the same terms."""
    from xml.etree import ElementTree

    with h5py.File(path, "r") as file:
        root = ElementTree.fromstring(file["ismrmrd_header"][()])
        namespace = {"n": "http://www.ismrm.org/ISMRMRD"}

        def number(*tags: str) -> int:
            return int(root.find("." + "".join(f"//n:{tag}" for tag in tags), namespace).text)

        limits = ("encoding", "encodingLimits", "kspace_encoding_step_1")
        left = number("encoding", "encodedSpace", "matrixSize", "y") // 2 - number(*limits, "center")
        metadata = {
            "padding_left": left,
            "padding_right": left + number(*limits, "maximum") + 1,
            "encoding_size": tuple(number("encoding", "encodedSpace", "matrixSize", axis) for axis in "xyz"),
            "recon_size": tuple(number("encoding", "reconSpace", "matrixSize", axis) for axis in "xyz"),
        }
        mask = np.asarray(file["mask"]) if "mask" in file else None
        name = "reconstruction_esc" if challenge == "singlecoil" else "reconstruction_rss"
        target = file[name][dataslice] if name in file else None
        return file["kspace"][dataslice], mask, target, dict(file.attrs) | metadata


def test_single_coil_with_header_and_reconstruction(tmp_path: Path) -> None:
    kspace, target = random_kspace(2, 640, 368), np.random.default_rng(1).random((2, 320, 320), np.float32)
    kspace[..., :4] = kspace[..., 365:] = 0
    path = make_file(tmp_path / "k.h5", kspace=kspace, reconstruction_esc=target, ismrmrd_header=KNEE_HEADER)
    with h5py.File(path, "a") as file:
        file.attrs.update({"acquisition": "CORPD_FBK", "max": 3e-4, "norm": 0.02, "patient_id": "0042"})
    volume = read_fastmri(path)
    assert volume.kspace.shape == (2, 1, 640, 368)
    assert volume.name == "k.h5"
    assert volume.mask is None
    np.testing.assert_array_equal(volume.kspace[1], kspace[1:2])
    np.testing.assert_array_equal(np.asarray(volume.target), target)
    assert volume.attrs["recon_size"] == (320, 320)
    assert volume.attrs["encoding_size"] == (640, 368, 1)
    assert volume.attrs["padding"] == (4, 365)
    assert (volume.attrs["acquisition"], volume.attrs["patient_id"]) == ("CORPD_FBK", "0042")
    assert volume.attrs["max"] == 3e-4


def test_target_of_full_multi_coil_data_is_cropped_rss(tmp_path: Path) -> None:
    kspace = random_kspace(3, 4, 21, 18)
    header = make_header((21, 18), (12, 11), 3, 4)
    volume = read_fastmri(make_file(tmp_path / "k.h5", kspace=kspace, ismrmrd_header=header))
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes=(-2, -1)), norm="ortho"), axes=(-2, -1))
    expected = np.sqrt((np.abs(images) ** 2).sum(axis=1))[:, 4:16, 3:14]
    assert volume.target.shape == (3, 12, 11)
    np.testing.assert_allclose(np.asarray(volume.target), expected, rtol=1e-5)


def test_reconstruction_matching_the_coils_is_preferred(tmp_path: Path) -> None:
    both = {"reconstruction_esc": np.ones((1, 4, 4)), "reconstruction_rss": np.full((1, 4, 4), 2.0)}
    multi = read_fastmri(make_file(tmp_path / "m.h5", kspace=random_kspace(1, 2, 8, 8), **both))
    single = read_fastmri(make_file(tmp_path / "s.h5", kspace=random_kspace(1, 8, 8), **both))
    assert multi.target[0].max() == 2
    assert single.target[0].max() == 1


def test_a_reference_wider_than_kspace_is_cropped_to_a_square(tmp_path: Path) -> None:
    """As UnetDataTransform of fastMRI treats the brain volumes that have 203 columns and references of 320."""
    target = np.random.default_rng(0).random((2, 32, 32), np.float32)
    volume = read_fastmri(make_file(tmp_path / "k.h5", kspace=random_kspace(2, 64, 21), reconstruction_esc=target))
    assert volume.target.shape == (2, 21, 21)
    assert volume.attrs["recon_size"] == (21, 21)
    np.testing.assert_array_equal(volume.target[1], center_crop(target[1], (21, 21)))


def test_file_with_mask_has_no_computed_target(tmp_path: Path) -> None:
    kspace = random_kspace(2, 3, 10, 12)
    mask = np.arange(12) % 3 == 0
    path = make_file(tmp_path / "test.h5", kspace=kspace * mask, mask=mask.astype(np.float32))
    with h5py.File(path, "a") as file:
        file.attrs.update({"acceleration": 4, "num_low_frequency": 1})
    volume = read_fastmri(path)
    np.testing.assert_array_equal(volume.mask, mask)
    assert volume.mask.dtype == np.bool_
    assert volume.target is None
    np.testing.assert_array_equal(volume.kspace[0], kspace[0] * mask)
    assert volume.attrs["acceleration"] == 4
    assert volume.attrs["num_low_frequency"] == 1


def test_undersampling_is_found_without_a_mask_dataset(tmp_path: Path) -> None:
    columns = np.arange(12) % 4 == 0
    dots = np.random.default_rng(3).random((10, 12)) < 0.5
    padded = np.pad(random_kspace(1, 10, 8), ((0, 0), (0, 0), (3, 1)))
    for name, kspace, mask in [
        ("columns", random_kspace(1, 10, 12) * columns, columns),
        ("dots", random_kspace(1, 10, 12) * dots, dots),
        ("padded", padded, None),
    ]:
        volume = read_fastmri(make_file(tmp_path / f"{name}.h5", kspace=kspace))
        np.testing.assert_array_equal(volume.mask, mask)
        assert (volume.target is None) == (mask is not None)


def test_slices_sampled_differently_are_refused(tmp_path: Path) -> None:
    kspace = random_kspace(2, 10, 12)
    kspace[0, :, 1::2] = 0
    kspace[1, :, ::2] = 0
    volume = read_fastmri(make_file(tmp_path / "k.h5", kspace=kspace))
    with pytest.raises(FileFormatError, match=r"k\.h5: slice 1 .* sampled elsewhere than slice 0"):
        volume.kspace[1]


@pytest.mark.parametrize("coils", [(), (3,)], ids=["single-coil", "multi-coil"])
@pytest.mark.parametrize("masked", [False, True], ids=["full", "masked"])
def test_written_files_read_back(tmp_path: Path, coils: tuple[int, ...], masked: bool) -> None:
    kspace = random_kspace(2, *coils, 15, 12)
    mask = np.arange(12) % 2 == 0 if masked else None
    if masked:
        kspace *= mask
    attrs = {"acquisition": "AXT1", "patient_id": "7", "ignored": None}
    write_fastmri(tmp_path / "k.h5", kspace, mask=mask, attrs=attrs)
    challenge = "multicoil" if coils else "singlecoil"
    kspace_1, mask_1, target_1, attrs_1 = read_like_slice_dataset(tmp_path / "k.h5", challenge, 1)
    assert kspace_1.dtype == np.complex64
    np.testing.assert_array_equal(kspace_1, kspace[1])
    np.testing.assert_array_equal(mask_1, mask)
    assert attrs_1["encoding_size"] == (15, 12, 1)
    assert attrs_1["recon_size"] == (15, 12, 1)
    assert (attrs_1["padding_left"], attrs_1["padding_right"]) == (0, 12)
    assert (attrs_1["acquisition"], attrs_1["patient_id"]) == ("AXT1", "7")
    if masked:
        assert target_1 is None
        assert "max" not in attrs_1
    else:
        target = np.linalg.norm(ifft2c(kspace.reshape(2, -1, 15, 12)), axis=1)
        np.testing.assert_allclose(target_1, target[1], rtol=1e-6)
        assert attrs_1["max"] == pytest.approx(target.max())
        assert attrs_1["norm"] == pytest.approx(np.linalg.norm(target))
    volume = read_fastmri(tmp_path / "k.h5")
    np.testing.assert_array_equal(np.asarray(volume.kspace), kspace.reshape(2, -1, 15, 12))
    np.testing.assert_array_equal(volume.mask, mask)


def test_an_acquisition_survives_the_round_trip(tmp_path: Path) -> None:
    kspace = np.pad(random_kspace(2, 3, 16, 9), ((0, 0), (0, 0), (0, 0), (2, 1)))
    volume = Acquisition(
        kspace=kspace,
        name="a",
        sens_maps=random_kspace(2, 3, 16, 12, seed=2),
        target=np.random.default_rng(1).random((2, 8, 8), np.float32),
        attrs={"padding": (2, 11), "acquisition": "CORPDFS_FBK", "path": "elsewhere"},
    )
    write_fastmri(tmp_path / "a.h5", volume)
    back = read_fastmri(tmp_path / "a.h5")
    for name in ("kspace", "sens_maps", "target"):
        np.testing.assert_array_equal(np.asarray(getattr(back, name)), getattr(volume, name))
    assert back.attrs["padding"] == (2, 11)
    assert back.attrs["recon_size"] == (8, 8)
    assert back.attrs["acquisition"] == "CORPDFS_FBK"
    assert back.attrs["path"] == str(tmp_path / "a.h5")
    write_fastmri(tmp_path / "b.h5", back)
    assert read_fastmri(tmp_path / "b.h5").attrs["ismrmrd_header"] == back.attrs["ismrmrd_header"]


def test_a_header_of_the_dataset_is_kept_when_written_again(tmp_path: Path) -> None:
    kspace, target = random_kspace(1, 640, 368), np.ones((1, 320, 320), np.float32)
    source = make_file(tmp_path / "in.h5", kspace=kspace, reconstruction_esc=target, ismrmrd_header=KNEE_HEADER)
    write_fastmri(tmp_path / "out.h5", read_fastmri(source))
    assert read_fastmri(tmp_path / "out.h5").attrs["ismrmrd_header"] == KNEE_HEADER
    write_fastmri(tmp_path / "small.h5", read_fastmri(source), target=target[:, 10:-10, 10:-10])
    assert read_fastmri(tmp_path / "small.h5").attrs["recon_size"] == (300, 300)


def test_headers() -> None:
    header = parse_header(KNEE_HEADER)
    assert header.encoding_size == (640, 368, 1)
    assert header.recon_size == (320, 320, 1)
    assert header.padding == (4, 365)
    assert parse_header(KNEE_HEADER.replace(' xmlns="http://www.ismrm.org/ISMRMRD"', "")) == header
    bare = parse_header("<ismrmrdHeader/>")
    assert (bare.encoding_size, bare.recon_size, bare.padding) == (None, None, None)
    assert parse_header(KNEE_HEADER.replace("<center>180</center>", "")).padding is None
    with pytest.raises(ValueError, match="not XML"):
        parse_header("<ismrmrdHeader>")
    with pytest.raises(ValueError, match="'many', not a whole number"):
        parse_header(KNEE_HEADER.replace("180", "many"))
    made = parse_header(make_header((33, 20), (16, 10), 5, 2, padding=(3, 19)))
    assert (made.encoding_size, made.recon_size, made.padding) == ((33, 20, 1), (16, 10, 1), (3, 19))


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"reconstruction": np.ones((1, 4, 4)), "other": 1.0}, "no dataset 'kspace'; datasets found: other, recon"),
        ({"dataset/data": np.ones(4)}, "ISMRMRD raw data"),
        ({}, "no dataset 'kspace'; it has no dataset"),
        ({"kspace": np.ones((2, 4, 4))}, r"kspace is float64 of shape \(2, 4, 4\); expected complex"),
        ({"kspace": random_kspace(4, 4)}, r"of shape \(4, 4\); expected complex"),
        ({"kspace": random_kspace(0, 4, 4)}, "empty"),
        ({"kspace": random_kspace(2, 4, 4), "mask": np.ones(5)}, r"mask of shape \(5,\) does not fit .* \(4, 4\)"),
        ({"kspace": random_kspace(2, 4, 4), "mask": np.zeros(4)}, "mask is empty"),
        ({"kspace": random_kspace(2, 4, 4), "reconstruction_esc": np.ones((3, 4, 4))}, "does not fit 2 slices"),
        ({"kspace": random_kspace(2, 4, 4), "sens_maps": random_kspace(2, 4, 3)}, r"sens_maps of shape \(2, 4, 3\)"),
        ({"kspace": random_kspace(2, 4, 4), "ismrmrd_header": "<a"}, "not XML"),
        ({"kspace": random_kspace(2, 4, 4), "ismrmrd_header": KNEE_HEADER.replace("320", "-5")}, "-5 x -5 x 1"),
        ({"kspace/data": np.ones(4)}, "kspace is a group"),
        ({"kspace": random_kspace(2, 4, 4), "mask/a": np.ones(4)}, "mask is a group"),
        ({"kspace": random_kspace(2, 4, 4), "mask": np.full(4, np.nan)}, "mask is float64 with values"),
    ],
)
def test_unusable_files_are_named_in_one_line(tmp_path: Path, datasets: dict, message: str) -> None:
    path = make_file(tmp_path / "bad.h5", **datasets)
    with pytest.raises(FileFormatError, match=message) as caught:
        read_fastmri(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    path = make_file(tmp_path / "k.h5", kspace=random_kspace(2, 64, 64))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(FileFormatError, match=r"k\.h5: not a readable fastMRI HDF5 file"):
        read_fastmri(path)
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(FileFormatError, match=r"text\.h5: not a readable fastMRI HDF5 file"):
        read_fastmri(tmp_path / "text.h5")
    with pytest.raises(FileNotFoundError):
        read_fastmri(tmp_path / "none.h5")


@pytest.mark.parametrize(("value", "message"), [(np.nan, "NaN or infinite"), (np.inf, "NaN"), (0, "zero everywhere")])
def test_bad_samples_name_file_and_slice(tmp_path: Path, value: float, message: str) -> None:
    kspace = random_kspace(3, 8, 8)
    kspace[2] = value
    volume = read_fastmri(make_file(tmp_path / "k.h5", kspace=kspace))
    volume.kspace[1]
    for stack in (volume.kspace, volume.target):
        with pytest.raises(FileFormatError, match=rf"k\.h5: slice 2 .*{message}"):
            stack[2]


def test_memory_stays_that_of_a_slice(tmp_path: Path) -> None:
    n_slices, coils, ny, nx = 40, 8, 160, 128
    slice_bytes = coils * ny * nx * 8  # 1.3 MB of 52 MB
    stack = LazyStack(lambda i: random_kspace(coils, ny, nx, seed=i), n_slices, (coils, ny, nx), np.complex64)
    tracemalloc.start()
    try:
        write_fastmri(tmp_path / "big.h5", stack)
        write_peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        volume = read_fastmri(tmp_path / "big.h5")
        total = sum(float(np.abs(kspace).sum()) for kspace in volume.kspace)
        total += sum(float(target.sum()) for target in volume.target)
        read_peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total > 0
    assert read_peak < 6 * slice_bytes
    assert write_peak < 12 * slice_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts in other units")
def test_a_large_file_does_not_need_its_size_in_memory(tmp_path: Path) -> None:
    """Peak memory of a process, which HDF5's own buffers cannot escape."""
    with h5py.File(tmp_path / "big.h5", "w") as file:  # chunks that were never written read as the fill value
        file.create_dataset("kspace", (31, 8, 512, 256), np.complex64, chunks=(1, 8, 512, 256), fillvalue=1 + 1j)
    code = f"""
import resource
import numpy as np
from csmri_ext.bridge import load
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
volume = load({str(tmp_path / "big.h5")!r})
n_bytes = sum(kspace.nbytes for kspace in volume.kspace)
assert all(volume.target[i].any() for i in (0, 15, 30))
print(n_bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    n_bytes, growth_kb = map(int, result.stdout.split())
    assert n_bytes == 31 * 2**23
    assert growth_kb < 100 * 1024


def test_worker_processes_share_an_acquisition(tmp_path: Path) -> None:
    write_fastmri(tmp_path / "k.h5", random_kspace(4, 2, 16, 16))
    volume = pickle.loads(pickle.dumps(read_fastmri(tmp_path / "k.h5")))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for stack in (volume.kspace, volume.target, volume.kspace[1:]):
            items = pool.map(stack.__getitem__, [0, 2, -1])
            np.testing.assert_array_equal(np.stack(items), np.asarray(stack)[[0, 2, -1]])


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_fastmri(tmp_path / "k.h5", random_kspace(2, 8, 8))
    before = (tmp_path / "k.h5").read_bytes()

    def fail_late(i: int) -> np.ndarray:
        if i == 2:
            raise RuntimeError("disk unplugged")
        return random_kspace(8, 8)

    with pytest.raises(RuntimeError, match="disk unplugged"):
        write_fastmri(tmp_path / "k.h5", LazyStack(fail_late, 3, (8, 8), np.complex64))
    assert (tmp_path / "k.h5").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["k.h5"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_full_disk_is_a_plain_error_and_leaves_nothing(tmp_path: Path) -> None:
    code = f"""
import resource, signal
import numpy as np
from csmri_ext.bridge import write_fastmri
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_fastmri({str(tmp_path / "k.h5")!r}, np.ones((4, 128, 128), np.complex64))
except OSError as error:
    print(error.strerror, error.filename)
"""
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert result.stdout == f"File too large {tmp_path / 'k.h5'}\n", result.stderr
    assert list(tmp_path.iterdir()) == []


def test_bad_arrays_to_write(tmp_path: Path) -> None:
    path = tmp_path / "k.h5"
    with pytest.raises(ValueError, match=r"float64 of shape \(2, 8, 8\)"):
        write_fastmri(path, np.ones((2, 8, 8)))
    with pytest.raises(ValueError, match=r"target of shape \(1, 8, 8\) does not fit k-space of shape \(2, 8, 8\)"):
        write_fastmri(path, random_kspace(2, 8, 8), target=np.ones((1, 8, 8)))
    with pytest.raises(ValueError, match=r"mask of shape \(7,\) does not fit"):
        write_fastmri(path, random_kspace(2, 8, 8), mask=np.ones(7))
    with pytest.raises(FileNotFoundError):
        write_fastmri(tmp_path / "no folder" / "k.h5", random_kspace(2, 8, 8))
    assert not path.exists()


@pytest.mark.parametrize(
    ("encoded", "recon", "padding", "said"),
    [
        (
            (21, 12),
            (21, 12),
            (0, 12),
            "columns 0 to 11 of 18 were acquired, but 6 columns outside of them have samples",
        ),
        (
            (21, 18),
            (21, 18),
            (9, 10),
            "columns 9 to 9 of 18 were acquired, but 17 columns outside of them have samples",
        ),
        ((21, 24), (21, 24), (0, 24), "columns 0 to 23 of 18 were acquired, but there are columns 0 to 17 only"),
    ],
)
def test_a_header_of_another_size_throws_nothing_away(
    tmp_path: Path, encoded: tuple[int, int], recon: tuple[int, int], padding: tuple[int, int], said: str
) -> None:
    data = np.random.default_rng(0).standard_normal((1, 2, 21, 18)).astype(np.complex64)
    header = make_header(encoded, recon, 1, 2, padding=padding)
    volume = read_fastmri(make_file(tmp_path / "k.h5", kspace=data, ismrmrd_header=header))
    text = f"the ISMRMRD header says that {said}, so the header is wrong and all are kept"
    cropped = "the file asks for images of 21 x 24, and k-space has 18 columns: squares of 18"
    assert volume.attrs["warnings"] == [text] + [cropped] * (recon[1] > 18)
    assert "padding" not in volume.attrs
    np.testing.assert_array_equal(volume.kspace[0], data[0])
    if encoded[1] <= 18:  # a reconSpace as large as the wrong encodedSpace asks for no crop
        np.testing.assert_allclose(volume.target[0], np.linalg.norm(ifft2c(data[0]), axis=0), rtol=1e-5)
