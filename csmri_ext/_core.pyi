"""The compiled module, built from csrc/. Called from csmri_ext.ops only. Written by csrc/bindings/stub.py.

A kernel has one name for each device and dtype. Here are those of the CPU, which every build has; a build with CUDA has
``<name>_cuda_f32``, ``f64`` and, for real tensors, ``bf16`` and ``f16`` too, with the same arguments. Addresses are
integers, 0 for none; fields are explained in the headers of csrc. Structs are made from all their fields, by name.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final, TypeVar, dataclass_transform

_T = TypeVar("_T")

@dataclass_transform(kw_only_default=True, frozen_default=True)
def _struct(cls: type[_T]) -> type[_T]: ...

KERNEL_SIZES: Final[tuple[int, ...]]
KSPACE_TILE: Final[int]
MAX_BRANCHES: Final[int]
MAX_CUDA_LENGTH: Final[int]
MAX_PARTS: Final[int]
MAX_SPLITS: Final[int]
MAX_TERMS: Final[int]
WINDOW: Final[int]

class Axes:
    __members__: ClassVar[dict[str, Axes]]
    x: ClassVar[Axes]
    y: ClassVar[Axes]
    xy: ClassVar[Axes]

@_struct
class CascadeEdge:
    operation: Separable
    source: int

@_struct
class CascadeShape:
    in_channels: int
    channels: int
    cells: int
    composite: bool
    nodes: Sequence[Sequence[CascadeEdge]]

@_struct
class ComplexImages:
    re: int
    im: int
    batch_stride: int
    replica_stride: int
    row_stride: int
    column_stride: int

@_struct
class DataConsistencyArgs:
    shape: KspaceShape
    image: ComplexImages
    out: ComplexImages
    samples: int
    weights: int
    eta: int
    add_image: bool
    def at(self, image: int, out: int, samples: int, weights: int, eta: int) -> DataConsistencyArgs: ...
    def run_cpu_f32(self, image: int, out: int, samples: int, weights: int, eta: int, work: Workspace) -> None: ...
    def run_cpu_f64(self, image: int, out: int, samples: int, weights: int, eta: int, work: Workspace) -> None: ...

@_struct
class DataConsistencyBackwardArgs:
    shape: KspaceShape
    grad: ComplexImages
    image: ComplexImages
    grad_image: ComplexImages
    samples: int
    weights: int
    eta: int
    grad_eta: int
    add_image: bool

@_struct
class DataConsistencyOnceArgs:
    shape: KspaceShape
    image: ComplexImages
    out: ComplexImages
    kspace: int
    mask: int
    eta: int
    add_image: bool
    def at(self, image: int, out: int, kspace: int, mask: int, eta: int) -> DataConsistencyOnceArgs: ...
    def run_cpu_f32(self, image: int, out: int, kspace: int, mask: int, eta: int, work: Workspace) -> None: ...
    def run_cpu_f64(self, image: int, out: int, kspace: int, mask: int, eta: int, work: Workspace) -> None: ...

@_struct
class EdgeTerm:
    operation: Separable
    alpha: int
    first: int
    second: int
    grad_alpha: int
    grad_first: int
    grad_second: int

@_struct
class EncodeArgs:
    images: int
    coils: int
    ny: int
    nx: int
    image: int
    sens_maps: int
    sens_maps_stride: int
    mask: int
    coil_images_per_mask: int
    mask_row_stride: int
    mask_column_stride: int
    kspace: int

@_struct
class HalfShuffleAttentionArgs:
    x: int
    norm_weight: int
    norm_bias: int
    query: int
    key_value: int
    project: int
    bias: int
    out: int
    batch: int
    ny: int
    nx: int
    channels: int
    heads: int
    epsilon: float

@_struct
class HalfShuffleAttentionBackwardArgs:
    grad_out: int
    forward: HalfShuffleAttentionArgs
    grad_x: int
    grad_norm_weight: int
    grad_norm_bias: int
    grad_query: int
    grad_key_value: int
    grad_project: int
    grad_bias: int

@_struct
class HsabFeedForwardArgs:
    x: int
    expand: int
    depthwise: int
    contract: int
    out: int
    batch: int
    ny: int
    nx: int
    channels: int
    hidden: int

@_struct
class HsabFeedForwardBackwardArgs:
    grad_out: int
    x: int
    expand: int
    depthwise: int
    contract: int
    grad_x: int
    grad_expand: int
    grad_depthwise: int
    grad_contract: int
    batch: int
    ny: int
    nx: int
    channels: int
    hidden: int

@_struct
class KspaceShape:
    batch: int
    replicas: int
    batch_per_mask: int
    ny: int
    nx: int
    axes: Axes

@_struct
class MeasureArgs:
    shape: KspaceShape
    image: ComplexImages
    weights: int
    samples: int

@_struct
class NasnCascadeArgs:
    shape: CascadeShape
    image: int
    pixel: int
    out: int
    out_pixel: int
    weights: Sequence[int]
    saved: Sequence[int]
    saved_pixel: Sequence[int]
    batch: int
    ny: int
    nx: int

@_struct
class NodeTerm:
    operation: Separable
    x: int
    channels: int
    pixel: int
    first: int
    second: int

@_struct
class PackArgs:
    shape: KspaceShape
    kspace: int
    mask: int
    samples: int

@_struct
class PackMaskArgs:
    shape: KspaceShape
    mask: int
    weights: int

@_struct
class PyramidArgs:
    shape: PyramidShape
    part: Sequence[int]
    scale: int
    weight: Sequence[int]
    features: int
    mean: int
    maximum: int
    argmax: int

@_struct
class PyramidBackwardArgs:
    shape: PyramidShape
    part: Sequence[int]
    scale: int
    weight: Sequence[int]
    grad_features: int
    grad_mean: int
    grad_maximum: int
    argmax: int
    grad_x: Sequence[int]
    grad_weight: Sequence[int]

@_struct
class PyramidShape:
    batch: int
    ny: int
    nx: int
    part_channels: Sequence[int]
    kernel: Sequence[int]
    groups: Sequence[int]
    branch_channels: int

@_struct
class ReluConvArgs:
    x: int
    channels: int
    pixel: int
    weight: int
    residual: int
    residual_pixel: int
    out: int
    outputs: int
    out_pixel: int
    batch: int
    ny: int
    nx: int

@_struct
class ScaledSkipBackwardArgs:
    x: int
    channels: int
    pixel: int
    factor: int
    grad: int
    grad_pixel: int
    addend: int
    addend_pixel: int
    grad_x: int
    grad_x_pixel: int
    grad_factor: int
    batch: int
    ny: int
    nx: int

@_struct
class SenseNormalArgs:
    shape: KspaceShape
    coils: int
    image: int
    sens_maps: int
    sens_maps_stride: int
    weights: int
    out: int

class Separable:
    __members__: ClassVar[dict[str, Separable]]
    pointwise: ClassVar[Separable]
    dilation1: ClassVar[Separable]
    dilation2: ClassVar[Separable]
    dilation3: ClassVar[Separable]
    column_row: ClassVar[Separable]
    relu_conv: ClassVar[Separable]
    skip: ClassVar[Separable]

@_struct
class SeparableNodeArgs:
    term: Sequence[NodeTerm]
    out: int
    outputs: int
    out_pixel: int
    batch: int
    ny: int
    nx: int
    tf32: bool

@_struct
class SeparableNodeBackwardArgs:
    term: NodeTerm
    grad: int
    outputs: int
    grad_pixel: int
    addend: int
    addend_pixel: int
    grad_x: int
    grad_x_pixel: int
    grad_first: int
    grad_second: int
    batch: int
    ny: int
    nx: int
    tf32: bool

@_struct
class SplitDepthwiseArgs:
    x: int
    weight: int
    out: int
    batch: int
    splits: int
    channels: int
    ny: int
    nx: int

@_struct
class SplitDepthwiseBackwardArgs:
    grad_out: int
    x: int
    out: int
    weight: int
    grad_x: int
    grad_weight: int
    batch: int
    splits: int
    channels: int
    ny: int
    nx: int

@_struct
class StemBackwardArgs:
    image: int
    in_channels: int
    pixel: int
    first: int
    second: int
    grad: int
    channels: int
    grad_pixel: int
    residual: int
    residual_pixel: int
    grad_image: int
    grad_image_pixel: int
    grad_first: int
    grad_second: int
    batch: int
    ny: int
    nx: int

@_struct
class SupernetEdgeBackwardArgs:
    term: Sequence[EdgeTerm]
    x: int
    channels: int
    pixel: int
    grad: int
    outputs: int
    grad_pixel: int
    addend: int
    addend_pixel: int
    grad_x: int
    grad_x_pixel: int
    need_weight: bool
    batch: int
    ny: int
    nx: int
    tf32: bool

@_struct
class Workspace:
    scratch: int
    threads: int
    device: int
    stream: int

def build_info() -> dict[str, Any]: ...
def data_consistency_backward_cpu_f32(args: DataConsistencyBackwardArgs, work: Workspace) -> None: ...
def data_consistency_backward_cpu_f64(args: DataConsistencyBackwardArgs, work: Workspace) -> None: ...
def data_consistency_backward_scratch_bytes_cpu_f32(args: DataConsistencyBackwardArgs, threads: int) -> int: ...
def data_consistency_backward_scratch_bytes_cpu_f64(args: DataConsistencyBackwardArgs, threads: int) -> int: ...
def data_consistency_cpu_f32(args: DataConsistencyArgs, work: Workspace) -> None: ...
def data_consistency_cpu_f64(args: DataConsistencyArgs, work: Workspace) -> None: ...
def data_consistency_measure_cpu_f32(args: MeasureArgs, work: Workspace) -> None: ...
def data_consistency_measure_cpu_f64(args: MeasureArgs, work: Workspace) -> None: ...
def data_consistency_measure_scratch_bytes_cpu_f32(args: MeasureArgs, threads: int) -> int: ...
def data_consistency_measure_scratch_bytes_cpu_f64(args: MeasureArgs, threads: int) -> int: ...
def data_consistency_once_cpu_f32(args: DataConsistencyOnceArgs, work: Workspace) -> None: ...
def data_consistency_once_cpu_f64(args: DataConsistencyOnceArgs, work: Workspace) -> None: ...
def data_consistency_once_scratch_bytes_cpu_f32(args: DataConsistencyOnceArgs, threads: int) -> int: ...
def data_consistency_once_scratch_bytes_cpu_f64(args: DataConsistencyOnceArgs, threads: int) -> int: ...
def data_consistency_pack_cpu_f32(args: PackArgs, work: Workspace) -> None: ...
def data_consistency_pack_cpu_f64(args: PackArgs, work: Workspace) -> None: ...
def data_consistency_pack_mask_cpu_f32(args: PackMaskArgs, work: Workspace) -> None: ...
def data_consistency_pack_mask_cpu_f64(args: PackMaskArgs, work: Workspace) -> None: ...
def data_consistency_pack_mask_scratch_bytes_cpu_f32(args: PackMaskArgs, threads: int) -> int: ...
def data_consistency_pack_mask_scratch_bytes_cpu_f64(args: PackMaskArgs, threads: int) -> int: ...
def data_consistency_pack_scratch_bytes_cpu_f32(args: PackArgs, threads: int) -> int: ...
def data_consistency_pack_scratch_bytes_cpu_f64(args: PackArgs, threads: int) -> int: ...
def data_consistency_scratch_bytes_cpu_f32(args: DataConsistencyArgs, threads: int) -> int: ...
def data_consistency_scratch_bytes_cpu_f64(args: DataConsistencyArgs, threads: int) -> int: ...
def data_consistency_unpack_cpu_f32(args: PackArgs, work: Workspace) -> None: ...
def data_consistency_unpack_cpu_f64(args: PackArgs, work: Workspace) -> None: ...
def data_consistency_unpack_scratch_bytes_cpu_f32(args: PackArgs, threads: int) -> int: ...
def data_consistency_unpack_scratch_bytes_cpu_f64(args: PackArgs, threads: int) -> int: ...
def encode_adjoint_cpu_f32(args: EncodeArgs, work: Workspace) -> None: ...
def encode_adjoint_cpu_f64(args: EncodeArgs, work: Workspace) -> None: ...
def encode_adjoint_scratch_bytes_cpu_f32(args: EncodeArgs, threads: int) -> int: ...
def encode_adjoint_scratch_bytes_cpu_f64(args: EncodeArgs, threads: int) -> int: ...
def encode_cpu_f32(args: EncodeArgs, work: Workspace) -> None: ...
def encode_cpu_f64(args: EncodeArgs, work: Workspace) -> None: ...
def encode_scratch_bytes_cpu_f32(args: EncodeArgs, threads: int) -> int: ...
def encode_scratch_bytes_cpu_f64(args: EncodeArgs, threads: int) -> int: ...
def half_shuffle_attention_backward_cpu_f32(args: HalfShuffleAttentionBackwardArgs, work: Workspace) -> None: ...
def half_shuffle_attention_backward_cpu_f64(args: HalfShuffleAttentionBackwardArgs, work: Workspace) -> None: ...
def half_shuffle_attention_backward_scratch_bytes_cpu_f32(
    args: HalfShuffleAttentionBackwardArgs, threads: int
) -> int: ...
def half_shuffle_attention_backward_scratch_bytes_cpu_f64(
    args: HalfShuffleAttentionBackwardArgs, threads: int
) -> int: ...
def half_shuffle_attention_cpu_f32(args: HalfShuffleAttentionArgs, work: Workspace) -> None: ...
def half_shuffle_attention_cpu_f64(args: HalfShuffleAttentionArgs, work: Workspace) -> None: ...
def half_shuffle_attention_scratch_bytes_cpu_f32(args: HalfShuffleAttentionArgs, threads: int) -> int: ...
def half_shuffle_attention_scratch_bytes_cpu_f64(args: HalfShuffleAttentionArgs, threads: int) -> int: ...
def hsab_feed_forward_backward_cpu_f32(args: HsabFeedForwardBackwardArgs, work: Workspace) -> None: ...
def hsab_feed_forward_backward_cpu_f64(args: HsabFeedForwardBackwardArgs, work: Workspace) -> None: ...
def hsab_feed_forward_backward_scratch_bytes_cpu_f32(args: HsabFeedForwardBackwardArgs, threads: int) -> int: ...
def hsab_feed_forward_backward_scratch_bytes_cpu_f64(args: HsabFeedForwardBackwardArgs, threads: int) -> int: ...
def hsab_feed_forward_cpu_f32(args: HsabFeedForwardArgs, work: Workspace) -> None: ...
def hsab_feed_forward_cpu_f64(args: HsabFeedForwardArgs, work: Workspace) -> None: ...
def hsab_feed_forward_scratch_bytes_cpu_f32(args: HsabFeedForwardArgs, threads: int) -> int: ...
def hsab_feed_forward_scratch_bytes_cpu_f64(args: HsabFeedForwardArgs, threads: int) -> int: ...
def mask_axes(masks: int, n_masks: int, ny: int, nx: int, element_bytes: int) -> Axes: ...
def measure_fma_rate(threads: int) -> float: ...
def nasn_cascade_cpu_f32(args: NasnCascadeArgs, work: Workspace) -> None: ...
def nasn_cascade_cpu_f64(args: NasnCascadeArgs, work: Workspace) -> None: ...
def nasn_cascade_scratch_bytes_cpu_f32(args: NasnCascadeArgs, threads: int) -> int: ...
def nasn_cascade_scratch_bytes_cpu_f64(args: NasnCascadeArgs, threads: int) -> int: ...
def pyramid_attention_backward_cpu_f32(args: PyramidBackwardArgs, work: Workspace) -> None: ...
def pyramid_attention_backward_cpu_f64(args: PyramidBackwardArgs, work: Workspace) -> None: ...
def pyramid_attention_backward_scratch_bytes_cpu_f32(args: PyramidBackwardArgs, threads: int) -> int: ...
def pyramid_attention_backward_scratch_bytes_cpu_f64(args: PyramidBackwardArgs, threads: int) -> int: ...
def pyramid_attention_cpu_f32(args: PyramidArgs, work: Workspace) -> None: ...
def pyramid_attention_cpu_f64(args: PyramidArgs, work: Workspace) -> None: ...
def pyramid_attention_scratch_bytes_cpu_f32(args: PyramidArgs, threads: int) -> int: ...
def pyramid_attention_scratch_bytes_cpu_f64(args: PyramidArgs, threads: int) -> int: ...
def relu_conv_cpu_f32(args: ReluConvArgs, work: Workspace) -> None: ...
def relu_conv_cpu_f64(args: ReluConvArgs, work: Workspace) -> None: ...
def relu_conv_scratch_bytes_cpu_f32(args: ReluConvArgs, threads: int) -> int: ...
def relu_conv_scratch_bytes_cpu_f64(args: ReluConvArgs, threads: int) -> int: ...
def scaled_skip_backward_cpu_f32(args: ScaledSkipBackwardArgs, work: Workspace) -> None: ...
def scaled_skip_backward_cpu_f64(args: ScaledSkipBackwardArgs, work: Workspace) -> None: ...
def scaled_skip_backward_scratch_bytes_cpu_f32(args: ScaledSkipBackwardArgs, threads: int) -> int: ...
def scaled_skip_backward_scratch_bytes_cpu_f64(args: ScaledSkipBackwardArgs, threads: int) -> int: ...
def sense_normal_cpu_f32(args: SenseNormalArgs, work: Workspace) -> None: ...
def sense_normal_cpu_f64(args: SenseNormalArgs, work: Workspace) -> None: ...
def sense_normal_scratch_bytes_cpu_f32(args: SenseNormalArgs, threads: int) -> int: ...
def sense_normal_scratch_bytes_cpu_f64(args: SenseNormalArgs, threads: int) -> int: ...
def separable_node_backward_cpu_f32(args: SeparableNodeBackwardArgs, work: Workspace) -> None: ...
def separable_node_backward_cpu_f64(args: SeparableNodeBackwardArgs, work: Workspace) -> None: ...
def separable_node_backward_scratch_bytes_cpu_f32(args: SeparableNodeBackwardArgs, threads: int) -> int: ...
def separable_node_backward_scratch_bytes_cpu_f64(args: SeparableNodeBackwardArgs, threads: int) -> int: ...
def separable_node_cpu_f32(args: SeparableNodeArgs, work: Workspace) -> None: ...
def separable_node_cpu_f64(args: SeparableNodeArgs, work: Workspace) -> None: ...
def separable_node_scratch_bytes_cpu_f32(args: SeparableNodeArgs, threads: int) -> int: ...
def separable_node_scratch_bytes_cpu_f64(args: SeparableNodeArgs, threads: int) -> int: ...
def simd_level() -> str: ...
def split_depthwise_backward_cpu_f32(args: SplitDepthwiseBackwardArgs, work: Workspace) -> None: ...
def split_depthwise_backward_cpu_f64(args: SplitDepthwiseBackwardArgs, work: Workspace) -> None: ...
def split_depthwise_backward_scratch_bytes_cpu_f32(args: SplitDepthwiseBackwardArgs, threads: int) -> int: ...
def split_depthwise_backward_scratch_bytes_cpu_f64(args: SplitDepthwiseBackwardArgs, threads: int) -> int: ...
def split_depthwise_cpu_f32(args: SplitDepthwiseArgs, work: Workspace) -> None: ...
def split_depthwise_cpu_f64(args: SplitDepthwiseArgs, work: Workspace) -> None: ...
def split_depthwise_scratch_bytes_cpu_f32(args: SplitDepthwiseArgs, threads: int) -> int: ...
def split_depthwise_scratch_bytes_cpu_f64(args: SplitDepthwiseArgs, threads: int) -> int: ...
def stem_backward_cpu_f32(args: StemBackwardArgs, work: Workspace) -> None: ...
def stem_backward_cpu_f64(args: StemBackwardArgs, work: Workspace) -> None: ...
def stem_backward_scratch_bytes_cpu_f32(args: StemBackwardArgs, threads: int) -> int: ...
def stem_backward_scratch_bytes_cpu_f64(args: StemBackwardArgs, threads: int) -> int: ...
