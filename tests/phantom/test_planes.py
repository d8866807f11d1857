from __future__ import annotations

import math

import numpy as np
import pytest

from csmri_ext.phantom.planes import PLANES, between, capsule, ellipsoid, merge, plane

AXIS = np.arange(-40, 40, 2.0)


def position(orientation: str, row: float, column: float) -> list[float]:
    """x, y, z of one pixel of a slice that is not turned."""
    made = plane(orientation, 7.0, (0, 0, 0), (1, 2, 3), np.array([row]), np.array([column]))
    return [float(p[0, 0]) for p in made.points()]


def test_orientations() -> None:
    assert position("axial", 10, 20) == [21, 12, 7]  # down to the back, right to the left of the object
    assert position("sagittal", 10, 20) == [7, 22, -7]  # down, to the back
    assert position("coronal", 10, 20) == [21, 7, -7]  # down, to the left


@pytest.mark.parametrize("orientation", PLANES)
def test_a_turned_slice_keeps_its_angles_and_its_middle(orientation: str) -> None:
    turned = plane(orientation, 5, (0.3, -0.1, 0.15), (0, 4, -9), AXIS, AXIS)
    straight = plane(orientation, 5, (0, 0, 0), (0, 4, -9), AXIS, AXIS)
    axes = np.stack([turned.down, turned.right])
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-12)
    np.testing.assert_array_equal(turned.origin, straight.origin)
    assert 0.9 < float(turned.down @ straight.down) < 1
    third = plane("axial", 0, (0, 0, math.pi / 2), (0, 0, 0), AXIS, AXIS)
    np.testing.assert_allclose(third.right, [0, 1, 0], atol=1e-12)  # x turns to y


@pytest.mark.parametrize("orientation", PLANES)
def test_near_finds_every_pixel_within_reach(orientation: str) -> None:
    made = plane(orientation, 3, (0.2, 0.1, -0.1), (0, 0, 0), AXIS, AXIS)
    for center in ((0, 0, 0), (10, -8, 5), (38, 38, 3)):
        within = np.sqrt(sum((p - c) ** 2 for p, c in zip(made.points(), center, strict=True))) < 12
        box = made.near(center, 12)
        assert (box is None) <= (not within.any())
        if box is not None:
            assert within[box].sum() == within.sum()
            np.testing.assert_array_equal(made.window(box).points()[0], made.points()[0][box])
    assert made.near((60, 60, 60), 12) is None


def test_depths() -> None:
    x, y = np.meshgrid(AXIS, AXIS)
    points = (x, y, np.zeros_like(x))
    ball = ellipsoid(points, (2, 0, 0), (20, 20, 20))
    np.testing.assert_allclose(
        ball[np.hypot(x - 2, y) > 1], (20 - np.hypot(x - 2, y))[np.hypot(x - 2, y) > 1], atol=1e-5
    )
    surface = (np.array([0.0, 0, 5]), np.array([3 * math.cos(0.4), -9 * math.sin(0.4), 0]), np.zeros(3))
    surface = (surface[0], surface[1], np.array([3 * math.sin(0.4), 9 * math.cos(0.4), 0]))
    np.testing.assert_allclose(ellipsoid(surface, (0, 0, 0), (5, 3, 9), 0.4), 0, atol=1e-6)
    rod = capsule(points, (-10, 0, 0), (10, 0, 0), 4)
    np.testing.assert_allclose(rod, 4 - np.hypot(np.maximum(np.abs(x) - 10, 0), y), atol=1e-5)
    cone = capsule(points, (-10, 0, 0), (10, 0, 0), 4, 2)
    assert cone[20, 15] == 4  # at (-10, 0)
    assert cone[20, 25] == 2
    joined = merge(ball, rod, 6)
    assert (joined >= np.maximum(ball, rod)).all()
    np.testing.assert_array_equal(joined[np.abs(ball - rod) > 6], np.maximum(ball, rod)[np.abs(ball - rod) > 6])
    assert joined.max() <= max(ball.max(), rod.max()) + 6 / 4
    np.testing.assert_allclose(between(np.array([-1.0, 2, 3, 4, 9]), 2, 4), [0, 0, 0.5, 1, 1])
