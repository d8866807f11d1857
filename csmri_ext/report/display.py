"""How a slice becomes pixels: grey window, error scale, the region worth enlarging, PNG bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter
from scipy.spatial import cKDTree

from csmri_ext.report.rows import Panel

ERROR_COLORS = "inferno"  # perceptually uniform, and black at zero error
NOT_FINITE = (0, 190, 220)  # NaN and Inf: a colour that neither grey nor inferno contains
ERROR_LEVELS = 32  # colours in the viewer's error maps; fewer levels make smaller PNGs, and the eye sees no steps
COLORS_IN_COPY = 80  # of `ERROR_COLORS` in the 256 colours of an embedded figure; the rest is grey
FACTORS = tuple(step * 10**power for power in range(4) for step in (1, 2, 4, 5, 8))

FloatImage = NDArray[np.float32]


def check(panel: Panel) -> None:
    """Raise ValueError when the images of a panel do not share one 2-d shape, naming both."""
    if not panel.recons:
        raise ValueError(f"panel {panel.volume} slice {panel.slice} has no reconstruction")
    shape = anchor_image(panel).shape
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"panel {panel.volume} slice {panel.slice}: images must be (h, w), got {shape}")
    for method, recon in panel.recons.items():
        if recon.shape != shape:
            raise ValueError(
                f"panel {panel.volume} slice {panel.slice}: {method} has shape {recon.shape}, expected {shape}"
            )


def slice_title(panel: Panel) -> str:
    """Name volume and slice, the slice counted from zero as in the arrays."""
    return f"{panel.volume}, slice {panel.slice}"


def base_method(panel: Panel) -> str:
    """Name the method to compare with where there is no target: the first that is not ``zero-filled``."""
    return next((method for method in panel.recons if method != "zero-filled"), next(iter(panel.recons)))


def anchor_image(panel: Panel) -> FloatImage:
    """Return the image that sets window and zoom region: the target, or else the reconstruction of `base_method`."""
    return panel.recons[base_method(panel)] if panel.target is None else panel.target


def white_level(panel: Panel) -> float:
    """Magnitude drawn white: the 99.5th percentile of the anchor image, so that one bright spot darkens nothing."""
    finite = _finite(anchor_image(panel))
    level = float(np.percentile(finite, 99.5)) if finite.size else 0.0
    return level or float(finite.max(initial=0.0)) or 1.0


def difference(panel: Panel, method: str, base: str | None = None) -> FloatImage:
    """``|recon - target|``, or ``|recon - base recon|`` when a base method is named, float32 (h, w)."""
    other = panel.recons[base] if base is not None else panel.target
    if other is None:
        raise ValueError(f"panel {panel.volume} slice {panel.slice} has no target: name the method to subtract")
    with np.errstate(invalid="ignore"):
        return np.abs(panel.recons[method] - other)


def error_factor(panels: Iterable[Panel]) -> int:
    """By how much error maps are amplified, so that an error of ``white_level / factor`` is the brightest colour.

    The one of 1, 2, 4, 5, 8, 10, 20 ... that brings the 99th percentile of a typical method's error (median over
    methods and slices) nearest to the top of the scale. One factor serves all methods, so the maps can be compared.
    """
    sizes = []
    for panel in panels:
        base = base_method(panel) if panel.target is None else None
        for method in panel.recons:
            finite = _finite(difference(panel, method, base))
            if method != base and finite.size:
                sizes.append(float(np.percentile(finite, 99)) / white_level(panel))
    typical = float(np.median(sizes)) if sizes else 0.0
    if typical == 0:
        return 1
    return min(FACTORS, key=lambda factor: abs(math.log(factor * typical)))


def detail_region(image: FloatImage, fraction: float = 0.25) -> tuple[int, int, int, int]:
    """Choose the region worth enlarging: the window with the largest gradient energy away from the border.

    The energy is clipped at the 80th percentile of the edges inside the object, so that many edges win against one
    strong edge, and weighted by how much of the window the object fills, so that its outline does not win.

    Parameters
    ----------
    image
        float (h, w); values that are not finite count as zero.
    fraction
        Side of the window relative to the side of the image.

    Returns
    -------
        ``(top, left, height, width)`` in pixels.
    """
    filled = np.where(np.isfinite(image), image, 0).astype(np.float64)
    height, width = (max(1, round(fraction * side)) for side in filled.shape)
    if min(filled.shape) < 2:
        return 0, 0, height, width
    window = {"size": (height, width), "mode": "constant"}
    inside = filled > 0.1 * np.percentile(filled, 99.5)
    energy = np.hypot(*np.gradient(filled)) ** 2
    edges = energy[inside & (energy > 1e-4 * energy.max())]  # a phantom is flat almost everywhere
    energy = np.minimum(energy, np.percentile(edges, 80)) if edges.size else energy
    density = uniform_filter(energy, **window) * uniform_filter(inside.astype(np.float64), **window) ** 2
    # uniform_filter centres a window of size n on its pixel n // 2.
    tops = _starts(filled.shape[0], height)
    lefts = _starts(filled.shape[1], width)
    candidates = density[np.ix_(tops + height // 2, lefts + width // 2)]
    row, column = np.unravel_index(int(np.argmax(candidates)), candidates.shape)
    return int(tops[row]), int(lefts[column]), height, width


def _starts(side: int, window: int) -> NDArray[np.intp]:
    """Positions that keep the window off the border by an eighth of its side, where there is room."""
    border = min(window // 8, (side - window) // 2)
    return np.arange(border, side - window - border + 1)


def grey_png(image: FloatImage, white: float) -> bytes:
    """Encode magnitudes 0..white as an 8-bit grey PNG; with `NOT_FINITE` pixels it becomes a palette PNG."""
    levels = _levels(image, white, 255)
    if np.isfinite(image).all():
        return _png(Image.fromarray(levels))
    ramp = np.repeat(np.arange(255, dtype=np.uint8)[:, None], 3, axis=1)
    indices = np.where(np.isfinite(image), np.minimum(levels, 254), 255).astype(np.uint8)
    return _palette_png(indices, np.vstack([ramp, NOT_FINITE]))


def error_png(error: FloatImage, brightest: float) -> bytes:
    """Encode errors 0..brightest as a palette PNG in `ERROR_COLORS`."""
    levels = _levels(error, brightest, ERROR_LEVELS - 1)
    indices = np.where(np.isfinite(error), levels, ERROR_LEVELS).astype(np.uint8)
    return _palette_png(indices, np.vstack([error_palette(), NOT_FINITE]))


def error_palette() -> NDArray[np.uint8]:
    """Colours of the error scale, uint8 (32, 3), dark to bright."""
    colors = mpl.colormaps[ERROR_COLORS](np.linspace(0, 1, ERROR_LEVELS), bytes=True)
    return np.asarray(colors[:, :3], dtype=np.uint8)


def mask_png(sampling: NDArray[np.bool_]) -> bytes:
    """Encode a sampling mask as a 1-bit PNG, white where k-space was acquired."""
    return _png(Image.fromarray(np.where(sampling, 255, 0).astype(np.uint8)).convert("1", dither=Image.Dither.NONE))


def screen_copy(png: bytes, accents: Sequence[str] = ()) -> bytes:
    """Halve a 300 dpi figure and reduce it to 256 colours, for embedding: a fifth of the size, no visible loss.

    Parameters
    ----------
    png
        The figure.
    accents
        Colours that it has besides greys and `ERROR_COLORS`.
    """
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image.convert("RGB").reduce(2))
    extra = np.array([mpl.colors.to_rgb(color) for color in accents]).reshape(-1, 3) * 255
    n_greys = 256 - COLORS_IN_COPY - len(extra)
    greys = np.repeat(np.linspace(0, 255, n_greys)[:, np.newaxis], 3, axis=1)
    colors = mpl.colormaps[ERROR_COLORS](np.linspace(0, 1, COLORS_IN_COPY))[:, :3] * 255
    palette = np.rint(np.concatenate([greys, colors, extra])).astype(np.uint8)
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    used, where = np.unique(packed, return_inverse=True)
    colors_used = np.stack([used >> 16, used >> 8 & 255, used & 255], axis=1)
    nearest = cKDTree(palette).query(colors_used)[1].astype(np.uint8)
    return _palette_png(nearest[where].reshape(packed.shape), palette)


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG in pixels."""
    with Image.open(io.BytesIO(png)) as image:
        return image.size


def _levels(image: FloatImage, top: float, highest: int) -> NDArray[np.uint8]:
    scaled = np.nan_to_num(image / np.float32(top), nan=0.0, posinf=1.0, neginf=0.0)
    return np.rint(np.clip(scaled, 0, 1) * highest).astype(np.uint8)


def _palette_png(indices: NDArray[np.uint8], colors: NDArray[np.uint8]) -> bytes:
    image = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    image.putpalette(colors.ravel().tolist())
    return _png(image)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def _finite(image: FloatImage) -> FloatImage:
    return image[np.isfinite(image)]
