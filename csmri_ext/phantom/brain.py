"""A procedural brain in three dimensions: folded cortex, ventricles, deep nuclei, cerebellum and stem."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.phantom.planes import Points, Vector, between, capsule, ellipsoid
from csmri_ext.phantom.random_fields import upsampled
from csmri_ext.phantom.scene import Scene

Array = NDArray[np.floating[Any]]

_COARSE_MM = 1.6  # the field of the sulci is smooth: a fine grid would only cost time


@dataclass(frozen=True)
class BrainShape:
    """Signed depths in mm, (ny, nx): in the cerebrum with its fissure, cerebellum, stem; and in all, closed."""

    cerebrum: Array
    cerebellum: Array
    stem: Array
    closed: Array


def brain_shape(scene: Scene, points: Points, shell: Array) -> BrainShape:
    """Cut the inside of the vault into the parts of the brain.

    Parameters
    ----------
    scene, points
        Random source; coordinates of the pixels.
    shell
        Depth in the ellipsoid of the brain.
    """
    x, y, z = points
    f = scene.fields
    side = np.abs(x)
    temporal = between(side, 14, 22) * between(y, -48, -36) * (1 - between(y, 18, 34))
    tent = 4 - 0.30 * np.minimum(side, 40) - 6 * between(y, 40, 75)
    base = -17 + 5 * between(y, -36, -20) - 27 * temporal + (tent + 12) * between(y, 14, 30) * (1 - temporal)
    closed = np.minimum(shell, 0.85 * (z - base) + 1.5 * f.smooth(14))
    # The hemispheres are joined by the corpus callosum and what lies below it.
    joined = 1 - np.sqrt(((y - 6) / 40) ** 2 + ((z - 3) / 26) ** 2)
    fissure = np.abs(x + 1.5 * f.smooth(40)) - f.uniform(0.4, 1.3) * np.exp(0.5 * f.smooth(10))
    cerebrum = np.minimum(closed, fissure + 60 * np.clip(3 * joined + 0.5, 0, 1))
    size = f.uniform(0.93, 1.05)
    cerebellum = np.maximum(
        ellipsoid((side, y, z), (22, 50, -31), (31 * size, 27 * size, 21 * size), 0.25),
        ellipsoid(points, (0, 49, -31), (15, 24, 20)),
    )
    cerebellum = np.minimum(np.minimum(cerebellum, base - z - 2), shell + 6 * between(-z, 10, 30))
    pons = ellipsoid(points, (0, 7, -30), (15, 11, 13), 0.2)
    upper = capsule(points, (0, 10, -8), (0, 21, -60), 11, 6)
    cord = capsule(points, (0, 21, -60), (0, 26, -170), 5.5)
    stem = np.maximum(np.maximum(pons, upper), cord)
    return BrainShape(cerebrum, cerebellum, stem, closed)


def draw_brain(scene: Scene, points: Points, shape: BrainShape) -> None:
    """Paint the brain; the space around it holds fluid already.

    Parameters
    ----------
    scene, points, shape
        Canvas; coordinates of the pixels; parts of the brain.
    """
    _draw_cortex(scene.part("cortex"), points, shape)
    _draw_deep(scene.part("deep"), points, shape)
    _draw_cerebellum(scene.part("cerebellum"), points, shape)


def _draw_cortex(scene: Scene, points: Points, shape: BrainShape) -> None:
    """White matter, a grey ribbon along the surface and along the sulci, and fluid in these.

    Sulci are the zero set of a random field of one wavelength, taken at points that are drawn out to the surface, so
    that they start perpendicular to it.
    """
    f, canvas, tissue = scene.fields, scene.canvas, scene.tissue
    x, y, z = points
    depth = shape.cerebrum
    wavelength = f.uniform(17, 23)
    sheet = _sheets(scene, wavelength, f.uniform(0.55, 0.8))
    # Deep ones are few; where the field is at its lowest, there is none.
    reach = np.clip(13 + 8 * f.smooth(11), 3, 30)
    nearest = np.sqrt(sheet**2 + np.maximum(0, np.maximum(depth, 0) - reach) ** 2)
    side = np.abs(x)
    insula = f.uniform(35, 39)
    lateral = np.abs(z + f.uniform(2, 8) - 0.25 * y + 2 * f.smooth(12)) + np.maximum(0, insula - side)
    medial = np.abs(side - insula - 0.008 * y * y + 1.0 * f.smooth(6)) + np.maximum(0, np.abs(z - 2) - 15)
    sylvian = np.minimum(lateral, medial) + np.maximum(0, np.abs(y) - f.uniform(18, 26))
    nearest = np.minimum(nearest, sylvian)
    canvas.paint(depth, tissue["white"] * (1 + 0.025 * f.smooth(22)), 0.04)
    thickness = f.uniform(2.2, 3.4) + 0.4 * f.smooth(10)
    open_ = f.uniform(0.2, 0.7) * np.exp(0.45 * f.smooth(7)) + 0.6 * np.exp(-np.maximum(depth, 0) / 2.5)
    ribbon = np.minimum(thickness + open_ - np.minimum(nearest, depth + open_), depth)
    canvas.paint(ribbon, tissue["grey"] * (1 + 0.03 * f.smooth(12)), 0.05, softness=1.5)
    fluid = np.minimum(open_ - nearest, depth + 1)
    canvas.paint(fluid, tissue["csf"], 0.03, opacity=f.uniform(0.7, 1.0))
    _vessels(scene, fluid)


def _sheets(scene: Scene, wavelength: float, pull: float) -> Array:
    """Signed distance to the nearest sulcus in mm, drawn on a coarse grid and interpolated."""
    step = _COARSE_MM
    y, x = (
        step * np.arange(int(axis[0] / step) - 3, int(axis[-1] / step) + 4) for axis in (scene.plane.y, scene.plane.x)
    )
    px, py, pz = replace(scene.plane, y=y, x=x).points()
    rho = np.sqrt((px / 68) ** 2 + (py / 86) ** 2 + (pz / 60) ** 2)
    drawn_out = np.maximum(rho, 0.3) ** -pull
    right = 400 * (px > 0)  # the hemispheres are alike, but not the same
    wave = scene.fields.waves((px * drawn_out + right, py * drawn_out, pz * drawn_out), wavelength)
    wave += 0.25 * scene.fields.waves((px + right, py, pz), 0.45 * wavelength)
    along_y, along_x = np.gradient(wave, step)
    # A sheet that the slice meets at a small angle looks wide, but not endlessly so.
    floor = (0.35 * 2 * np.pi / wavelength) ** 2
    return upsampled(wave / np.sqrt(along_y**2 + along_x**2 + floor), y, x, scene.plane.y, scene.plane.x)


def _draw_deep(scene: Scene, points: Points, shape: BrainShape) -> None:
    """Nuclei and ventricles, mirrored but not quite."""
    f, tissue = scene.fields, scene.tissue
    inside = shape.closed - 4
    nuclei = tissue["nuclei"] * (1 + 0.04 * f.uniform(-1, 1))
    for side in (-1, 1):
        wobble = f.uniform(0.92, 1.08)
        for center, radii, tilt in (
            ((26 * side, -5, 3), (5, 18, 10), 0.0),  # putamen
            ((13 * side, -20, 9), (4.5, 11, 8), 0.3),  # caudate
            ((10 * side, 13, 3), (8, 15, 9), 0.1),  # thalamus
            ((29 * side, -4, -25), (7, 8, 7), 0.0),  # amygdala
        ):
            scaled = (radii[0] * wobble, radii[1] * wobble, radii[2] * wobble)
            scene.blob(center, scaled, nuclei, tilt=tilt, within=inside, rough=0.15, softness=2)
    box = scene.plane.near((0, 15, 0), 62)
    if box is None:
        return
    part = scene.window(box)
    x, y, z = (p[box] for p in points)
    f = part.fields
    size = f.uniform(0.45, 1.25)
    x, y, z = x + 1.5 * f.smooth(20), y + 1.5 * f.smooth(18), z + 1.5 * f.smooth(18)
    mirrored = (np.abs(x), y, z)
    horns: tuple[tuple[Vector, Vector, float, float], ...] = (
        ((5, -31, 7), (8, -4, 16), 4.5, 4.2),
        ((8, -4, 16), (13, 22, 14), 4.2, 4.5),
        ((13, 22, 14), (24, 41, 5), 4.5, 6.0),
        ((24, 41, 5), (22, 60, 2), 5.0, 2.0),
        ((25, 36, -3), (32, -2, -22), 3.5, 2.0),
    )
    lateral = np.max([capsule(mirrored, a, b, r * size, s * size) for a, b, r, s in horns], axis=0)
    lateral = np.minimum(lateral, np.abs(x) - 0.6)  # septum
    third = ellipsoid((x, y, z), (0, 5, -4), (1.2 + 1.2 * size, 14, 9))
    fourth = ellipsoid((x, y, z), (0, 27, -34), (5, 4.5, 9), 0.3)
    fluid = np.minimum(np.maximum(lateral, third), shape.cerebrum[box] - 1)
    part.canvas.paint(np.maximum(fluid, fourth), tissue["csf"], 0.03)
    part.canvas.paint(np.minimum(lateral - 0.5, 1.2 * f.smooth(3) - 1.6), tissue["grey"], 0.1, opacity=0.7)


def _draw_cerebellum(scene: Scene, points: Points, shape: BrainShape) -> None:
    """Stem; cerebellum of leaves around its middle that thin fluid parts, with white matter branching between them."""
    f, canvas, tissue = scene.fields, scene.canvas, scene.tissue
    canvas.paint(shape.stem, tissue["white"] * 0.95 * (1 + 0.02 * f.smooth(8)), 0.04)
    if shape.cerebellum.max() <= 0:
        return
    x, y, z = points
    depth = shape.cerebellum
    away = np.sqrt((0.35 * x) ** 2 + (y - 33) ** 2 + (z + 33) ** 2) + 1.5 * f.smooth(7)
    bearing = np.arctan2(z + 33, y - 33) + 0.12 * f.smooth(9)
    canvas.paint(depth, tissue["grey"], 0.06)
    tree = np.abs(np.sin(bearing * 5.0)) * away / 5 - 0.8  # distance to one of the branches, about
    white = np.maximum(np.minimum(1.3 - tree, depth - 3), np.minimum(depth - 12, 14 - away))
    canvas.paint(white, tissue["white"], 0.04, softness=1)
    period = f.uniform(3.2, 5.0)
    leaf = np.abs((away / period) % 1 - 0.5) * period
    cleft = np.minimum(f.uniform(0.25, 0.5) + 0.2 * f.smooth(8) - leaf, f.uniform(7, 12) + 3 * f.smooth(6) - depth)
    canvas.paint(np.minimum(cleft, depth), tissue["csf"], opacity=f.uniform(0.4, 0.8))


def _vessels(scene: Scene, fluid: Array) -> None:
    """Vessels between gyri, as dots: dark where blood flows fast, in a fifth of the subjects bright."""
    f, canvas = scene.fields, scene.canvas
    signal = scene.tissue["vessel"] if f.uniform(0, 1) < 0.8 else 1.1 * scene.tissue["fat"]
    candidates = np.flatnonzero(fluid > -0.3)
    if not candidates.size:
        return
    rows, columns = np.unravel_index(f.rng.choice(candidates, 45), fluid.shape)
    for row, column, radius in zip(rows, columns, f.rng.uniform(0.4, 1.1, 45), strict=True):
        reach = int(3 * radius / canvas.pixel_mm) + 1
        near = slice(max(row - reach, 0), row + reach + 1), slice(max(column - reach, 0), column + reach + 1)
        patch = canvas.signal[near]
        v = (np.arange(patch.shape[0]) + near[0].start - row)[:, np.newaxis] * canvas.pixel_mm
        u = (np.arange(patch.shape[1]) + near[1].start - column) * canvas.pixel_mm
        patch += np.exp(-(v**2 + u**2) / radius**2) * (signal - patch)


def shell_depth(points: Points, size: Vector) -> Array:
    """Signed depth in the ellipsoid of the brain in mm, (ny, nx); its lower half is flatter than the upper."""
    x, y, z = points
    u, v = x / size[0], y / size[1]
    height = np.where(z > 0, np.float32(size[2]), np.float32(0.8 * size[2]))
    w = z / height
    squareness = 0.12 * np.minimum((u * v) ** 2, 1)
    radius = np.sqrt(np.maximum(u * u + v * v + w * w - squareness, 0))
    steepness = np.sqrt((u / size[0]) ** 2 + (v / size[1]) ** 2 + (w / height) ** 2)
    return np.minimum(radius * (1 - radius) / np.maximum(steepness, 1e-6), min(size))


def draw_falx(scene: Scene, inside_skull: Array, points: Points) -> None:
    """Paint the falx and the sagittal sinus in its upper edge.

    Parameters
    ----------
    scene, points
        Canvas; coordinates of the pixels.
    inside_skull
        Depth in the vault in mm, (ny, nx).
    """
    f, tissue = scene.fields, scene.tissue
    x, y, z = points
    above = 24 - 44 * np.exp(-(((y - 6) / 44) ** 2))
    middle = np.abs(x + 1.5 * f.smooth(40))
    falx = np.minimum(np.minimum(0.5 - middle, inside_skull), z + above)
    scene.canvas.paint(falx, tissue["dura"], opacity=0.6)
    vein = np.minimum(3.0 - np.sqrt(middle**2 + (inside_skull - 1) ** 2), z - 4 * math.copysign(1, z.mean()))
    scene.canvas.paint(vein, tissue["vessel"], 0.1)
