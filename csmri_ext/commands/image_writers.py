"""Results as files: one writer for each extension, the images as BART, fastMRI, numpy, viewers and people want them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge import Acquisition, write_cfl, write_reconstructions
from csmri_ext.bridge.atomic import replacing
from csmri_ext.bridge.bart_files.header import N_DIMS
from csmri_ext.bridge.result_records import KEY, Record, as_json, h5_attributes, nifti_extension, npy_line
from csmri_ext.errors import InputError
from csmri_ext.outputs import require_apart, written_as

WHITE_PERCENTILE = 99.9  # of the pixels: one hot pixel does not darken the rest

Writer = Callable[[Path, NDArray[np.complex64], Acquisition, Record], None]


def checked_ending(ending: str, where: object) -> str:
    """Return the extension in lower case where there is a writer for it."""
    if ending.lower() not in WRITERS:
        raise InputError(f"{where}: unknown type of output {ending!r}; known: {', '.join(WRITERS)}")
    return ending.lower()


def output_file(name: str) -> Path:
    """Return the file that a name on the command line stands for: without extension ``name.cfl``, as BART has it.

    Raises
    ------
    InputError
        A name that ends as a folder's.
    """
    if name.endswith("/"):
        raise InputError(f"{name} is a folder, and the input is one file")
    path = Path(name)
    return path if path.suffix or path.is_dir() else path.with_name(f"{path.name}.cfl")


def writer_for(output: Path, source: Path) -> Writer:
    """Choose the writer by the extension of `output`, and refuse a place that cannot be written.

    Raises
    ------
    InputError
        An unknown extension, no such folder, a folder, or the input itself.
    """
    if output.is_dir():
        raise InputError(f"{output} is a folder, and the input is one file")
    ending = ".nii.gz" if output.name.lower().endswith(".nii.gz") else output.suffix
    ending = checked_ending(ending, output)
    if not output.parent.is_dir():
        raise InputError(f"{output}: no folder {output.parent}")
    require_apart(written_as(output), {"the input": [source]})
    return WRITERS[ending]


def as_bart_image(images: NDArray[np.complex64], acquisition: Acquisition) -> NDArray[np.complex64]:
    """Lay images out as BART would beside the k-space they came from.

    Parameters
    ----------
    images
        complex64 ``(slices, h, w)``.
    acquisition
        Its ``attrs["image_dims"]`` and ``attrs["loop_dims"]`` say where a ``.cfl`` file had its axes.

    Returns
    -------
        A view of 16 BART dimensions; by default ``w h 1 ... slices 1 1`` with the slices on 13.
    """
    y_dim, x_dim = acquisition.attrs.get("image_dims", (1, 0))
    loops = acquisition.attrs.get("loop_dims") or [(13, len(images))]
    if int(np.prod([n for _, n in loops])) != len(images):  # some slices only: on the last dimension, where it fits
        loops = [(loops[-1][0], len(images))]
    array = images.reshape(*(n for _, n in loops), *images.shape[1:])
    dims = [*(dim for dim, _ in loops), y_dim, x_dim]
    order = sorted(range(len(dims)), key=dims.__getitem__)
    shape = [1] * N_DIMS
    for axis in order:
        shape[dims[axis]] = array.shape[axis]
    return array.transpose(order).reshape(shape)


def as_picture(images: NDArray[np.complex64], acquisition: Acquisition) -> NDArray[np.uint8]:
    """Draw magnitudes as 8-bit gray, several slices as one mosaic, row by row.

    Rows of the picture are y and columns are x, except for BART's files: there rows are its first dimension of the
    plane and columns the second one, as ``bart toimg`` draws them. White is the 99.9th percentile of the pixels.

    Returns
    -------
        uint8 ``(rows, columns)``.
    """
    magnitude = np.abs(images)
    y_dim, x_dim = acquisition.attrs.get("image_dims", (0, 1))
    if x_dim < y_dim:
        magnitude = magnitude.swapaxes(-2, -1)
    n, h, w = magnitude.shape
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    white = float(np.percentile(magnitude, WHITE_PERCENTILE)) or float(magnitude.max()) or 1.0
    canvas = np.zeros((rows * columns, h, w), np.float32)
    canvas[:n] = np.minimum(magnitude / white, 1)
    mosaic = canvas.reshape(rows, columns, h, w).swapaxes(1, 2).reshape(rows * h, columns * w)
    return np.round(255 * mosaic).astype(np.uint8)


def image_affine(acquisition: Acquisition, size: tuple[int, int], first: int) -> NDArray[np.float64]:
    """Affine of images (x, y, slice) in mm, RAS+: that of a NIfTI file they came from, after cut and crop.

    Parameters
    ----------
    acquisition
        With ``attrs["affine"]`` of (slice, row, column), from a NIfTI file; without, voxels are 1 mm, rows run to
        posterior and columns to the left.
    size
        ``(h, w)`` of the images, cropped around the centre.
    first
        First slice that was reconstructed.
    """
    affine = acquisition.attrs.get("affine")
    if affine is None:
        affine = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    ny, nx = acquisition.matrix_size
    start = (int(acquisition.attrs.get("first_slice", 0)) + first, (ny - size[0]) // 2, (nx - size[1]) // 2, 1)
    moved = np.array(affine, np.float64)
    moved[:3, 3] = (moved @ np.array(start, np.float64))[:3]
    return moved[:, [2, 1, 0, 3]]


def _write_cfl(path: Path, images: NDArray[np.complex64], acquisition: Acquisition, record: Record) -> None:
    earlier = acquisition.attrs.get("command")
    history = [*([earlier] if earlier else []), record["command"]]
    write_cfl(path, as_bart_image(images, acquisition), history=history, provenance=record)


def _write_h5(path: Path, images: NDArray[np.complex64], _: Acquisition, record: Record) -> None:
    write_reconstructions(path, images, attrs=h5_attributes(record))


def _write_npy(path: Path, images: NDArray[np.complex64], _: Acquisition, record: Record) -> None:
    images = np.ascontiguousarray(images)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(images))
        file.write(images.data)  # numpy's own writer would not say why it failed on a full disk
        file.write(npy_line(record))


def _write_nifti(path: Path, images: NDArray[np.complex64], acquisition: Acquisition, record: Record) -> None:
    """Write magnitudes, float32 (x, y, slice), where a NIfTI input had them."""
    try:
        import nibabel
    except ImportError as error:
        raise ImportError("NIfTI files need nibabel: pip install csmri_ext[nifti]") from error
    affine = image_affine(acquisition, images.shape[1:], int(record["slices"][0]))
    image = nibabel.Nifti1Image(np.abs(images).transpose(2, 1, 0).astype(np.float32), affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = f"csmri_ext {record['version']}, {record['method']}".encode()[:79]
    image.header.extensions.append(nifti_extension(record))
    content = image.to_bytes()
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(gzip.compress(content, mtime=0) if path.name.lower().endswith(".gz") else content)


def _write_png(path: Path, images: NDArray[np.complex64], acquisition: Acquisition, record: Record) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    texts.add_itxt(KEY, as_json(record))
    with replacing(path) as temporary, temporary.open("wb") as file:
        Image.fromarray(as_picture(images, acquisition)).save(file, format="PNG", pnginfo=texts)


WRITERS: dict[str, Writer] = {
    ".cfl": _write_cfl,
    ".h5": _write_h5,
    ".png": _write_png,
    ".npy": _write_npy,
    ".nii": _write_nifti,
    ".nii.gz": _write_nifti,
}
"""Writers by extension."""
