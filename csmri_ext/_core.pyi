"""The compiled module, built from csrc/. Called from csmri_ext.ops only. Written by csrc/bindings/stub.py.

A kernel has one name for each device and dtype. Here are those of the CPU, which every build has; a build with CUDA has
``<name>_cuda_f32``, ``f64`` and, for real tensors, ``bf16`` and ``f16`` too, with the same arguments. Addresses are
integers, 0 for none; fields are explained in the headers of csrc.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

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

class CascadeEdge:
    operation: Final[Separable]
    source: Final[int]
    def __init__(
        self,
        *,
        operation: Separable,
        source: int,
    ) -> None: ...

class CascadeShape:
    in_channels: Final[int]
    channels: Final[int]
    cells: Final[int]
    composite: Final[bool]
    nodes: Final[Sequence[Sequence[CascadeEdge]]]
    def __init__(
        self,
        *,
        in_channels: int,
        channels: int,
        cells: int,
        composite: bool,
        nodes: Sequence[Sequence[CascadeEdge]],
    ) -> None: ...

class ComplexImages:
    re: Final[int]
    im: Final[int]
    batch_stride: Final[int]
    replica_stride: Final[int]
    row_stride: Final[int]
    column_stride: Final[int]
    def __init__(
        self,
        *,
        re: int,
        im: int,
        batch_stride: int,
        replica_stride: int,
        row_stride: int,
        column_stride: int,
    ) -> None: ...

class DataConsistencyArgs:
    shape: Final[KspaceShape]
    image: Final[ComplexImages]
    out: Final[ComplexImages]
    samples: Final[int]
    weights: Final[int]
    eta: Final[int]
    add_image: Final[bool]
    def __init__(
        self,
        *,
        shape: KspaceShape,
        image: ComplexImages,
        out: ComplexImages,
        samples: int,
        weights: int,
        eta: int,
        add_image: bool,
    ) -> None: ...
    def at(self, image: int, out: int, samples: int, weights: int, eta: int) -> DataConsistencyArgs: ...

class DataConsistencyBackwardArgs:
    shape: Final[KspaceShape]
    grad: Final[ComplexImages]
    image: Final[ComplexImages]
    grad_image: Final[ComplexImages]
    samples: Final[int]
    weights: Final[int]
    eta: Final[int]
    grad_eta: Final[int]
    add_image: Final[bool]
    def __init__(
        self,
        *,
        shape: KspaceShape,
        grad: ComplexImages,
        image: ComplexImages,
        grad_image: ComplexImages,
        samples: int,
        weights: int,
        eta: int,
        grad_eta: int,
        add_image: bool,
    ) -> None: ...

class DataConsistencyOnceArgs:
    shape: Final[KspaceShape]
    image: Final[ComplexImages]
    out: Final[ComplexImages]
    kspace: Final[int]
    mask: Final[int]
    eta: Final[int]
    add_image: Final[bool]
    def __init__(
        self,
        *,
        shape: KspaceShape,
        image: ComplexImages,
        out: ComplexImages,
        kspace: int,
        mask: int,
        eta: int,
        add_image: bool,
    ) -> None: ...
    def at(self, image: int, out: int, kspace: int, mask: int, eta: int) -> DataConsistencyOnceArgs: ...

class EdgeTerm:
    operation: Final[Separable]
    alpha: Final[int]
    first: Final[int]
    second: Final[int]
    grad_alpha: Final[int]
    grad_first: Final[int]
    grad_second: Final[int]
    def __init__(
        self,
        *,
        operation: Separable,
        alpha: int,
        first: int,
        second: int,
        grad_alpha: int,
        grad_first: int,
        grad_second: int,
    ) -> None: ...

class EncodeArgs:
    images: Final[int]
    coils: Final[int]
    ny: Final[int]
    nx: Final[int]
    image: Final[int]
    sens_maps: Final[int]
    sens_maps_stride: Final[int]
    mask: Final[int]
    coil_images_per_mask: Final[int]
    mask_row_stride: Final[int]
    mask_column_stride: Final[int]
    kspace: Final[int]
    def __init__(
        self,
        *,
        images: int,
        coils: int,
        ny: int,
        nx: int,
        image: int,
        sens_maps: int,
        sens_maps_stride: int,
        mask: int,
        coil_images_per_mask: int,
        mask_row_stride: int,
        mask_column_stride: int,
        kspace: int,
    ) -> None: ...

class HalfShuffleAttentionArgs:
    x: Final[int]
    norm_weight: Final[int]
    norm_bias: Final[int]
    query: Final[int]
    key_value: Final[int]
    project: Final[int]
    bias: Final[int]
    out: Final[int]
    batch: Final[int]
    ny: Final[int]
    nx: Final[int]
    channels: Final[int]
    heads: Final[int]
    epsilon: Final[float]
    def __init__(
        self,
        *,
        x: int,
        norm_weight: int,
        norm_bias: int,
        query: int,
        key_value: int,
        project: int,
        bias: int,
        out: int,
        batch: int,
        ny: int,
        nx: int,
        channels: int,
        heads: int,
        epsilon: float,
    ) -> None: ...

class HalfShuffleAttentionBackwardArgs:
    grad_out: Final[int]
    forward: Final[HalfShuffleAttentionArgs]
    grad_x: Final[int]
    grad_norm_weight: Final[int]
    grad_norm_bias: Final[int]
    grad_query: Final[int]
    grad_key_value: Final[int]
    grad_project: Final[int]
    grad_bias: Final[int]
    def __init__(
        self,
        *,
        grad_out: int,
        forward: HalfShuffleAttentionArgs,
        grad_x: int,
        grad_norm_weight: int,
        grad_norm_bias: int,
        grad_query: int,
        grad_key_value: int,
        grad_project: int,
        grad_bias: int,
    ) -> None: ...

class HsabFeedForwardArgs:
    x: Final[int]
    expand: Final[int]
    depthwise: Final[int]
    contract: Final[int]
    out: Final[int]
    batch: Final[int]
    ny: Final[int]
    nx: Final[int]
    channels: Final[int]
    hidden: Final[int]
    def __init__(
        self,
        *,
        x: int,
        expand: int,
        depthwise: int,
        contract: int,
        out: int,
        batch: int,
        ny: int,
        nx: int,
        channels: int,
        hidden: int,
    ) -> None: ...

class HsabFeedForwardBackwardArgs:
    grad_out: Final[int]
    x: Final[int]
    expand: Final[int]
    depthwise: Final[int]
    contract: Final[int]
    grad_x: Final[int]
    grad_expand: Final[int]
    grad_depthwise: Final[int]
    grad_contract: Final[int]
    batch: Final[int]
    ny: Final[int]
    nx: Final[int]
    channels: Final[int]
    hidden: Final[int]
    def __init__(
        self,
        *,
        grad_out: int,
        x: int,
        expand: int,
        depthwise: int,
        contract: int,
        grad_x: int,
        grad_expand: int,
        grad_depthwise: int,
        grad_contract: int,
        batch: int,
        ny: int,
        nx: int,
        channels: int,
        hidden: int,
    ) -> None: ...

class KspaceShape:
    batch: Final[int]
    replicas: Final[int]
    batch_per_mask: Final[int]
    ny: Final[int]
    nx: Final[int]
    axes: Final[Axes]
    def __init__(
        self,
        *,
        batch: int,
        replicas: int,
        batch_per_mask: int,
        ny: int,
        nx: int,
        axes: Axes,
    ) -> None: ...

class MeasureArgs:
    shape: Final[KspaceShape]
    image: Final[ComplexImages]
    weights: Final[int]
    samples: Final[int]
    def __init__(
        self,
        *,
        shape: KspaceShape,
        image: ComplexImages,
        weights: int,
        samples: int,
    ) -> None: ...

class NasnCascadeArgs:
    shape: Final[CascadeShape]
    image: Final[int]
    pixel: Final[int]
    out: Final[int]
    out_pixel: Final[int]
    weights: Final[Sequence[int]]
    batch: Final[int]
    ny: Final[int]
    nx: Final[int]
    def __init__(
        self,
        *,
        shape: CascadeShape,
        image: int,
        pixel: int,
        out: int,
        out_pixel: int,
        weights: Sequence[int],
        batch: int,
        ny: int,
        nx: int,
    ) -> None: ...

class NodeTerm:
    operation: Final[Separable]
    x: Final[int]
    channels: Final[int]
    pixel: Final[int]
    first: Final[int]
    second: Final[int]
    def __init__(
        self,
        *,
        operation: Separable,
        x: int,
        channels: int,
        pixel: int,
        first: int,
        second: int,
    ) -> None: ...

class PackArgs:
    shape: Final[KspaceShape]
    kspace: Final[int]
    mask: Final[int]
    samples: Final[int]
    def __init__(
        self,
        *,
        shape: KspaceShape,
        kspace: int,
        mask: int,
        samples: int,
    ) -> None: ...

class PackMaskArgs:
    shape: Final[KspaceShape]
    mask: Final[int]
    weights: Final[int]
    def __init__(
        self,
        *,
        shape: KspaceShape,
        mask: int,
        weights: int,
    ) -> None: ...

class PyramidArgs:
    shape: Final[PyramidShape]
    part: Final[Sequence[int]]
    scale: Final[int]
    weight: Final[Sequence[int]]
    features: Final[int]
    mean: Final[int]
    maximum: Final[int]
    argmax: Final[int]
    def __init__(
        self,
        *,
        shape: PyramidShape,
        part: Sequence[int],
        scale: int,
        weight: Sequence[int],
        features: int,
        mean: int,
        maximum: int,
        argmax: int,
    ) -> None: ...

class PyramidBackwardArgs:
    shape: Final[PyramidShape]
    part: Final[Sequence[int]]
    scale: Final[int]
    weight: Final[Sequence[int]]
    grad_features: Final[int]
    grad_mean: Final[int]
    grad_maximum: Final[int]
    argmax: Final[int]
    grad_x: Final[Sequence[int]]
    grad_weight: Final[Sequence[int]]
    def __init__(
        self,
        *,
        shape: PyramidShape,
        part: Sequence[int],
        scale: int,
        weight: Sequence[int],
        grad_features: int,
        grad_mean: int,
        grad_maximum: int,
        argmax: int,
        grad_x: Sequence[int],
        grad_weight: Sequence[int],
    ) -> None: ...

class PyramidShape:
    batch: Final[int]
    ny: Final[int]
    nx: Final[int]
    part_channels: Final[Sequence[int]]
    kernel: Final[Sequence[int]]
    groups: Final[Sequence[int]]
    branch_channels: Final[int]
    def __init__(
        self,
        *,
        batch: int,
        ny: int,
        nx: int,
        part_channels: Sequence[int],
        kernel: Sequence[int],
        groups: Sequence[int],
        branch_channels: int,
    ) -> None: ...

class ReluConvArgs:
    x: Final[int]
    channels: Final[int]
    pixel: Final[int]
    weight: Final[int]
    residual: Final[int]
    residual_pixel: Final[int]
    out: Final[int]
    outputs: Final[int]
    out_pixel: Final[int]
    batch: Final[int]
    ny: Final[int]
    nx: Final[int]
    def __init__(
        self,
        *,
        x: int,
        channels: int,
        pixel: int,
        weight: int,
        residual: int,
        residual_pixel: int,
        out: int,
        outputs: int,
        out_pixel: int,
        batch: int,
        ny: int,
        nx: int,
    ) -> None: ...

class ScaledSkipBackwardArgs:
    x: Final[int]
    channels: Final[int]
    pixel: Final[int]
    factor: Final[int]
    grad: Final[int]
    grad_pixel: Final[int]
    addend: Final[int]
    addend_pixel: Final[int]
    grad_x: Final[int]
    grad_x_pixel: Final[int]
    grad_factor: Final[int]
    batch: Final[int]
    ny: Final[int]
    nx: Final[int]
    def __init__(
        self,
        *,
        x: int,
        channels: int,
        pixel: int,
        factor: int,
        grad: int,
        grad_pixel: int,
        addend: int,
        addend_pixel: int,
        grad_x: int,
        grad_x_pixel: int,
        grad_factor: int,
        batch: int,
        ny: int,
        nx: int,
    ) -> None: ...

class SenseNormalArgs:
    shape: Final[KspaceShape]
    coils: Final[int]
    image: Final[int]
    sens_maps: Final[int]
    sens_maps_stride: Final[int]
    weights: Final[int]
    out: Final[int]
    def __init__(
        self,
        *,
        shape: KspaceShape,
        coils: int,
        image: int,
        sens_maps: int,
        sens_maps_stride: int,
        weights: int,
        out: int,
    ) -> None: ...

class Separable:
    __members__: ClassVar[dict[str, Separable]]
    pointwise: ClassVar[Separable]
    dilation1: ClassVar[Separable]
    dilation2: ClassVar[Separable]
    dilation3: ClassVar[Separable]
    column_row: ClassVar[Separable]
    relu_conv: ClassVar[Separable]
    skip: ClassVar[Separable]

class SeparableNodeArgs:
    term: Final[Sequence[NodeTerm]]
    out: Final[int]
    outputs: Final[int]
    out_pixel: Final[int]
    batch: Final[int]
    ny: Final[int]
    nx: Final[int]
    tf32: Final[bool]
    def __init__(
        self,
        *,
        term: Sequence[NodeTerm],
        out: int,
        outputs: int,
        out_pixel: int,
        batch: int,
        ny: int,
        nx: int,
        tf32: bool,
    ) -> None: ...

class SeparableNodeBackwardArgs:
    term: Final[NodeTerm]
    grad: Final[int]
    outputs: Final[int]
    grad_pixel: Final[int]
    addend: Final[int]
    addend_pixel: Final[int]
    grad_x: Final[int]
    grad_x_pixel: Final[int]
    grad_first: Final[int]
    grad_second: Final[int]
    batch: Final[int]
    ny: Final[int]
    nx: Final[int]
    tf32: Final[bool]
    def __init__(
        self,
        *,
        term: NodeTerm,
        grad: int,
        outputs: int,
        grad_pixel: int,
        addend: int,
        addend_pixel: int,
        grad_x: int,
        grad_x_pixel: int,
        grad_first: int,
        grad_second: int,
        batch: int,
        ny: int,
        nx: int,
        tf32: bool,
    ) -> None: ...

class SplitDepthwiseArgs:
    x: Final[int]
    weight: Final[int]
    out: Final[int]
    batch: Final[int]
    splits: Final[int]
    channels: Final[int]
    ny: Final[int]
    nx: Final[int]
    def __init__(
        self,
        *,
        x: int,
        weight: int,
        out: int,
        batch: int,
        splits: int,
        channels: int,
        ny: int,
        nx: int,
    ) -> None: ...

class SplitDepthwiseBackwardArgs:
    grad_out: Final[int]
    x: Final[int]
    out: Final[int]
    weight: Final[int]
    grad_x: Final[int]
    grad_weight: Final[int]
    batch: Final[int]
    splits: Final[int]
    channels: Final[int]
    ny: Final[int]
    nx: Final[int]
    def __init__(
        self,
        *,
        grad_out: int,
        x: int,
        out: int,
        weight: int,
        grad_x: int,
        grad_weight: int,
        batch: int,
        splits: int,
        channels: int,
        ny: int,
        nx: int,
    ) -> None: ...

class SupernetEdgeBackwardArgs:
    term: Final[Sequence[EdgeTerm]]
    x: Final[int]
    channels: Final[int]
    pixel: Final[int]
    grad: Final[int]
    outputs: Final[int]
    grad_pixel: Final[int]
    addend: Final[int]
    addend_pixel: Final[int]
    grad_x: Final[int]
    grad_x_pixel: Final[int]
    need_weight: Final[bool]
    batch: Final[int]
    ny: Final[int]
    nx: Final[int]
    tf32: Final[bool]
    def __init__(
        self,
        *,
        term: Sequence[EdgeTerm],
        x: int,
        channels: int,
        pixel: int,
        grad: int,
        outputs: int,
        grad_pixel: int,
        addend: int,
        addend_pixel: int,
        grad_x: int,
        grad_x_pixel: int,
        need_weight: bool,
        batch: int,
        ny: int,
        nx: int,
        tf32: bool,
    ) -> None: ...

class Workspace:
    scratch: Final[int]
    threads: Final[int]
    device: Final[int]
    stream: Final[int]
    def __init__(
        self,
        *,
        scratch: int,
        threads: int,
        device: int,
        stream: int,
    ) -> None: ...

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
