"""Procedural anatomy: heads, trunks and abstract objects as a scanner would see them, with coils and noise."""

from __future__ import annotations

from csmri_ext.phantom.subjects import coil_maps, phantom, phantom_acquisition, phantom_volume, write_phantom

__all__ = ["coil_maps", "phantom", "phantom_acquisition", "phantom_volume", "write_phantom"]
