"""Slices of any orientation through an object that is given by functions of three coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Vector = tuple[float, float, float]
Points = tuple[Array, Array, Array]

PLANES = {"axial": 0.45, "sagittal": 0.35, "coronal": 0.2}
"""Orientations of a head, and how often a seed draws them."""


@dataclass(frozen=True)
class Plane:
    """Pixels of one slice; coordinates are x to the left, y to the back and z to the top of the object, in mm.

    Attributes
    ----------
    origin
        Point at (y, x) = (0, 0) of the image.
    down, right
        Unit vectors along the rows and columns of the image.
    y, x
        Positions of the pixels in the image, (ny,) and (nx,).
    """

    origin: Array
    down: Array
    right: Array
    y: Array
    x: Array

    def points(self) -> Points:
        """Coordinates x, y and z of all pixels, float32, (ny, nx) each."""
        x, y, z = (
            (o + d * self.y[:, np.newaxis] + r * self.x).astype(np.float32)
            for o, d, r in zip(self.origin, self.down, self.right, strict=True)
        )
        return x, y, z

    def window(self, box: tuple[slice, slice]) -> Plane:
        """Return some rows and columns."""
        return replace(self, y=self.y[box[0]], x=self.x[box[1]])

    def near(self, center: Vector, reach: float) -> tuple[slice, slice] | None:
        """Rows and columns that a ball around `center` can reach; None where it misses the slice."""
        offset = np.asarray(center) - self.origin
        if abs(float(offset @ np.cross(self.down, self.right))) >= reach:
            return None
        rows, columns = (
            slice(int(np.searchsorted(axis, middle - reach)), int(np.searchsorted(axis, middle + reach)))
            for axis, middle in ((self.y, offset @ self.down), (self.x, offset @ self.right))
        )
        return (rows, columns) if rows.stop - rows.start > 2 and columns.stop - columns.start > 2 else None


def plane(orientation: str, offset: float, turns: Vector, middle: Vector, y: Array, x: Array) -> Plane:
    """Make a slice.

    Parameters
    ----------
    orientation
        A key of `PLANES`. Rows of an axial slice go to the back, of the others down; columns of a sagittal slice go to
        the back, of the others to the left.
    offset
        Where the slice lies along its normal, in mm.
    turns
        Angles about x, y and z in radians, in this order. They turn the slice about the middle of the image.
    middle
        Point of the object in the middle of the image, but for `offset`.
    y, x
        Positions of the pixels in the image.
    """
    x_axis, y_axis, z_axis = np.eye(3)
    down, right, normal = {
        "axial": (y_axis, x_axis, z_axis),
        "sagittal": (-z_axis, y_axis, x_axis),
        "coronal": (-z_axis, x_axis, y_axis),
    }[orientation]
    turn = np.eye(3)
    for axis, angle in enumerate(turns):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[i, i] = step[j, j] = math.cos(angle)
        step[i, j], step[j, i] = -math.sin(angle), math.sin(angle)
        turn = step @ turn
    center = np.asarray(middle) * (1 - normal) + offset * normal
    return Plane(center, turn @ down, turn @ right, y, x)


def ellipsoid(points: Points, center: Vector, radii: Vector, tilt: float = 0.0) -> Array:
    """First-order signed depth ``r (1 - r) / |grad r^2 / 2|`` in an ellipsoid, r = 1 on its surface, in mm.

    Parameters
    ----------
    points
        x, y, z.
    center, radii
        Centre and semi-axes.
    tilt
        Turn about x in radians, from y to z.
    """
    dx, dy, dz = (p - np.float32(c) for p, c in zip(points, center, strict=True))
    if tilt:
        dy, dz = dy * math.cos(tilt) + dz * math.sin(tilt), dz * math.cos(tilt) - dy * math.sin(tilt)
    u, v, w = dx * (1 / radii[0]), dy * (1 / radii[1]), dz * (1 / radii[2])
    r = np.sqrt(u * u + v * v + w * w)
    steepness = np.sqrt((u / radii[0]) ** 2 + (v / radii[1]) ** 2 + (w / radii[2]) ** 2)
    return np.minimum(r * (1 - r) / np.maximum(steepness, 1e-6), min(radii))


def capsule(points: Points, start: Vector, end: Vector, radius: float, end_radius: float | None = None) -> Array:
    """Signed depth in a rod with round ends whose radius changes from start to end, in mm."""
    a, b = np.asarray(start, np.float32), np.asarray(end, np.float32)
    along = b - a
    dx, dy, dz = (p - c for p, c in zip(points, a, strict=True))
    t = np.clip((dx * along[0] + dy * along[1] + dz * along[2]) / np.float32(along @ along), 0, 1)
    away = np.sqrt((dx - t * along[0]) ** 2 + (dy - t * along[1]) ** 2 + (dz - t * along[2]) ** 2)
    return radius + t * np.float32((radius if end_radius is None else end_radius) - radius) - away


def merge(a: Array, b: Array, rounding: float) -> Array:
    """Join two shapes given by depths: ``max(a, b) + max(r - |a - b|, 0)^2 / (4 r)``, r `rounding` in mm."""
    fillet = np.maximum(rounding - np.abs(a - b), 0)
    return np.maximum(a, b) + fillet * fillet * np.float32(0.25 / rounding)


def between(value: Array, low: float, high: float) -> Array:
    """Smooth step: 0 below `low`, 1 above `high`, ``t^2 (3 - 2 t)`` between them."""
    t = np.clip((value - low) * np.float32(1 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)
