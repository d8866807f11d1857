"""Tiny files that announce gigabytes: refused before memory or disk is asked for."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from csmri_ext.bridge import FileFormatError, load
from csmri_ext.bridge.mask_file import read_mask

KSPACE = np.ones((1, 16, 16), np.complex64) + np.arange(16)
HUGE = 3_500_000_000


def h5(path: Path, **datasets: tuple) -> None:
    with h5py.File(path, "w") as file:
        file["kspace"] = KSPACE
        for name, (shape, dtype) in datasets.items():
            file.create_dataset(name, shape, dtype, chunks=True if shape else None)


def refused_in_little_memory(path: Path, message: str, most: float = 40e6) -> None:
    assert path.stat().st_size < 5e6
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match=message):
            np.asarray(load(path).kspace)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most


def test_hdf5(tmp_path: Path) -> None:
    h5(tmp_path / "mask.h5", mask=((HUGE,), "u1"))
    refused_in_little_memory(tmp_path / "mask.h5", rf"mask of shape \({HUGE},\) does not fit")
    h5(tmp_path / "header.h5", ismrmrd_header=((), f"S{HUGE // 2}"))
    refused_in_little_memory(tmp_path / "header.h5", "ismrmrd_header is .* expected one text")
    h5(tmp_path / "headers.h5", ismrmrd_header=((HUGE,), "u1"))
    refused_in_little_memory(tmp_path / "headers.h5", "ismrmrd_header is uint8 .* expected one text")
    with h5py.File(tmp_path / "kspace.h5", "w") as file:
        file.create_dataset("kspace", (1, 60_000, 60_000), np.complex64, chunks=True)
    refused_in_little_memory(tmp_path / "kspace.h5", "announces data, and none were written")


def bomb(header: bytes, n_bytes: int) -> bytes:
    """A header and zeros, deflated."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    content = squeeze.compress(header)
    for _ in range(n_bytes // 2**22):
        content += squeeze.compress(bytes(2**22))
    return content + squeeze.flush()


def test_npz_unpacks_what_its_header_promises(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, KSPACE)
    with (
        zipfile.ZipFile(tmp_path / "k.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("kspace.npy", "w") as file,
    ):
        file.write(stream.getvalue())
        for _ in range(50):
            file.write(bytes(2**22))
    refused_in_little_memory(tmp_path / "k.npz", r"kspace\.npy has .* bytes, its header promises")


def test_nifti_unpacks_what_its_header_promises(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(np.random.default_rng(0).random((8, 8, 3)).astype(np.float32), np.eye(4))
    (tmp_path / "v.nii.gz").write_bytes(bomb(image.to_bytes(), 200 * 2**20))
    tracemalloc.start()
    before = {path.name for path in Path("/tmp").glob("tmp*.nii")}
    assert load(tmp_path / "v.nii.gz").target.shape == (3, 8, 8)
    assert tracemalloc.get_traced_memory()[1] < 40e6
    tracemalloc.stop()
    assert {path.name for path in Path("/tmp").glob("tmp*.nii")} <= before
    short = gzip.compress(image.to_bytes()[:-100])
    (tmp_path / "short.nii.gz").write_bytes(short)
    with pytest.raises(FileFormatError, match="bytes are unpacked, the header promises"):
        load(tmp_path / "short.nii.gz")


def test_matlab_unpacks_what_its_shape_promises(tmp_path: Path) -> None:
    def element(kind: int, data: bytes) -> bytes:
        return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)

    inside = element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack("<ii", 8, 8)) + element(1, b"kspace")
    promised = 300 * 2**20
    squeezed = zlib.compressobj(9)
    data = squeezed.compress(struct.pack("<II", 14, promised) + inside)
    for _ in range(promised // 2**22):
        data += squeezed.compress(bytes(2**22))
    data += squeezed.flush()
    header = b"MATLAB 5.0 MAT-file".ljust(124, b" ") + struct.pack("<H", 0x0100) + b"IM"
    (tmp_path / "k.mat").write_bytes(header + struct.pack("<II", 15, len(data)) + data)
    refused_in_little_memory(tmp_path / "k.mat", r"variable 'kspace' of shape \(8, 8\) announces 314572800 bytes")


def test_images_beyond_float32_in_kspace_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "i.npy", np.full((32, 32), 3e37, np.float32))
    with pytest.raises(FileFormatError, match=r"i\.npy: slice 0 .* up to 3e\+37, whose k-space leaves the range"):
        load(tmp_path / "i.npy").kspace[0]


def nothing(path: Path, name: str, shape: tuple[int, ...], dtype: str, **others: np.ndarray) -> None:
    """Zeros that are written, in one packed chunk of a slice."""
    with h5py.File(path, "w") as file:
        chunks = tuple(min(n, 64) for n in shape)
        stored = file.create_dataset(name, shape, dtype, chunks=chunks, compression="gzip")
        stored[(0,) * len(shape)] = 1
        for other, value in others.items():
            file[other] = value


def test_hdf5_with_one_chunk_of_gigabytes(tmp_path: Path) -> None:
    nothing(tmp_path / "k.h5", "kspace", (1, 20_000, 20_000), "c8")
    refused_in_little_memory(tmp_path / "k.h5", r"k\.h5: kspace announces 3\.20 GB, and the file holds \d+ bytes")
    with h5py.File(tmp_path / "mask.h5", "w") as file:
        file.create_dataset("mask", (1, 30_000, 20_000), "u1", chunks=(1, 64, 64), compression="gzip")[0, 0, 0] = 1
    with pytest.raises(FileFormatError, match=r"mask\.h5: a mask is numbers, not uint8 of shape"):
        read_mask(tmp_path / "mask.h5")


def test_images_far_larger_than_kspace(tmp_path: Path) -> None:
    """K-space would be filled with zeros to the size that the file asks for."""
    nothing(tmp_path / "k.h5", "reconstruction_rss", (1, 30_000, 30_000), "f4", kspace=KSPACE)
    refused_in_little_memory(tmp_path / "k.h5", "asks for images of 30000 x 30000 from k-space of 16 x 16")


def test_packed_zeros(tmp_path: Path) -> None:
    """Header and content agree on gigabytes of nothing."""
    promised = 272 * 2**20
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<c8", "fortran_order": False, "shape": (promised // 8 // 2**20, 1024, 1024)}
    )
    with (
        zipfile.ZipFile(tmp_path / "k.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("kspace.npy", "w", force_zip64=True) as file,
    ):
        file.write(header.getvalue())
        for _ in range(promised // 2**23):
            file.write(bytes(2**23))
    refused_in_little_memory(tmp_path / "k.npz", r"k\.npz: kspace announces 0\.29 GB, and the file holds \d+ bytes")


def test_nifti_whose_header_is_gigabytes(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    content = bytearray(nibabel.Nifti1Image(np.ones((8, 8, 3), np.float32), np.eye(4)).to_bytes())
    content[108:112] = struct.pack("<f", 3e9)
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress(bytes(content)))
    refused_in_little_memory(tmp_path / "v.nii.gz", r"the header says that the voxels begin at byte 3e\+09")


def test_pages_of_other_sizes_are_not_unpacked(tmp_path: Path) -> None:
    from PIL import Image

    small, large = (Image.new("L", (n, n), 7) for n in (8, 7000))
    small.save(tmp_path / "p.tif", save_all=True, append_images=[large], compression="tiff_adobe_deflate")
    refused_in_little_memory(tmp_path / "p.tif", r"page 1 has \(7000, 7000\) pixels, page 0 has \(8, 8\)")
