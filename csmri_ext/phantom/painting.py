"""Paint tissues over each other with anti-aliased edges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


class Canvas:
    """Signal of every pixel, and how strongly its tissue is textured.

    Attributes
    ----------
    signal
        float32, (ny, nx), 0 is air.
    texture
        float32, (ny, nx), relative amplitude of the texture of the tissue.
    pixel_mm
        Width of the edges: that of a pixel.
    """

    def __init__(self, signal: Array, texture: Array, pixel_mm: float) -> None:
        self.signal = signal
        self.texture = texture
        self.pixel_mm = pixel_mm

    @classmethod
    def empty(cls, shape: tuple[int, int], pixel_mm: float) -> Canvas:
        """Make a canvas of air."""
        return cls(np.zeros(shape, np.float32), np.zeros(shape, np.float32), pixel_mm)

    def window(self, box: tuple[slice, slice]) -> Canvas:
        """Return a part of the canvas; painting it paints the whole."""
        return Canvas(self.signal[box], self.texture[box], self.pixel_mm)

    def paint(
        self, depth: Array, signal: float | Array, texture: float = 0.0, softness: float = 0.0, opacity: float = 1.0
    ) -> None:
        """Cover the region where `depth` is positive.

        ``signal <- (1 - c) signal + c new``, with ``c = clip(depth / edge + 1/2, 0, 1) opacity``.

        Parameters
        ----------
        depth
            Signed distance to the boundary in mm, positive inside, (ny, nx).
        signal
            New signal.
        texture
            Relative amplitude of the texture.
        softness
            Width of the edge in mm, at least that of a pixel.
        opacity
            Fraction of the pixel that is covered inside.
        """
        cover = np.clip(depth / max(softness, self.pixel_mm) + 0.5, 0, 1) * np.float32(opacity)
        self.signal += cover * (signal - self.signal)
        self.texture += cover * (texture - self.texture)


def distance(level: Array, pixel_mm: float) -> Array:
    """First-order distance to the zero set of a function, ``level / |gradient|``, in mm with the sign of `level`."""
    along_y, along_x = (
        np.gradient(level, pixel_mm, axis=axis) if n > 1 else np.zeros_like(level)  # a box cut to a row, or off
        for axis, n in enumerate(level.shape)
    )
    steepness = np.sqrt(along_y**2 + along_x**2)
    return level / np.maximum(steepness, max(1e-4 * float(steepness.max(initial=0)), 1e-12))


def ellipse(y: Array, x: Array, center: tuple[float, float], radii: tuple[float, float], angle: float = 0.0) -> Array:
    """Signed depth in an ellipse, exact along its axes, in the unit of the coordinates.

    Parameters
    ----------
    y, x
        Coordinates of the pixels, broadcastable to (ny, nx).
    center
        (y, x).
    radii
        Semi-axes (along y, along x) before the turn.
    angle
        Counter-clockwise turn in radians.
    """
    dy, dx = y - center[0], x - center[1]
    cosine, sine = math.cos(angle), math.sin(angle)
    v, u = dy * cosine + dx * sine, dx * cosine - dy * sine
    radius = np.sqrt((v / radii[0]) ** 2 + (u / radii[1]) ** 2)
    return (1 - radius) * min(radii)
