"""Coil sensitivities estimated from the data themselves."""

from __future__ import annotations

from csmri_ext.physics.calibration.center import calibration_shortfall
from csmri_ext.physics.calibration.ecalib_limits import calibration_offset, ecalib_shortfall
from csmri_ext.physics.calibration.espirit import MapsAndObject
from csmri_ext.physics.calibration.estimate import (
    DEFAULT_METHOD,
    METHODS,
    describe_estimate,
    estimate_maps_and_object,
    estimate_sens_maps,
)

__all__ = [
    "DEFAULT_METHOD",
    "METHODS",
    "MapsAndObject",
    "calibration_offset",
    "calibration_shortfall",
    "describe_estimate",
    "ecalib_shortfall",
    "estimate_maps_and_object",
    "estimate_sens_maps",
]
