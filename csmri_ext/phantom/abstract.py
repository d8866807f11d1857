"""Random scenes without anatomy: shapes, folds, tubes and textures of many sizes, so that none is learnt by heart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.phantom.painting import Canvas, distance, ellipse
from csmri_ext.phantom.random_fields import RandomFields

Array = NDArray[np.floating[Any]]


def draw_abstract(fields: RandomFields) -> Canvas:
    """Draw one slice; intensities are log-distributed, edges sharp or soft.

    Parameters
    ----------
    fields
        Random source and pixel positions; the scene is about 230 mm wide, near 0.

    Returns
    -------
        Signal between 0 and about 1, without noise, texture or bias field.
    """
    f = fields.part("scene")
    canvas = Canvas.empty((f.y.size, f.x.size), float(f.x[1] - f.x[0]))
    y, x = f.y[:, np.newaxis], f.x
    if f.uniform(0, 1) < 0.85:
        radii = (f.uniform(55, 115), f.uniform(55, 115))
        body = ellipse(y, x, (f.uniform(-20, 20), f.uniform(-20, 20)), radii, f.uniform(0, np.pi))
        body = body + f.uniform(2, 18) * f.smooth(f.uniform(15, 50))
    else:
        body = np.full(canvas.signal.shape, 99.0, np.float32)
    for _ in range(int(f.uniform(1, 4))):  # skins
        canvas.paint(body, _signal(f) * (1 + f.uniform(0, 0.2) * f.smooth(_log_uniform(f, 3, 40))), f.uniform(0, 0.2))
        body = body - _log_uniform(f, 0.7, 14) * np.exp(0.4 * f.smooth(30))
    canvas.paint(body, _signal(f) * (1 + f.uniform(0, 0.15) * f.smooth(_log_uniform(f, 6, 60))), f.uniform(0, 0.1))

    layers = list(_LAYERS)
    for number in range(int(_log_uniform(f, 12, 45))):
        layer = fields.part(f"layer {number}")
        kind = layers[int(layer.rng.integers(len(layers)))]
        size = _log_uniform(layer, 7, 80) * (1 + 0.2 * np.sin(layer.z / 25 + layer.uniform(0, 6.28)))
        center = (layer.uniform(-95, 95), layer.uniform(-95, 95))
        box = layer.box(center, 1.5 * size + 8)
        if min(axis.stop - axis.start for axis in box) < 4:
            continue
        part = layer.window(box)
        y, x = part.y[:, np.newaxis], part.x
        shape = ellipse(y, x, center, (size, size * part.uniform(0.3, 1.0)), part.uniform(0, np.pi))
        region = np.minimum(shape + part.uniform(0.05, 0.3) * size * part.smooth(0.4 * size + 3), body[box])
        _LAYERS[kind](canvas.window(box), part, region, center, size)
    return canvas


def _log_uniform(f: RandomFields, low: float, high: float) -> float:
    return float(np.exp(f.uniform(np.log(low), np.log(high))))


def _signal(f: RandomFields) -> float:
    return _log_uniform(f, 0.05, 1.0)


def _softness(f: RandomFields) -> float:
    return _log_uniform(f, 0.3, 8.0) if f.uniform(0, 1) < 0.5 else 0.0


def _direction(f: RandomFields, center: tuple[float, float]) -> tuple[Array, Array]:
    """Coordinates along and across a random direction, in mm from the centre."""
    angle = f.uniform(0, 2 * np.pi)
    dy, dx = f.y[:, np.newaxis] - center[0], f.x - center[1]
    return dy * np.sin(angle) + dx * np.cos(angle), dy * np.cos(angle) - dx * np.sin(angle)


def _organ(canvas: Canvas, f: RandomFields, region: Array, _center: tuple[float, float], size: float) -> None:
    if f.uniform(0, 1) < 0.4:  # a dark or bright outline
        canvas.paint(region + _log_uniform(f, 0.5, 3), _signal(f))
    shading = 1 + f.uniform(0, 0.3) * f.smooth(0.5 * size + 2)
    canvas.paint(region, _signal(f) * shading, f.uniform(0, 0.15), softness=_softness(f))
    if f.uniform(0, 1) < 0.4:
        canvas.paint(region - f.uniform(0.1, 0.5) * size, _signal(f), f.uniform(0, 0.15), softness=_softness(f))


def _folds(canvas: Canvas, f: RandomFields, region: Array, _center: tuple[float, float], _size: float) -> None:
    """Paint a ribbon with a dark or bright cleft along the zero set of a field."""
    length = _log_uniform(f, 2.5, 9)
    sheet = np.abs(distance(f.smooth(length), canvas.pixel_mm))
    cleft = f.uniform(0.1, 0.3) * length
    canvas.paint(region, _signal(f), softness=_softness(f))
    canvas.paint(np.minimum(cleft + f.uniform(0.2, 0.5) * length - sheet, region), _signal(f), f.uniform(0, 0.1))
    canvas.paint(np.minimum(cleft * np.exp(0.5 * f.smooth(8)) - sheet, region), _signal(f))


def _islands(canvas: Canvas, f: RandomFields, region: Array, _center: tuple[float, float], _size: float) -> None:
    islands = distance(f.smooth(_log_uniform(f, 1.2, 12)) - f.uniform(0, 1.5), canvas.pixel_mm)
    canvas.paint(np.minimum(islands, region), _signal(f), f.uniform(0, 0.1), _softness(f), f.uniform(0.3, 1))


def _texture(canvas: Canvas, f: RandomFields, region: Array, center: tuple[float, float], _size: float) -> None:
    """Fibres or clouds over what is there."""
    if f.uniform(0, 1) < 0.5:
        along, across = _direction(f, center)
        wave = np.sin((across + f.uniform(0, 6) * f.smooth(20)) * (2 * np.pi / _log_uniform(f, 1.5, 12)) + 0.02 * along)
    else:
        wave = f.smooth(_log_uniform(f, 1.0, 8))
    canvas.paint(region, canvas.signal * np.exp(_log_uniform(f, 0.03, 0.5) * wave), softness=4)


def _tubes(canvas: Canvas, f: RandomFields, region: Array, center: tuple[float, float], _size: float) -> None:
    lumen, wall, thick = _signal(f), _signal(f), _log_uniform(f, 0.3, 2)
    for _ in range(int(f.uniform(1, 5))):
        along, across = _direction(f, (center[0] + f.uniform(-15, 15), center[1] + f.uniform(-15, 15)))
        radius = _log_uniform(f, 0.4, 6) * np.exp(0.3 * f.smooth(20))
        tube = radius - np.abs(across + f.uniform(0, 0.012) * along**2 + f.uniform(0, 8) * f.smooth(18))
        canvas.paint(np.minimum(tube + thick, region), wall)
        canvas.paint(np.minimum(tube, region), lumen, softness=min(_softness(f), 1.5))


def _blocks(canvas: Canvas, f: RandomFields, region: Array, center: tuple[float, float], _size: float) -> None:
    """Paint a row of rounded blocks, as vertebrae or ribs are."""
    along, across = _direction(f, center)
    period, width = _log_uniform(f, 5, 35), _log_uniform(f, 3, 25)
    along, across = along + 2 * f.smooth(20), across + f.uniform(0, 10) * f.smooth(40)
    depth_along = f.uniform(0.3, 0.46) * period - np.abs((along + f.uniform(0, period)) % period - period / 2)
    block = np.minimum(np.minimum(depth_along, width - np.abs(across)), region)
    canvas.paint(block + _log_uniform(f, 0.4, 2), _signal(f))
    canvas.paint(block, _signal(f) * (1 + 0.1 * f.smooth(6)), f.uniform(0, 0.2), softness=min(_softness(f), 2))


_LAYERS: dict[str, Callable[[Canvas, RandomFields, Array, tuple[float, float], float], None]] = {
    "organ": _organ,
    "folds": _folds,
    "islands": _islands,
    "texture": _texture,
    "tubes": _tubes,
    "blocks": _blocks,
}
