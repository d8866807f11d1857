"""Procedural axial slices of a head: scalp, skull, folded cortex, ventricles, vessels. No patient is involved."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.data.canvas import Canvas, distance, ellipse
from csmri_ext.data.random_fields import RandomFields

Array = NDArray[np.floating[Any]]

TISSUES = ["skin", "fat", "muscle", "bone", "marrow", "dura", "csf", "grey", "white", "nuclei", "vitreous", "vessel"]

# Signal relative to the brightest tissue; chosen by eye to resemble clinical images, varied per subject.
CONTRASTS: dict[str, tuple[float, ...]] = {
    "t1": (0.55, 1.00, 0.45, 0.04, 0.30, 0.30, 0.20, 0.59, 0.68, 0.63, 0.25, 0.08),
    "t2": (0.35, 0.62, 0.20, 0.04, 0.30, 0.20, 0.95, 0.52, 0.38, 0.42, 0.95, 0.06),
    "pd": (0.50, 0.75, 0.50, 0.05, 0.35, 0.35, 0.72, 0.82, 0.68, 0.76, 0.68, 0.10),
    "flair": (0.45, 0.75, 0.35, 0.04, 0.30, 0.35, 0.10, 0.62, 0.52, 0.56, 0.12, 0.08),
}


@dataclass(frozen=True)
class _Head:
    """Coordinates of one slice in the frame of the head, in mm, and what all of its parts share."""

    y: Array
    x: Array
    half_length: float
    half_width: float
    level: float
    tissue: dict[str, float]
    pixel_mm: float

    def window(self, box: tuple[slice, slice]) -> _Head:
        return replace(self, y=self.y[box], x=self.x[box])


def draw_brain(fields: RandomFields, contrast: str, level: float) -> Canvas:
    """Draw one slice.

    Parameters
    ----------
    fields
        Random source and pixel positions; the head is about 155 by 195 mm, near 0.
    contrast
        A key of `CONTRASTS`.
    level
        Height of the slice: 0 at the eyes, 0.3 at the basal ganglia, 0.6 above the ventricles, 1 near the vertex.

    Returns
    -------
        Signal between 0 and about 1, without noise, texture or bias field.
    """
    f = fields.part("head")
    tissue = {name: value * f.uniform(0.93, 1.07) for name, value in zip(TISSUES, CONTRASTS[contrast], strict=True)}
    turn, y0, x0 = f.uniform(-0.12, 0.12), f.uniform(-6, 6), f.uniform(-5, 5)
    length, width = f.uniform(93, 102), f.uniform(74, 82)
    shrink = math.sqrt(max(1 - max(level - 0.3, 0) ** 2, 0.25))
    dy, dx = f.y[:, np.newaxis] - y0, f.x - x0
    head = _Head(
        y=dy * math.cos(turn) + dx * math.sin(turn),
        x=dx * math.cos(turn) - dy * math.sin(turn),
        half_length=length * shrink,
        half_width=width * shrink,
        level=level,
        tissue=tissue,
        pixel_mm=float(f.x[1] - f.x[0]),
    )
    canvas = Canvas.empty((f.y.size, f.x.size), head.pixel_mm)
    outline, inside_skull = _draw_scalp_and_skull(canvas, fields.part("skull"), head)
    brain = inside_skull - f.uniform(0.3, 1.6) * np.exp(0.5 * f.smooth(18))
    brain = _draw_eyes(canvas, fields.part("eyes"), head, outline, brain)
    hemisphere, cut = _split(fields.part("fissure"), head, brain)
    fluid = _draw_cortex(canvas, fields.part("cortex"), head, hemisphere)
    _draw_deep_structures(canvas, fields.part("deep"), head, hemisphere)
    _draw_midline_and_vessels(canvas, fields.part("vessels"), head, inside_skull, cut, fluid)
    return canvas


def _draw_scalp_and_skull(canvas: Canvas, f: RandomFields, head: _Head) -> tuple[Array, Array]:
    """Paint the layers from outside in, each with a thickness that varies; return the depth in head and in skull."""
    tissue, level = head.tissue, head.level
    back, side = head.y / head.half_length, np.abs(head.x) / head.half_width
    taper, squareness = f.uniform(0.04, 0.14), f.uniform(0.0, 0.3)
    u, v = (head.x / (head.half_width * (1 + taper * back))) ** 2, back**2
    outline = distance(
        1 - np.sqrt(u + v - squareness * np.minimum(u * v, 1)) - 0.012 * f.smooth(45) - 0.005 * f.smooth(20),
        head.pixel_mm,
    )

    skin = 1.5 + 0.3 * f.smooth(30)
    fat = f.uniform(2.5, 6.0) * (1 + 0.35 * np.clip(back, -1, 1)) * np.exp(0.25 * f.smooth(25))
    temporal = np.clip(side - 0.5, 0, 1) * np.clip(0.7 - np.abs(back + 0.15), 0, 1) * (1.2 - level)
    muscle = f.uniform(6, 22) * temporal
    outer = f.uniform(0.8, 1.4) + 0.2 * f.smooth(30)
    diploe = f.uniform(1.0, 3.5) * np.exp(0.4 * f.smooth(30))
    inner = f.uniform(0.8, 1.4)

    lobules = np.clip(0.7 * f.smooth(2.2) + 0.35, 0, 1)
    canvas.paint(outline, tissue["skin"], 0.08)
    canvas.paint(outline - skin, tissue["fat"] * (1 - f.uniform(0.2, 0.45) * lobules), 0.12, softness=2)
    depth = outline - skin - fat
    canvas.paint(depth, 0.6 * tissue["skin"], 0.1)
    canvas.paint(np.minimum(depth - 0.6, muscle - 0.5), tissue["muscle"], 0.15, softness=1)
    depth = depth - 0.8 - muscle
    canvas.paint(depth, tissue["bone"], softness=1)
    canvas.paint(np.minimum(depth - outer, diploe), tissue["marrow"], 0.25, softness=1.5)
    depth = depth - outer - diploe
    canvas.paint(depth, tissue["bone"], softness=1)
    depth = depth - inner
    canvas.paint(depth, tissue["dura"], 0.1)
    canvas.paint(depth - 0.7, tissue["csf"], 0.05)
    return outline, depth


def _draw_eyes(canvas: Canvas, f: RandomFields, head: _Head, outline: Array, brain: Array) -> Array:
    """Paint orbits in low slices; return the depth in the brain without them."""
    size = f.uniform(12, 14)
    front, apart = -head.half_length + f.uniform(26, 31), f.uniform(30, 34)
    height = math.sqrt(max(0.0, 1 - (head.level / 0.2) ** 2))
    if height < 0.2:
        return brain
    for sign in (-1, 1):
        socket = ellipse(head.y, head.x, (front, sign * apart), (1.8 * size * height, 1.4 * size * height), 0.4 * sign)
        socket = np.minimum(socket + f.smooth(15), outline - 3)
        canvas.paint(socket, head.tissue["bone"])
        canvas.paint(socket - 1.5, 0.8 * head.tissue["fat"], 0.15, softness=2)
        center = front - 0.4 * size
        eye = np.minimum(ellipse(head.y, head.x, (center, sign * apart), (size * height, size * height)), socket)
        canvas.paint(eye, head.tissue["muscle"])
        canvas.paint(eye - 1.2, head.tissue["vitreous"], 0.04)
        lens = ellipse(head.y, head.x, (center - 0.7 * size * height, sign * apart), (2, 4.5))
        canvas.paint(np.minimum(lens, eye), head.tissue["muscle"])
        brain = np.minimum(brain, -socket - 1)
    return brain


def _split(f: RandomFields, head: _Head, brain: Array) -> tuple[Array, Array]:
    """Cut the brain into hemispheres, which are joined in the middle of low slices; also return how open the cut is."""
    joined = 0.40 * head.half_length * (1 - max(head.level - 0.3, 0) / 0.25)
    joined = max(joined, -5.0)  # not at all
    cut = np.clip((np.abs(head.y + 0.04 * head.half_length) - joined) / 5 + 0.5, 0, 1)
    from_middle = np.abs(head.x + 1.2 * f.smooth(40))
    fissure = f.uniform(0.4, 1.2) * np.exp(0.6 * f.smooth(10))
    return np.minimum(brain, from_middle - fissure * cut + 40 * (1 - cut)), cut


def _draw_cortex(canvas: Canvas, f: RandomFields, head: _Head, hemisphere: Array) -> Array:
    """Paint white and grey matter and the fluid in the sulci; return the depth in that fluid."""
    tissue = head.tissue
    sulcus, width = _sulci(f, head, hemisphere)
    canvas.paint(hemisphere, tissue["white"] * (1 + 0.02 * f.smooth(25)), 0.025)
    thickness = f.uniform(2.0, 3.2) + 0.5 * f.smooth(10)
    ribbon = np.minimum(thickness - np.minimum(sulcus, hemisphere), hemisphere)
    canvas.paint(ribbon, tissue["grey"] * (1 + 0.03 * f.smooth(12)), 0.03, softness=1.6)
    fluid = np.minimum(width - sulcus, hemisphere + 1)
    canvas.paint(fluid, tissue["csf"], 0.05)
    return fluid


def _sulci(f: RandomFields, head: _Head, hemisphere: Array) -> tuple[Array, Array]:
    """Distance to the nearest sulcus, and half the width of the fluid in it, both in mm.

    Sulci start at the surface and run along the normals of a stadium, a segment from front to back thickened by a
    radius; the arc length along its outline tells them apart. They meander, and some fork.
    """
    radius = 0.42 * head.half_width
    ends = 0.45 * head.half_length
    depth = np.maximum(hemisphere, 0)
    on_axis = np.clip(head.y, -ends, ends)
    outwards = np.abs(head.x) - 0.45 * head.half_width
    arc = on_axis + radius * np.arctan2(head.y - on_axis, np.abs(outwards))
    arc += np.minimum(depth / 5, 1) * (3.0 * f.smooth(6) + 1.0 * f.smooth(3)) + 1.5 * f.smooth(15)
    along_y, along_x = np.gradient(arc, head.pixel_mm)
    stretch = np.clip(np.sqrt(along_y**2 + along_x**2), 0.4, 2.5)

    end = ends + radius * np.pi / 2
    nearest = np.full(hemisphere.shape, 99.0, np.float32)
    width = np.zeros(hemisphere.shape, np.float32)
    right, lateral = head.x > 0, outwards > 0
    for is_right in (False, True):
        for is_lateral in (False, True):
            where = (right == is_right) & (lateral == is_lateral)
            places, reach, opening, fork = _sulcus_list(f, end, is_lateral)
            here, inside = arc[where], depth[where]
            j = np.searchsorted((places[1:] + places[:-1]) / 2, here)
            sideways = np.abs(here - places[j])
            sideways = np.abs(sideways - np.maximum(0, inside - 0.5 * reach[j]) * fork[j]) / stretch[where]
            nearest[where] = np.sqrt(sideways**2 + np.maximum(0, inside - reach[j]) ** 2)
            width[where] = opening[j] * (0.8 + 0.6 * np.clip(inside / reach[j], 0, 1) ** 2)
    # Folds that reach the slice from above or below: short pieces of the zero set of a field, well below the surface.
    island = np.abs(distance(f.smooth(6.5), head.pixel_mm)) + 5 * np.maximum(0, 0.9 - f.smooth(6))
    island += np.maximum(0, 7 - depth) + np.maximum(0, depth - f.uniform(16, 24))
    nearest = np.minimum(nearest, island)
    mouth = np.exp(-depth / 1.8)
    return nearest, width * (0.75 + 0.45 * f.smooth(7)) + (0.2 + 1.3 * width) * mouth


def _sulcus_list(f: RandomFields, end: float, is_lateral: bool) -> tuple[Array, Array, Array, Array]:
    """Place along the outline, depth, half width and fork slope of the sulci of one side; they change with z."""
    n = int(190 / (f.uniform(9.5, 12) if is_lateral else f.uniform(8, 10)))  # 190 mm is a typical outline
    phases, shift = f.rng.uniform(0, 2 * np.pi, (2, n + 1))
    jitter = f.rng.uniform(-0.3, 0.3, n + 1) + 0.15 * np.sin(f.z / 15 + shift)
    jitter[[0, -1]] = 0  # where the two sides of a hemisphere meet
    places = end * (2 * (np.arange(n + 1) + jitter) / n - 1)
    longest = f.rng.uniform(9, 34, n + 1) if is_lateral else f.rng.uniform(5, 18, n + 1)
    reach = longest * (0.75 + 0.25 * np.sin(f.z / 18 + phases))
    opening = f.uniform(0.4, 0.75) * np.exp(0.45 * f.rng.standard_normal(n + 1))
    fork = np.where(f.rng.random(n + 1) < 0.5, f.rng.uniform(0.5, 1.3, n + 1), 0)
    values = np.array([places, reach, opening, fork], np.float32)
    return values[0], values[1], values[2], values[3]


def _draw_deep_structures(canvas: Canvas, f: RandomFields, head: _Head, hemisphere: Array) -> None:
    """Ventricles, basal ganglia and thalami, mirrored but not quite, where the slice is low enough."""
    box = f.box((0, 0), 55)
    canvas, f, head, hemisphere = canvas.window(box), f.window(box), head.window(box), hemisphere[box]
    level, tissue = head.level, head.tissue
    y = head.y + 1.5 * f.smooth(18)
    side = np.abs(head.x + 1.5 * f.smooth(18) + 0.8 * f.smooth(8))
    size = f.uniform(0.6, 1.4)
    nuclei = tissue["nuclei"] * (1 + 0.03 * f.smooth(10))
    deep = 1 - np.clip((level - 0.3) / 0.15, 0, 1)
    for center, radii, angle in (
        ((-10.0, 25.0), (15.0, 5.5), -0.25),  # putamen
        ((-22.0, 12.5), (9.0, 4.5), -0.15),  # caudate
        ((10.0, 10.0), (12.0, 8.5), -0.3),  # thalamus
    ):
        shape = ellipse(y, side, center, (radii[0] * deep + 0.1, radii[1] * deep + 0.1), angle)
        canvas.paint(np.minimum(shape, hemisphere), nuclei, 0.03, softness=2, opacity=float(deep))

    # Lateral ventricles: bodies in high slices, frontal and occipital horns in low ones.
    open_body = np.clip((level - 0.28) / 0.1, 0, 1) * np.clip((0.62 - level) / 0.1, 0, 1)
    open_horns = np.clip((0.52 - level) / 0.1, 0, 1)
    bow = 5.0 + 0.006 * (y - 2) ** 2
    taper = np.sqrt(np.maximum(1 - ((y - 4) / 38) ** 2, 0))
    body = size * (2.6 + 0.05 * y) * taper * open_body - np.abs(side - bow) - 3 * (1 - open_body)
    frontal = ellipse(y, side, (-27.0, 8.5), (10 * size, 3.2 * size), -0.45) - 9 * (1 - open_horns)
    occipital = ellipse(y, side, (30.0, 21.0), (10 * size, 4.5 * size), 0.75) - 9 * (1 - open_horns)
    third = np.minimum(1.1 * size - side, 12 - np.abs(y - 6)) - 9 * (1 - deep)
    fluid = np.maximum(np.maximum(body, third), np.maximum(frontal, occipital))
    fluid = np.minimum(fluid, hemisphere - 1.5)
    canvas.paint(fluid, tissue["csf"], 0.03)
    plexus = np.minimum(fluid - 0.5, 1.2 * f.smooth(3) - 1.5)
    canvas.paint(plexus, tissue["grey"], 0.1, opacity=0.7)


def _draw_midline_and_vessels(
    canvas: Canvas, f: RandomFields, head: _Head, inside_skull: Array, cut: Array, fluid: Array
) -> None:
    tissue = head.tissue
    middle = np.abs(head.x + 1.0 * f.smooth(40))
    falx = np.minimum(np.minimum(0.45 - middle, 40 * (cut - 0.6)), inside_skull)
    canvas.paint(falx, tissue["dura"], opacity=0.6)
    for front in (-1, 1):
        sinus = ellipse(inside_skull, middle, (f.uniform(0, 2), 0), (f.uniform(2, 4), f.uniform(2, 4)))
        canvas.paint(np.minimum(sinus, front * head.y), tissue["vessel"], 0.1)
    # Small vessels lie between gyri, as dark dots where blood flows fast.
    candidates = np.flatnonzero(fluid > 0.3)
    if candidates.size:
        rows, columns = np.unravel_index(f.rng.choice(candidates, 50), fluid.shape)
        for row, column, radius in zip(rows, columns, f.rng.uniform(0.4, 1.0, 50), strict=True):
            _dot(canvas, int(row), int(column), float(radius), tissue["vessel"])


def _dot(canvas: Canvas, row: int, column: int, radius_mm: float, signal: float) -> None:
    reach = int(3 * radius_mm / canvas.pixel_mm) + 1
    rows = slice(max(row - reach, 0), row + reach + 1)
    columns = slice(max(column - reach, 0), column + reach + 1)
    patch = canvas.signal[rows, columns]
    y = (np.arange(patch.shape[0]) + rows.start - row)[:, np.newaxis] * canvas.pixel_mm
    x = (np.arange(patch.shape[1]) + columns.start - column) * canvas.pixel_mm
    patch += np.exp(-(y**2 + x**2) / radius_mm**2) * (signal - patch)
