"""The physics of the acquisition: Fourier transform, sampling masks, coils and the encoding operator."""

from __future__ import annotations

from csmri_ext.physics.calibration import (
    calibration_offset,
    calibration_shortfall,
    describe_estimate,
    ecalib_shortfall,
    estimate_maps_and_object,
    estimate_sens_maps,
)
from csmri_ext.physics.cg_sense import cg_sense
from csmri_ext.physics.coils import rss
from csmri_ext.physics.echo import find_echo
from csmri_ext.physics.encoding import Encoding
from csmri_ext.physics.fourier import fft2c, ifft2c
from csmri_ext.physics.mask_properties import calibration_block, describe_mask, mask_hash
from csmri_ext.physics.masks.kinds import default_center_fraction, make_mask, mask_kinds
from csmri_ext.physics.phase import low_resolution_phase
from csmri_ext.physics.residual import kspace_residual

__all__ = [
    "Encoding",
    "calibration_block",
    "calibration_offset",
    "calibration_shortfall",
    "cg_sense",
    "default_center_fraction",
    "describe_estimate",
    "describe_mask",
    "ecalib_shortfall",
    "estimate_maps_and_object",
    "estimate_sens_maps",
    "fft2c",
    "find_echo",
    "ifft2c",
    "kspace_residual",
    "low_resolution_phase",
    "make_mask",
    "mask_hash",
    "mask_kinds",
    "rss",
]
