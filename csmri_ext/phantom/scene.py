"""What a slice of a three-dimensional object is painted with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.phantom.painting import Canvas
from csmri_ext.phantom.planes import Plane, Vector, ellipsoid
from csmri_ext.phantom.random_fields import RandomFields

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Scene:
    """What the parts of a head are drawn with.

    Attributes
    ----------
    canvas
        Where they are painted.
    plane
        Its pixels.
    fields
        Random source.
    tissue
        Signals by name.
    """

    canvas: Canvas
    plane: Plane
    fields: RandomFields
    tissue: dict[str, float]

    def part(self, name: str) -> Scene:
        """Return the scene with the random source of one part of the head (see `RandomFields.part`)."""
        return replace(self, fields=self.fields.part(name))

    def window(self, box: tuple[slice, slice]) -> Scene:
        """Return some rows and columns; painting them paints the whole."""
        return replace(
            self, canvas=self.canvas.window(box), plane=self.plane.window(box), fields=self.fields.window(box)
        )

    def blob(
        self,
        center: Vector,
        radii: Vector,
        signal: float | str,
        *,
        tilt: float = 0.0,
        rough: float = 0.1,
        within: Array | None = None,
        rim: tuple[float, str] | None = None,
        texture: float = 0.05,
        softness: float = 0.0,
        opacity: float = 1.0,
    ) -> None:
        """Paint an ellipsoid where the slice meets it.

        Parameters
        ----------
        center, radii, tilt
            See `planes.ellipsoid`.
        signal
            New signal, or name of a tissue.
        rough
            Amplitude of its bumps over its smallest radius.
        within
            Depth of a region, (ny, nx), that it does not leave.
        rim
            Thickness in mm and tissue of a shell around it.
        texture, softness, opacity
            See `Canvas.paint`.
        """
        small = min(radii)
        box = self.plane.near(center, max(radii) * (1 + rough) + (rim[0] if rim else 0) + 1)
        if box is None:
            return
        part = self.window(box)
        depth = ellipsoid(part.plane.points(), center, radii, tilt)
        if rough:
            depth = depth + rough * small * part.fields.smooth(0.7 * small + 2)
        if within is not None:
            depth = np.minimum(depth, within[box])
        if rim:
            part.canvas.paint(depth + rim[0], self.tissue[rim[1]], 0.05)
        value = self.tissue[signal] if isinstance(signal, str) else signal
        part.canvas.paint(depth, value, texture, softness, opacity)
