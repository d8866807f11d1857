"""Procedural slices of a trunk: fat, muscle and organs of random shape, some hollow, walled or full of vessels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.phantom.painting import Canvas, distance, ellipse
from csmri_ext.phantom.random_fields import RandomFields

Array = NDArray[np.floating[Any]]

TISSUES = ["fat", "muscle", "solid", "fluid", "blood", "bone", "air"]

# Signal relative to the brightest tissue; chosen by eye, varied per subject. A trunk gets fat suppression for FLAIR.
CONTRASTS: dict[str, tuple[float, ...]] = {
    "t1": (0.95, 0.35, 0.50, 0.20, 0.15, 0.55, 0.03),
    "t2": (0.65, 0.18, 0.32, 1.00, 0.12, 0.40, 0.03),
    "pd": (0.70, 0.25, 0.38, 0.95, 0.90, 0.45, 0.03),
    "flair": (0.30, 0.35, 0.55, 0.15, 0.80, 0.25, 0.03),
}


def draw_body(fields: RandomFields, contrast: str) -> Canvas:
    """Draw one slice.

    Parameters
    ----------
    fields, contrast
        As in `head.draw_head`; the trunk is about 310 by 220 mm, near 0.

    Returns
    -------
        As of `head.draw_head`.
    """
    f = fields.part("trunk")
    pixel = float(f.x[1] - f.x[0])
    tissue = {name: value * f.uniform(0.85, 1.15) for name, value in zip(TISSUES, CONTRASTS[contrast], strict=True)}
    canvas = Canvas.empty((f.y.size, f.x.size), pixel)
    y = f.y[:, np.newaxis] - f.uniform(-15, 15) + 5 * f.smooth(60)
    x = f.x - f.uniform(-15, 15) + 5 * f.smooth(60)

    u, v = (x / f.uniform(135, 165)) ** 2, (y / f.uniform(95, 130)) ** 2
    depth = distance(1 - np.sqrt(u + v - f.uniform(0.2, 0.5) * np.minimum(u * v, 1)), pixel)
    fat = f.uniform(5, 22) * np.exp(0.4 * f.smooth(45))
    septa = np.clip(0.9 - np.abs(distance(f.smooth(7), pixel)), 0, 1) * np.clip(f.smooth(10), 0, 1)
    canvas.paint(depth, 0.6 * tissue["fat"])
    canvas.paint(depth - 2, tissue["fat"] * (1 - 0.6 * septa), 0.05)
    wall = depth - fat
    canvas.paint(wall, tissue["muscle"], 0.12)
    sheets = np.clip(1.0 - np.abs(distance(f.smooth(14), pixel)), 0, 1)
    canvas.paint(np.minimum(wall - 2, sheets - 0.3), tissue["fat"], 0.05, opacity=0.7)
    cavity = wall - f.uniform(8, 18) * np.exp(0.3 * f.smooth(40))
    canvas.paint(cavity, tissue["fat"] * f.uniform(0.6, 1.0) * (1 + 0.05 * f.smooth(12)), 0.08)
    vessels = np.abs(distance(f.smooth(10), pixel)) + 4 * np.maximum(0, 0.4 - f.smooth(15))
    canvas.paint(np.minimum(f.uniform(0.5, 1.2) - vessels, cavity - 4), tissue["blood"], softness=1, opacity=0.7)
    _draw_bowel(canvas, fields.part("bowel"), tissue, cavity)

    outlines = f.uniform(0, 1) < 0.5  # dark lines where fat and water cancel, as in gradient echoes
    organs = fields.part("organs")
    for number in range(int(organs.uniform(7, 14))):
        _draw_organ(canvas, fields.part(f"organ {number}"), tissue, cavity, y, x, outlines)
    _draw_spine(canvas, fields.part("spine"), tissue, y, x, depth)
    return canvas


def _draw_bowel(canvas: Canvas, f: RandomFields, tissue: dict[str, float], cavity: Array) -> None:
    loops = distance(f.smooth(11), canvas.pixel_mm) - 1
    where = np.minimum(cavity - 3, 25 * (f.smooth(45) - 0.2))
    canvas.paint(np.minimum(loops, where), tissue["muscle"], 0.1)
    contents = np.clip(0.5 + f.smooth(14), 0, 1)
    filling = tissue["air"] + contents * (tissue["fluid"] - tissue["air"])
    canvas.paint(np.minimum(loops - 2.5, where), filling, 0.15, softness=2)


def _draw_organ(
    canvas: Canvas, f: RandomFields, tissue: dict[str, float], cavity: Array, y: Array, x: Array, outlines: bool
) -> None:
    """Paint one organ; its centre and size change with the height of the slice."""
    size = 12 + 40 * f.uniform(0, 1) ** 1.5
    height = np.sin(f.z / (1.5 * size) + f.uniform(0, 2 * np.pi))
    size = float(size * (0.8 + 0.25 * height))
    center = (f.uniform(-75, 75), f.uniform(-110, 110))
    box = f.box(center, 1.5 * size + 25)
    canvas, f, cavity, y, x = canvas.window(box), f.window(box), cavity[box], y[box], x[box]
    shape = ellipse(y, x, center, (size, size * f.uniform(0.5, 1.0)), f.uniform(0, np.pi))
    shape = np.minimum(shape + 0.22 * size * f.smooth(0.6 * size + 6) + 1.2 * f.smooth(8), cavity - 1)
    if outlines:
        canvas.paint(shape + 0.8, tissue["air"], opacity=0.8)
    kind = f.rng.choice(["solid", "solid", "walled", "hollow", "fluid"])
    signal = f.uniform(0.8, 1.25)
    vessels = np.abs(distance(f.smooth(9), canvas.pixel_mm)) + 3 * np.maximum(0, 0.5 - f.smooth(12))
    caliber = f.uniform(0.6, 1.8) * np.exp(0.4 * f.smooth(15))
    if kind == "solid":
        canvas.paint(shape, tissue["solid"] * signal * (1 + 0.04 * f.smooth(20)), 0.06)
        canvas.paint(np.minimum(caliber - vessels, shape - 3), tissue["blood"], softness=1.5, opacity=0.8)
    elif kind == "walled":
        wall = f.uniform(0.1, 0.25) * size * (1 + 0.2 * f.smooth(20))
        canvas.paint(shape, tissue["muscle"] * signal, 0.06)
        canvas.paint(shape - wall - 1.5 * f.smooth(4), tissue["blood"], 0.08, softness=2)
    elif kind == "hollow":
        canvas.paint(shape, tissue["air"])
        canvas.paint(np.minimum(0.8 * caliber - vessels, shape), tissue["solid"] * signal, 0.1, softness=1.5)
    else:
        canvas.paint(shape, tissue["fluid"], 0.03)


def _draw_spine(canvas: Canvas, f: RandomFields, tissue: dict[str, float], y: Array, x: Array, depth: Array) -> None:
    back, middle = f.uniform(50, 62), f.uniform(-8, 8)
    inside = depth - 8
    vertebra = np.minimum(ellipse(y, x, (back, middle), (17, 21)) + 1.2 * f.smooth(10), inside)
    canvas.paint(vertebra, tissue["air"])
    canvas.paint(vertebra - 1.5, tissue["bone"], 0.15, softness=2)
    canal = np.minimum(ellipse(y, x, (back + 23, middle), (7.5, 10)), inside)
    canvas.paint(canal, tissue["fluid"])
    canvas.paint(np.minimum(ellipse(y, x, (back + 23, middle), (4, 5.5)), inside), tissue["solid"])
    for side in (-1, 1):
        vessel = ellipse(y, x, (back - 26, middle + side * f.uniform(9, 14)), (f.uniform(6, 10), f.uniform(6, 10)))
        canvas.paint(vessel + 1.5, tissue["muscle"])
        canvas.paint(vessel, tissue["blood"], 0.05)
