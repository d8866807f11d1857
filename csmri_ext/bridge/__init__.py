"""Files and programs of other people: BART, fastMRI HDF5, NIfTI, PNG, npy, mat. Imports numpy and h5py only."""

from __future__ import annotations

from csmri_ext.bridge.acquisition import Acquisition, LazyStack
from csmri_ext.bridge.bart_files.cfl import read_cfl, read_cfl_header, read_multi_cfl, write_cfl
from csmri_ext.bridge.bart_files.dims import from_bart, to_bart
from csmri_ext.bridge.bart_files.header import CflError, CflHeader
from csmri_ext.bridge.bart_files.kspace import load_cfl_kspace
from csmri_ext.bridge.bart_files.ra import read_ra
from csmri_ext.bridge.bart_program.process import BartError, BartNotFoundError, bart_version, find_bart
from csmri_ext.bridge.bart_program.reconet import ReconetResult, ReconetWeights, read_reconet_weights, reconet
from csmri_ext.bridge.bart_program.run import bart, bart_map
from csmri_ext.bridge.bart_program.tools import PicsResult, ecalib, pics
from csmri_ext.bridge.conventions import looks_dc_at_corner, sampling_pattern
from csmri_ext.bridge.fastmri.read import read_fastmri
from csmri_ext.bridge.fastmri.write import write_fastmri, write_reconstructions
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.load import load, load_frames
from csmri_ext.bridge.reading import parse_axes, reading
from csmri_ext.bridge.stacks import stack_slices

__all__ = [
    "Acquisition",
    "BartError",
    "BartNotFoundError",
    "CflError",
    "CflHeader",
    "FileFormatError",
    "LazyStack",
    "PicsResult",
    "ReconetResult",
    "ReconetWeights",
    "bart",
    "bart_map",
    "bart_version",
    "ecalib",
    "find_bart",
    "from_bart",
    "load",
    "load_cfl_kspace",
    "load_frames",
    "looks_dc_at_corner",
    "parse_axes",
    "pics",
    "read_cfl",
    "read_cfl_header",
    "read_fastmri",
    "read_multi_cfl",
    "read_ra",
    "read_reconet_weights",
    "reading",
    "reconet",
    "sampling_pattern",
    "stack_slices",
    "to_bart",
    "write_cfl",
    "write_fastmri",
    "write_reconstructions",
]
