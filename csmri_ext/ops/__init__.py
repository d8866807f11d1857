"""Operators of `torch.ops.csmri_ext`: compiled kernels with autograd, tracing, autocast and a plain-PyTorch twin."""

from __future__ import annotations

from csmri_ext.ops import _library  # noqa: F401 - first: it says what is missing where there is no compiled part
from csmri_ext.ops.data_consistency import (
    PreparedKspace,
    data_consistency,
    data_consistency_normal_term,
    data_consistency_prepared,
    divide_prepared,
    prepare_data_consistency,
)
from csmri_ext.ops.encode import encode, encode_adjoint
from csmri_ext.ops.half_shuffle_attention import (
    attention_of_torch,
    half_shuffle_attention,
    half_shuffle_attention_is_faster,
)
from csmri_ext.ops.hsab_feed_forward import hsab_feed_forward, hsab_feed_forward_is_faster
from csmri_ext.ops.nasn_cascade import nasn_cascade
from csmri_ext.ops.pyramid_attention import KERNEL_SIZES, pyramid_attention, pyramid_convolution
from csmri_ext.ops.reference import reference_ops
from csmri_ext.ops.relu_conv import relu_conv
from csmri_ext.ops.sense_normal import sense_normal
from csmri_ext.ops.separable_cell import separable_cell
from csmri_ext.ops.separable_node import separable_node
from csmri_ext.ops.split_depthwise import split_depthwise
from csmri_ext.ops.supernet_node import supernet_node

__all__ = [
    "KERNEL_SIZES",
    "PreparedKspace",
    "attention_of_torch",
    "data_consistency",
    "data_consistency_normal_term",
    "data_consistency_prepared",
    "divide_prepared",
    "encode",
    "encode_adjoint",
    "half_shuffle_attention",
    "half_shuffle_attention_is_faster",
    "hsab_feed_forward",
    "hsab_feed_forward_is_faster",
    "nasn_cascade",
    "prepare_data_consistency",
    "pyramid_attention",
    "pyramid_convolution",
    "reference_ops",
    "relu_conv",
    "sense_normal",
    "separable_cell",
    "separable_node",
    "split_depthwise",
    "supernet_node",
]
