"""Files and programs of other people: BART, fastMRI HDF5, NIfTI, PNG, npy, mat. Imports numpy and h5py only."""

from __future__ import annotations

from csmri_ext.bridge.acquisition import Acquisition, LazyStack

__all__ = ["Acquisition", "LazyStack"]
