"""Procedural slices of a head of any orientation: scalp, skull, face, neck, and the brain. No patient is involved."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.phantom.brain import brain_shape, draw_brain, draw_falx, shell_depth
from csmri_ext.phantom.painting import Canvas, distance
from csmri_ext.phantom.planes import PLANES, Points, between, capsule, ellipsoid, merge, plane
from csmri_ext.phantom.random_fields import RandomFields
from csmri_ext.phantom.scene import Scene

Array = NDArray[np.floating[Any]]

TISSUES = ["skin", "fat", "muscle", "bone", "marrow", "dura", "csf", "grey", "white", "nuclei", "vitreous", "vessel"]

# Signal relative to the brightest tissue; chosen by eye to resemble clinical images, varied per subject.
CONTRASTS: dict[str, tuple[float, ...]] = {
    "t1": (0.50, 1.00, 0.40, 0.04, 0.50, 0.30, 0.16, 0.52, 0.72, 0.60, 0.20, 0.10),
    "t2": (0.35, 0.62, 0.20, 0.04, 0.35, 0.20, 0.95, 0.52, 0.36, 0.42, 0.95, 0.06),
    "pd": (0.50, 0.75, 0.50, 0.05, 0.40, 0.35, 0.72, 0.82, 0.66, 0.76, 0.68, 0.10),
    "flair": (0.45, 0.75, 0.35, 0.04, 0.35, 0.35, 0.10, 0.62, 0.50, 0.56, 0.12, 0.08),
}
OFFSETS = {"axial": (-38.0, 62.0), "sagittal": (-58.0, 58.0), "coronal": (-68.0, 72.0)}
"""Where slices lie along their normal, in mm from the middle of the brain."""
_AIR = 0.02  # air in the head: not quite dark, as signal from around it leaks in
_ENDS = {"axial": (-85.0, 70.0), "sagittal": (-70.0, 70.0), "coronal": (-84.0, 88.0)}  # of those that only touch it
_MIDDLES = {"axial": (0.0, 0.0, 0.0), "sagittal": (0.0, 2.0, -18.0), "coronal": (0.0, 0.0, -12.0)}


def draw_head(fields: RandomFields, contrast: str, orientation: str | None, half_range: float) -> Canvas:
    """Draw one slice.

    Parameters
    ----------
    fields
        Random source and pixel positions; the head is about 155 by 200 mm, near 0.
    contrast
        A key of `CONTRASTS`.
    orientation
        A key of `PLANES`; None: drawn by the seed.
    half_range
        Distance from the middle slice of the subject to the outermost, in mm: all should meet the head.

    Returns
    -------
        Signal between 0 and about 1, without noise, texture or bias field.
    """
    f = fields.part("head")
    tissue = {name: value * f.uniform(0.9, 1.1) for name, value in zip(TISSUES, CONTRASTS[contrast], strict=True)}
    drawn = str(f.rng.choice(list(PLANES), p=list(PLANES.values())))
    orientation = orientation or drawn
    low, high = OFFSETS[orientation]
    offset = low + min(half_range, (high - low) / 2) + f.uniform(0, 1) * max(high - low - 2 * half_range, 0)
    if f.uniform(0, 1) < 0.06:
        bottom, top = _ENDS[orientation]
        offset = bottom + half_range if f.uniform(0, 1) < 0.5 else top - half_range
    turns = (f.uniform(-0.3, 0.3), f.uniform(-0.12, 0.12), f.uniform(-0.15, 0.15))
    canvas = Canvas.empty((f.y.size, f.x.size), float(f.x[1] - f.x[0]))
    slice_plane = plane(orientation, offset + f.z, turns, _MIDDLES[orientation], f.y, f.x)
    scene = Scene(canvas, slice_plane, fields, tissue)
    points = slice_plane.points()
    size = (f.uniform(64, 71), f.uniform(80, 89), f.uniform(58, 66))
    shell = shell_depth(points, size)

    outline = _outline(scene.part("outline"), points, shell)
    _draw_soft_tissue(scene.part("soft tissue"), points, outline, shell)
    box = slice_plane.near((0.0, 5.0, 0.0), 108)
    if box is None:
        _draw_face(scene.part("face"), points, outline - 3, np.minimum(outline - 3, -shell))
        return canvas
    inner, near = scene.window(box), (points[0][box], points[1][box], points[2][box])
    shell_here = shell[box]
    shape = brain_shape(inner.part("shape"), near, shell_here - f.uniform(0.2, 1.8))
    cavity = np.maximum(np.maximum(shape.closed + 1.4, shape.cerebellum + 2), np.minimum(shape.stem, 14) + 5)
    cavity = np.minimum(cavity, shell_here + 40 * between(-near[2], 20, 40))
    _draw_skull(inner.part("skull"), near, shell_here, cavity, outline[box])
    outside_brain = np.minimum(outline - 3, -shell - 6)
    outside_brain[box] = np.minimum(outline[box] - 3, -cavity - 2)
    _draw_face(scene.part("face"), points, outline - 3, outside_brain)
    inner.canvas.paint(cavity, tissue["dura"], 0.05)
    inner.canvas.paint(cavity - 0.8, tissue["csf"], 0.03)
    draw_brain(inner, near, shape)
    draw_falx(inner.part("sinus"), shell_here, near)
    return canvas


def _outline(scene: Scene, points: Points, shell: Array) -> Array:
    """Signed depth in the head: vault, face, nose, lips, chin and neck."""
    f = scene.fields
    x, y, z = points
    face = ellipsoid(points, (0, -44, -58), (f.uniform(52, 60), f.uniform(46, 52), f.uniform(58, 70)))
    neck = np.minimum(58 - np.sqrt((1.05 * x) ** 2 + (y - 22 + 0.15 * (z + 60)) ** 2), -z - 10)
    head = merge(merge(shell + f.uniform(10.5, 14.5), face, 18), neck, 25)
    jut = f.uniform(0, 6)
    for center, radii in (
        ((0, -96 - jut, -52), (13, 15, 12)),  # nose
        ((0, -88 - jut, -40), (8, 13, 22)),
        ((0, -88, -76), (24, 11, 6)),  # lips
        ((0, -87, -86), (22, 10, 6)),
        ((0, -80, -104), (24, 15, 14)),  # chin
        ((0, -88, -6), (46, 9, 9)),  # brow
    ):
        box = scene.plane.near(center, max(radii) + 8)
        if box is not None:
            part = ellipsoid((x[box], y[box], z[box]), center, radii)
            head[box] = merge(head[box], part, 5)
    return head - 1.2 * f.smooth(40) - 0.6 * f.smooth(15)


def _draw_soft_tissue(scene: Scene, points: Points, outline: Array, shell: Array) -> None:
    """Skin, the fat below it, thick at neck and cheeks, and muscles parted by fat."""
    f, canvas, tissue = scene.fields, scene.canvas, scene.tissue
    _, y, z = points
    low = between(-z, 25, 70)
    skin = 1.5 + 0.3 * f.smooth(30)
    lobules = np.clip(0.7 * f.smooth(2.5) + 0.35, 0, 1)
    canvas.paint(outline, tissue["skin"], 0.08)
    canvas.paint(outline - skin, tissue["fat"] * (1 - f.uniform(0.1, 0.35) * lobules), 0.08, softness=1.5)
    fat = f.uniform(2.5, 5.0) + low * (f.uniform(2, 9) + 5 * between(y, 20, 70)) * np.exp(0.4 * f.smooth(20))
    depth = outline - skin - fat
    canvas.paint(depth, tissue["muscle"] * (1 + 0.12 * f.smooth(6)), 0.1, softness=1)
    if low.max() > 0:
        sheets = np.abs(distance(f.smooth(9) + 0.5 * f.smooth(5), canvas.pixel_mm))
        sheets = f.uniform(0.5, 1.4) * np.exp(0.6 * f.smooth(12)) - sheets
        canvas.paint(
            np.minimum(sheets, np.minimum(depth - 1, -shell - 6)), tissue["fat"] * 0.85, 0.05, softness=1, opacity=0.85
        )
        pads = distance(f.smooth(11) - f.uniform(1.0, 1.6), canvas.pixel_mm)
        canvas.paint(np.minimum(pads, np.minimum(depth - 1, -shell - 8)), tissue["fat"] * 0.8, 0.08, softness=1.5)


def _draw_skull(scene: Scene, points: Points, shell: Array, cavity: Array, outline: Array) -> None:
    """Vault of two tables with marrow between them, temporal muscles outside; below, bone around the cavity."""
    f, canvas, tissue = scene.fields, scene.canvas, scene.tissue
    x, y, z = points
    outer, inner = f.uniform(0.8, 1.5) + 0.2 * f.smooth(30), f.uniform(0.8, 1.5)
    marrow = f.uniform(1.0, 4.0) * np.exp(0.4 * f.smooth(30))
    thickness = outer + marrow + inner + 2
    vault = between(z, -42, -18)
    base = cavity + 4.5 * (1 - vault) + 1.5 * f.smooth(8)
    bone = np.minimum(np.maximum(shell + thickness * vault, base), outline - 4)
    canvas.paint(bone, tissue["bone"], softness=1)
    diploe = np.minimum(marrow / 2 - np.abs(shell + 2 + inner + marrow / 2), 30 * (vault - 0.5))
    canvas.paint(np.minimum(diploe, outline - 5), tissue["marrow"], 0.25, softness=1.2)
    spongy = np.minimum(distance(f.smooth(4) - 0.3, canvas.pixel_mm), np.minimum(bone - 1.2, 1 - cavity))
    canvas.paint(np.minimum(spongy, 30 * (0.5 - vault)), tissue["marrow"], 0.2, softness=1.5)
    temporal = f.uniform(5, 12) * between(np.abs(x), 45, 62) * between(-z, -25, 5) * (1 - between(y, 10, 40))
    muscle = np.minimum(-shell - thickness, temporal - 0.5 + shell + thickness)
    canvas.paint(np.minimum(muscle, outline - 4), tissue["muscle"], 0.1, softness=1)


def _draw_face(scene: Scene, points: Points, inside: Array, outside_brain: Array) -> None:
    """Paint jaws, mouth, sinuses, nose, throat, eyes, vessels and spine, where the slice meets them.

    Parameters
    ----------
    scene, points
        Canvas; coordinates of the pixels.
    inside, outside_brain
        Depth in the head below its skin, and in what of that is not skull or brain.
    """
    if points[2].min() > 5:
        return
    _draw_jaws(scene, points, inside)
    _draw_mouth(scene, points, inside)
    _draw_airways(scene, points, inside, outside_brain)
    for side in (-1, 1):
        _draw_eye(scene, side, inside, outside_brain)
        _draw_side(scene, side, inside, outside_brain)
    # The clivus, bone between throat and brain stem.
    scene.blob((0, -5, -40), (10, 7, 18), "marrow", tilt=-0.5, within=outside_brain, rim=(1.5, "bone"))
    _draw_spine(scene.part("spine"), points)


def _draw_jaws(scene: Scene, points: Points, inside: Array) -> None:
    """Both jaws, horseshoes with rounded sections, their teeth, and muscle and bone that hold the lower one."""
    f, canvas, tissue = scene.fields, scene.canvas, scene.tissue
    x, y, z = points
    arch = np.sqrt((x / f.uniform(38, 44)) ** 2 + ((y + 44) / f.uniform(36, 42)) ** 2)
    bumps = 1.2 * f.smooth(5)
    away = np.abs(38 * (1 - arch)) + np.maximum(y + 20 + 2 * bumps, 0)
    for top, height, thick in ((-94.0, 11.0, 6.0), (-60.0, 8.0, 5.0)):
        jaw = thick + bumps - np.sqrt(away**2 + np.maximum(np.abs(z - top) - height + 4, 0) ** 2)
        jaw = np.minimum(jaw, inside)
        canvas.paint(jaw, tissue["bone"], softness=1)
        canvas.paint(jaw - 1.8, tissue["marrow"] * 1.3, 0.15, softness=1.5)
    teeth = np.minimum(np.minimum(4 + bumps - away, 7 - np.abs(z + 76)), inside - 4)
    canvas.paint(teeth, 0.5 * tissue["bone"], softness=1)
    for side in (-1, 1):
        scene.blob((44 * side, -24, -74), (7, 17, 26), "muscle", tilt=0.25, within=inside, rough=0.2, texture=0.1)
        scene.blob((34 * side, -8, -72), (3.5, 9, 26), "marrow", tilt=0.1, within=inside, rim=(1.5, "bone"))


def _draw_mouth(scene: Scene, points: Points, inside: Array) -> None:
    """Tongue with fat between its fibres, the gap above it, and the palate."""
    f, canvas, tissue = scene.fields, scene.canvas, scene.tissue
    x, y, z = points
    scene.blob((0, -42, -84), (22, 32, 15), tissue["muscle"] * 1.2, within=inside, texture=0.1, softness=1.5)
    fibres = np.minimum(0.6 - np.abs(distance(f.smooth(6), canvas.pixel_mm)), inside)
    tongue = ellipsoid(points, (0, -42, -86), (20, 29, 14))
    canvas.paint(np.minimum(fibres, tongue), tissue["fat"] * 0.7, softness=1, opacity=0.6)
    gap = np.minimum(f.uniform(0.3, 2.0) - np.abs(z + 69 - 0.004 * (y + 42) ** 2 + f.smooth(12)), 24 - np.abs(x))
    canvas.paint(np.minimum(np.minimum(gap, 30 - np.abs(y + 48)), inside), _AIR)
    scene.blob((0, -56, -62), (20, 30, 2.5), "marrow", within=inside, rim=(1.0, "bone"), rough=0.05)


def _draw_eye(scene: Scene, side: int, inside: Array, outside_brain: Array) -> None:
    """Fat of the orbit, the eye with its lens, its nerve and four muscles; `side` is -1 or 1."""
    tissue = scene.tissue
    scene.blob((31 * side, -63, -26), (17, 19, 16), tissue["fat"] * 0.85, within=outside_brain, rim=(1.5, "bone"))
    scene.blob((31 * side, -72, -26), (12, 12, 12), "vitreous", rough=0.0, rim=(1.0, "muscle"), within=inside + 2)
    scene.blob((31 * side, -82, -26), (4.5, 2, 4.5), "muscle", rough=0.0)
    for dx, dz in ((0, 0), (9, 0), (-9, 0), (0, 9), (0, -9)):
        box = scene.plane.near(((22 + dx / 2) * side, -46, -25 + dz / 2), 22)
        if box is not None:
            part = scene.window(box)
            start, end = ((31 + dx) * side, -62, -26 + dz), (14 * side, -32, -24)
            part.canvas.paint(capsule(part.plane.points(), start, end, 1.8), tissue["muscle"], softness=1)


def _draw_side(scene: Scene, side: int, inside: Array, outside_brain: Array) -> None:
    """Mastoid bone, artery and vein of the neck, and the parotid gland; `side` is -1 or 1."""
    scene.blob((54 * side, 22, -40), (9, 13, 15), "bone", within=outside_brain, rough=0.3)
    scene.blob((24 * side, -4, -85), (3.5, 3.5, 40), "vessel", within=outside_brain)
    scene.blob((31 * side, 3, -85), (5, 5, 40), "vessel", within=outside_brain)
    scene.blob((48 * side, -2, -72), (9, 13, 17), scene.tissue["fat"] * 0.7, within=inside - 3, texture=0.15)


def _draw_airways(scene: Scene, points: Points, inside: Array, outside_brain: Array) -> None:
    """Sinuses, nasal cavity with its folded mucosa, throat."""
    f, canvas, tissue = scene.fields, scene.canvas, scene.tissue
    x, _, _ = points
    cavities = [((0, -22, -29), (11, 11, 9)), ((9, -86, -14), (13, 4, 11)), ((-9, -86, -14), (12, 4, 10))]
    cavities += [((28 * side, -58, -48), (13, 16, 15)) for side in (-1, 1)]
    cavities += [((7 * side, -54, -30), (5, 24, 8)) for side in (-1, 1)]
    for center, radii in cavities:
        scale = f.uniform(0.7, 1.1)
        size = (radii[0] * scale, radii[1] * scale, radii[2] * scale)
        scene.blob(center, size, _AIR, within=outside_brain, rough=0.2, rim=(1.5, "skin"))
    nose = np.minimum(ellipsoid(points, (0, -60, -48), (14, 34, 14)), inside)
    canvas.paint(nose, _AIR)
    mucosa = np.abs(distance(f.smooth(5), canvas.pixel_mm)) - f.uniform(0.8, 2.0)
    canvas.paint(np.minimum(np.maximum(-mucosa, 1.0 - np.abs(x)), nose - 0.5), tissue["skin"], 0.05)
    width = f.uniform(0.5, 1.0)
    throat = np.maximum(
        capsule(points, (0, -26, -50), (0, -12, -78), 8 * width, 7 * width),
        capsule(points, (0, -12, -78), (0, -14, -170), 7 * width, 8),
    )
    canvas.paint(np.minimum(throat + 3, inside), tissue["muscle"])
    canvas.paint(np.minimum(np.minimum(throat, inside), 14 - np.abs(x)), _AIR, softness=1)


def _draw_spine(scene: Scene, points: Points) -> None:
    """Vertebral bodies with discs between them, the canal with fluid and cord, and spinous processes."""
    f, canvas, tissue = scene.fields, scene.canvas, scene.tissue
    x, y, z = points
    if z.min() > -55:
        return
    period, curve = f.uniform(15, 19), f.uniform(-0.001, 0.003)
    bow = y - 3 - curve * (z + 95) ** 2 - 0.06 * (z + 60)
    below = -z - 56
    phase = (z + f.uniform(0, period)) % period - period / 2
    column = np.minimum(np.minimum(8.5 - np.abs(bow), 11 - np.abs(x)), below)
    canvas.paint(column, tissue["muscle"] * 1.1)
    body = np.minimum(column - 0.7, period / 2 - 2.2 - np.abs(phase))
    canvas.paint(body, tissue["bone"] * 2)
    canvas.paint(body - 0.8, tissue["marrow"] * 1.15, 0.1, softness=1)
    canal = np.minimum(8 - np.sqrt((bow - 17.5) ** 2 + (0.7 * x) ** 2), below + 8)
    canvas.paint(canal + 1, tissue["dura"])
    canvas.paint(canal, tissue["csf"])
    canvas.paint(np.minimum(canal - 2.7, below + 20), tissue["white"] * 0.95, 0.03)
    spine = np.minimum(np.minimum(3.2 - np.abs(x), 9 - np.abs(bow - 36)), period / 2 - 3.5 - np.abs(phase + 4))
    canvas.paint(np.minimum(spine, below - 4), tissue["bone"] * 2)
    canvas.paint(np.minimum(spine - 0.8, below - 4), tissue["marrow"], softness=1)
