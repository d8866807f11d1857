"""From an undersampled file to an image by a named method, and the measurement of that image."""

from __future__ import annotations

from csmri_ext.recon.methods import Method, get, names, register, register_network
from csmri_ext.recon.problem import Problem, Reconstruction

__all__ = ["Method", "Problem", "Reconstruction", "get", "names", "register", "register_network"]
