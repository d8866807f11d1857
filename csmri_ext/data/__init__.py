"""Images and k-space to test and to train with: a procedural phantom."""

from __future__ import annotations

from csmri_ext.data.phantom import coil_maps, phantom, phantom_acquisition, phantom_volume, write_phantom

__all__ = ["coil_maps", "phantom", "phantom_acquisition", "phantom_volume", "write_phantom"]
