"""PNG and TIFF images, 8 or 16 bits or float, one or several pages."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.acquisition import Acquisition
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.from_images import image_acquisition
from csmri_ext.bridge.slice_checks import format_errors

if TYPE_CHECKING:
    from PIL import Image

KIND = "PNG or TIFF"


def read_image(path: str | os.PathLike[str], *, force: bool = False) -> Acquisition:
    """Read a grayscale image, or the pages of a TIFF as slices; k-space is simulated from it.

    Integers are scaled to [0, 1] by the largest value of their type (255 or 65535); float pixels are kept. Colour
    images are accepted where the three channels are equal.

    Parameters
    ----------
    path
        PNG or TIFF file.
    force
        Take the magnitude of float pixels that are negative.

    Returns
    -------
        ``target`` is the image, float32 (pages, ny, nx); ``kspace = fft2c(image)``; ``attrs["simulated"]`` is True.

    Raises
    ------
    FileFormatError
        The file is damaged, its pages differ in size, or it is a colour image; when a page is read: it is black.
    ImportError
        Pillow is not installed.
    """
    path = Path(path)
    image = _open(path)
    with image, format_errors(path, KIND):
        n_pages = getattr(image, "n_frames", 1)
        shape = (image.height, image.width)
    attrs = {"axes": "slice y x" if n_pages > 1 else "y x"}
    return image_acquisition(_Pages(path, shape), n_pages, shape, path, KIND, attrs, force=force)


def read_pixels(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """Read the first page alone, float32 (ny, nx), integers scaled to [0, 1]; a black one, too."""
    path = Path(path)
    image = _open(path)
    with image, format_errors(path, KIND):
        shape = (image.height, image.width)
    with format_errors(path, KIND):
        return _Pages(path, shape)(0)


@dataclass(frozen=True)
class _Pages:
    path: Path
    shape: tuple[int, int]

    def __call__(self, i: int) -> NDArray[np.float32]:
        with _open(self.path) as image:
            image.seek(i)
            if (image.height, image.width) != self.shape:  # before it is unpacked: only page 0 was checked when opened
                shape = (image.height, image.width)
                raise FileFormatError(f"{self.path}: page {i} has {shape} pixels, page 0 has {self.shape}")
            pixels = _gray(np.asarray(image.convert("RGB") if image.mode == "P" else image), self.path, i)
            if image.mode == "1":
                pixels = pixels.astype(np.float32)
            if image.mode == "I" and image.format == "PNG":  # 16 bits, as Pillow before 11 opens them
                pixels = pixels.astype(np.uint16)
        scale = np.iinfo(pixels.dtype).max if pixels.dtype in (np.uint8, np.uint16) else 1
        return pixels.astype(np.float32) / np.float32(scale)


def _open(path: Path) -> Image.Image:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("PNG and TIFF files need Pillow: pip install pillow") from error
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with format_errors(path, KIND):
            return Image.open(path)


def _gray(pixels: NDArray[Any], path: Path, page: int) -> NDArray[Any]:
    if pixels.ndim == 2:
        return pixels
    colors = pixels[..., :1] if pixels.shape[-1] == 2 else pixels[..., :3]  # without the alpha channel
    if (colors != colors[..., :1]).any():
        raise FileFormatError(f"{path}: page {page} is a colour image; magnitude images are grayscale")
    return colors[..., 0]
