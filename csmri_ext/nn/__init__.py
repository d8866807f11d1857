"""Layers to drop into other people's models, backed by the operators of `csmri_ext.ops`."""

from __future__ import annotations

from csmri_ext.nn.complex import as_channels, as_complex
from csmri_ext.nn.cse import CSE
from csmri_ext.nn.data_consistency import DataConsistency
from csmri_ext.nn.hsab import HSAB
from csmri_ext.nn.msst import HSAU, MSST
from csmri_ext.nn.nas_cell import NasCell, NasNode
from csmri_ext.nn.padding import pad_to_multiple
from csmri_ext.nn.pgsa import PGSA
from csmri_ext.nn.proximal_steps import ProximalSteps
from csmri_ext.nn.split_depthwise import SplitDepthwiseConv
from csmri_ext.nn.unet import UNet
from csmri_ext.nn.unrolled import Reconstructor

__all__ = [
    "CSE",
    "HSAB",
    "HSAU",
    "MSST",
    "PGSA",
    "DataConsistency",
    "NasCell",
    "NasNode",
    "ProximalSteps",
    "Reconstructor",
    "SplitDepthwiseConv",
    "UNet",
    "as_channels",
    "as_complex",
    "pad_to_multiple",
]
