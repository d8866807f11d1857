"""Files and programs of other people: BART, fastMRI HDF5, NIfTI, PNG, npy, mat. Imports numpy and h5py only."""

from __future__ import annotations

from csmri_ext.bridge.acquisition import Acquisition, LazyStack
from csmri_ext.bridge.conventions import looks_dc_at_corner, sampling_pattern
from csmri_ext.bridge.fastmri import read_fastmri
from csmri_ext.bridge.fastmri_write import write_fastmri, write_reconstructions
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.from_slices import stack_slices

__all__ = [
    "Acquisition",
    "FileFormatError",
    "LazyStack",
    "looks_dc_at_corner",
    "read_fastmri",
    "sampling_pattern",
    "stack_slices",
    "write_fastmri",
    "write_reconstructions",
]
