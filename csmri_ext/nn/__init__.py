"""Layers to drop into other people's models, backed by the operators of `csmri_ext.ops`."""

from __future__ import annotations

from csmri_ext.nn.data_consistency import DataConsistency
from csmri_ext.nn.pgsa import PGSA
from csmri_ext.nn.split_depthwise import SplitDepthwiseConv

__all__ = ["PGSA", "DataConsistency", "SplitDepthwiseConv"]
