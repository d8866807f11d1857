"""Small files of every format that the package reads, and damage to them: what `benchmarks.fuzz_readers` feeds on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge import write_cfl

N_SLICES, NY, NX = 2, 12, 10
_XML = """<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>{ny}</x><y>{nx}</y><z>1</z></matrixSize></encodedSpace>
<reconSpace><matrixSize><x>{ny}</x><y>{nx}</y><z>1</z></matrixSize></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum><center>{center}</center>
</kspace_encoding_step_1></encodingLimits><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""
HEADER = _XML.format(ny=NY, nx=NX, last=NX - 1, center=NX // 2)


def make_files(folder: Path) -> dict[str, Path]:
    """Write one good file of every format whose package is installed."""
    made = {}
    for name, make in _MAKERS.items():
        path = folder / f"good{name}"
        try:
            make(path)
        except ImportError:
            continue
        made[name] = path
    made[".hdr"] = folder / "good.hdr"
    return made


def damage(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits, cut, repeat, splice with another file, overwrite numbers with extreme ones; one to four times."""
    for _ in range(int(rng.integers(1, 5))):
        kind = _DAMAGES[int(rng.integers(len(_DAMAGES)))]
        content = kind(content, other, rng)
    return content


def _kspace() -> NDArray[np.complex64]:
    rng = np.random.default_rng(3)
    parts = rng.normal(size=(2, N_SLICES, 2, NY, NX)).astype(np.float32)
    return parts[0] + 1j * parts[1]


def _image() -> NDArray[np.float32]:
    return np.random.default_rng(4).random((NY, NX), np.float32) + np.float32(0.1)


def _fastmri(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", data=_kspace(), chunks=(1, 2, NY, NX), compression="gzip")
        file["ismrmrd_header"] = HEADER
        file["reconstruction_rss"] = np.stack([_image()] * N_SLICES)
        file["sens_maps"] = _kspace()
        file.attrs["acquisition"] = "AXT2"


def _raw(path: Path) -> None:
    import ismrmrd

    dataset = ismrmrd.Dataset(os.fspath(path), "dataset")
    dataset.write_xml_header(HEADER.encode())
    for column in range(NX):
        line = ismrmrd.Acquisition.from_array(np.ascontiguousarray(_kspace()[0, :, :, column]))
        line.idx.kspace_encode_step_1 = column
        line.center_sample = NY // 2
        dataset.append_acquisition(line)
    dataset.close()


def _nifti(path: Path) -> None:
    import nibabel

    nibabel.save(nibabel.Nifti1Image(np.stack([_image()] * 4, axis=-1), np.eye(4)), path)


def _mat(path: Path) -> None:
    from scipy.io import savemat

    kspace = _kspace().transpose(2, 3, 1, 0)
    savemat(path, {"kspace": kspace, "mask": np.ones(NX)}, do_compression=True)


def _mat_of_structure(path: Path) -> None:
    from scipy.io import savemat

    savemat(path, {"data": {"kspace": _kspace().transpose(2, 3, 1, 0), "name": "scan"}})


def _mat73(path: Path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        stored = np.empty((N_SLICES, 2, NX, NY), [("real", "f4"), ("imag", "f4")])
        kspace = _kspace().swapaxes(2, 3)
        stored["real"], stored["imag"] = kspace.real, kspace.imag
        file["kspace"] = stored
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")


def _ra(path: Path) -> None:
    values = _kspace()[0].astype("<c8")
    header = [0x7961727261776172, 0, 4, 8, values.nbytes, 4, NX, NY, 1, 2]
    path.write_bytes(np.array(header, "<u8").tobytes() + values.tobytes())


def _picture(path: Path) -> None:
    from PIL import Image

    Image.fromarray((_image() * 200).astype(np.uint8)).save(path)


def _pages(path: Path) -> None:
    from PIL import Image

    page = Image.fromarray((_image() * 200).astype(np.uint8))
    page.save(path, save_all=True, append_images=[page])


_MAKERS: dict[str, Callable[[Path], object]] = {
    ".h5": _fastmri,
    ".mrd": _raw,
    ".npy": lambda path: np.save(path, _kspace()),
    ".npz": lambda path: np.savez_compressed(path, kspace=_kspace(), mask=np.ones(NX, bool), sens_maps=_kspace()),
    ".mat": _mat,
    "_structure.mat": _mat_of_structure,
    "_73.mat": _mat73,
    ".nii": _nifti,
    ".nii.gz": _nifti,
    ".cfl": lambda path: write_cfl(path, _kspace().T.reshape(NX, NY, 1, 2, *[1] * 9, N_SLICES, order="F")),
    ".ra": _ra,
    ".png": _picture,
    ".tif": _pages,
}

_EXTREMES = (0, 1, 0x7F, 0xFF, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**64 - 1)


def _flip(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(0, max(len(changed), 1), int(rng.integers(1, 9))):
        if changed:
            changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(len(content) + 1))]


def _without_middle(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    first, last = sorted(int(n) for n in rng.integers(0, len(content) + 1, 2))
    return content[:first] + content[min(last, first + 64) :]


def _splice(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    place, start = int(rng.integers(len(content) + 1)), int(rng.integers(len(other) + 1))
    piece = other[start : start + int(rng.integers(1, 257))]
    return content[:place] + piece + content[place + len(piece) :]


def _extreme(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    size = int(rng.choice([1, 2, 4, 8]))
    value = _EXTREMES[int(rng.integers(len(_EXTREMES)))] % 2 ** (8 * size)
    place = int(rng.integers(len(content) + 1)) // size * size
    number = value.to_bytes(size, "little" if rng.random() < 0.8 else "big")
    return content[:place] + number + content[place + size :]


_DAMAGES = (_flip, _flip, _extreme, _extreme, _splice, _cut, _without_middle)
