"""The way from tensors on a GPU to the CUDA kernels, as far as it goes without one: dtypes, arguments, the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from importlib import import_module

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from csmri_ext import _core
from csmri_ext.ops import _library

split_depthwise = import_module("csmri_ext.ops.split_depthwise")  # the package has functions of the same names
pyramid_attention = import_module("csmri_ext.ops.pyramid_attention")
hsab_feed_forward = import_module("csmri_ext.ops.hsab_feed_forward")
half_shuffle_attention = import_module("csmri_ext.ops.half_shuffle_attention")
separable_node = import_module("csmri_ext.ops.separable_node")
nasn_cascade = import_module("csmri_ext.ops.nasn_cascade")
relu_conv = import_module("csmri_ext.ops.relu_conv")
separable_cell = import_module("csmri_ext.ops.separable_cell")
supernet_node = import_module("csmri_ext.ops.supernet_node")
separable_kernels = import_module("csmri_ext.ops._separable_kernels")
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
needs_cuda_build = pytest.mark.skipif(not _library.CUDA_BUILT, reason="the core was built without CUDA")


@pytest.fixture
def tensor() -> Iterator[Callable[..., torch.Tensor]]:
    """Tensors without data that say they are on a GPU."""
    with FakeTensorMode():
        yield lambda *shape, dtype=torch.float32: torch.empty(shape, dtype=dtype, device="cuda:0")


@pytest.fixture
def autocast() -> Iterator[None]:
    """torch.autocast("cuda"), which refuses to begin where there is no GPU."""
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_enabled("cuda", True)
    yield
    torch.set_autocast_enabled("cuda", False)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the kernels that were reached; each sees null pointers on a device that does not exist."""
    names: list[str] = []

    def launch(name: str, like: torch.Tensor, args: object) -> None:
        kernel = _library.kernel_for(name, like)
        assert _library.kernel_for(f"{name}_scratch_bytes", like)(args, 1) >= 0
        with pytest.raises(RuntimeError, match=r"^CUDA: "):  # TypeError: the arguments do not fit
            kernel(args, _core.Workspace(scratch=0, threads=1, device=1 << 20, stream=0))
        names.append(kernel.__name__)

    for module in (split_depthwise, hsab_feed_forward, half_shuffle_attention, pyramid_attention, separable_kernels):
        monkeypatch.setattr(module, "launch", launch)
    for module in (_library, pyramid_attention, separable_kernels):
        monkeypatch.setattr(module, "address", lambda x: 0)
    return names


@needs_cuda_build
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_arguments_of_split_depthwise(
    calls: list[str], tensor: Callable[..., torch.Tensor], dtype: torch.dtype
) -> None:
    x, weight = tensor(2, 8, 5, 6, dtype=dtype), tensor(3, 2, 3, 3, dtype=dtype)
    out = split_depthwise._forward(x, weight)
    grad_x, grad_weight = split_depthwise._backward(out, x, out, weight)
    assert (out.shape, grad_x.shape, grad_weight.shape) == (x.shape, x.shape, weight.shape)
    assert out.dtype == grad_x.dtype == grad_weight.dtype == dtype
    suffix = _library._KERNEL_SUFFIX[dtype]
    assert calls == [f"split_depthwise_cuda_{suffix}", f"split_depthwise_backward_cuda_{suffix}"]


@needs_cuda_build
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("op", ["hsab_feed_forward", "half_shuffle_attention"])
def test_arguments_of_hsab(calls: list[str], tensor: Callable[..., torch.Tensor], op: str, dtype: torch.dtype) -> None:
    """Forward, and where there is a kernel backward: attention's backward pass is composed of torch's."""
    x = torch.empty(2, 4, 8, 16, dtype=dtype, device="cuda:0", memory_format=torch.channels_last)
    backward = []
    if op == "hsab_feed_forward":
        weights = [tensor(*size, dtype=dtype) for size in ((16, 4), (16, 3, 3), (4, 16))]
        out = hsab_feed_forward._forward(x, *weights)
        grads = hsab_feed_forward._backward(out, x, *weights)
        assert [(g.shape, g.dtype) for g in grads] == [(t.shape, dtype) for t in (x, *weights)]
        backward = [f"{op}_backward_cuda_{_library._KERNEL_SUFFIX[dtype]}"]
    else:
        weights = [tensor(*size, dtype=dtype) for size in ((4,), (4,), (4, 4), (8, 4), (4, 4), (4,))]
        out = half_shuffle_attention._forward(x, *weights, 2, 1e-5)
    assert out.shape == x.shape and out.is_contiguous(memory_format=torch.channels_last)
    assert calls == [f"{op}_cuda_{_library._KERNEL_SUFFIX[dtype]}", *backward]


@needs_cuda_build
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_arguments_of_pyramid_attention(
    calls: list[str], tensor: Callable[..., torch.Tensor], dtype: torch.dtype
) -> None:
    parts = [tensor(2, 4, 5, 6, dtype=dtype), tensor(2, 8, 5, 6, dtype=dtype)]
    weights, groups = [tensor(4, 12, 3, 3, dtype=dtype), tensor(4, 6, 5, 5, dtype=dtype)], [1, 2]
    scales = tensor(2, dtype=dtype)
    features, mean, maximum, argmax = pyramid_attention._forward(parts, scales, weights, groups)
    assert features.dtype == mean.dtype == maximum.dtype == dtype
    grads = [features, mean, maximum]
    grad_x, grad_weight = pyramid_attention._backward(grads, argmax, parts, scales, weights, groups, True, True)
    assert [g.shape for g in (*grad_x, *grad_weight)] == [t.shape for t in (*parts, *weights)]
    suffix = _library._KERNEL_SUFFIX[dtype]
    assert calls == [f"pyramid_attention_cuda_{suffix}", f"pyramid_attention_backward_cuda_{suffix}"]


@needs_cuda_build
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_arguments_of_separable_node(calls: list[str], tensor: Callable[..., torch.Tensor], dtype: torch.dtype) -> None:
    layout = torch.channels_last
    inputs = [torch.empty(2, 4, 5, 6, dtype=dtype, device="cuda:0", memory_format=layout) for _ in range(2)]
    operations = ["dil_2_conv_3x3", "conv_9x1_1x9"]
    weights = [tensor(4, *size, dtype=dtype) for size in ((3, 3), (4,), (9,), (9,))]
    out = separable_node._forward(inputs, operations, weights)
    assert out.shape == inputs[0].shape and out.is_contiguous(memory_format=layout)
    grad_inputs, grad_weights = separable_node._backward(out, inputs, operations, weights, True, True)
    assert [g.shape for g in (*grad_inputs, *grad_weights)] == [t.shape for t in (*inputs, *weights)]
    suffix = _library._KERNEL_SUFFIX[dtype]
    assert calls == [f"separable_node_cuda_{suffix}", *[f"separable_node_backward_cuda_{suffix}"] * 2]


@needs_cuda_build
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_arguments_of_supernet_node(calls: list[str], tensor: Callable[..., torch.Tensor], dtype: torch.dtype) -> None:
    layout = torch.channels_last
    inputs = [torch.empty(2, 4, 5, 6, dtype=dtype, device="cuda:0", memory_format=layout) for _ in range(2)]
    alphas = tensor(2, 4, dtype=dtype)
    operations = ["sep_conv_3x3", "conv_9x1_1x9", "skip", "none"]
    weights = [tensor(4, *size, dtype=dtype) for size in ((3, 3), (4,), (9,), (9,)) * 2]
    out = supernet_node._forward(inputs, operations, alphas, weights)
    assert out.shape == inputs[0].shape and out.is_contiguous(memory_format=layout)
    grad_inputs, grads = supernet_node._backward(out, inputs, operations, alphas, weights, True, True)
    assert [g.shape for g in (*grad_inputs, *grads)] == [t.shape for t in (*inputs, alphas, *weights)]
    assert {g.dtype for g in (out, *grad_inputs, *grads)} == {dtype}
    suffix = _library._KERNEL_SUFFIX[dtype]
    backward = [f"separable_node_backward_cuda_{suffix}", f"supernet_edge_backward_cuda_{suffix}"]
    assert calls == [f"separable_node_cuda_{suffix}", *backward * 2]


@needs_cuda_build
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_arguments_of_relu_conv(calls: list[str], tensor: Callable[..., torch.Tensor], dtype: torch.dtype) -> None:
    layout = torch.channels_last
    x = torch.empty(2, 4, 5, 6, dtype=dtype, device="cuda:0", memory_format=layout)
    weight = tensor(2, 4, 3, 3, dtype=dtype)
    residual = torch.empty(2, 2, 5, 6, dtype=dtype, device="cuda:0", memory_format=layout)
    out = relu_conv._forward(x, weight, residual)
    assert out.shape == residual.shape and out.is_contiguous(memory_format=layout)
    grad_x, grad_weight = relu_conv._backward(out, x, weight, True, True)
    assert (grad_x.shape, grad_weight.shape) == (x.shape, weight.shape)
    suffix = _library._KERNEL_SUFFIX[dtype]
    assert calls == [f"relu_conv_cuda_{suffix}", f"separable_node_backward_cuda_{suffix}"]


@needs_cuda_build
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_arguments_of_nasn_cascade(
    calls: list[str], monkeypatch: pytest.MonkeyPatch, tensor: Callable[..., torch.Tensor], dtype: torch.dtype
) -> None:
    stem = torch.empty(1, 4, 5, 6, dtype=dtype, device="cuda:0", memory_format=torch.channels_last)
    monkeypatch.setattr(torch.nn.functional, "conv2d", lambda *_, **__: stem)  # cuDNN's
    weights = [(4, 2, 3, 3), (4, 4, 3, 3), (4, 4), (4, 4), (4, 3, 3), (4, 4), (2, 4, 3, 3)]
    image = torch.empty(2, 2, 5, 6, dtype=dtype, device="cuda:0", memory_format=torch.channels_last)
    flat = [tensor(*size, dtype=dtype) for size in weights]
    out = nasn_cascade._forward(image, flat, ["sep_conv_3x3"], [1], [1], True)
    assert out.shape == image.shape and out.is_contiguous(memory_format=torch.channels_last)
    suffix = _library._KERNEL_SUFFIX[dtype]
    assert calls == 2 * [*[f"separable_node_cuda_{suffix}"] * 3, f"relu_conv_cuda_{suffix}"]


@needs_cuda_build
@pytest.mark.parametrize("suffix", ["f32", "f64", "bf16", "f16"])
def test_scratch_grows_with_the_batch(suffix: str) -> None:
    def sizes(batch: int) -> list[int]:
        kernels = {"kernel": [3, 5, 7, 9], "groups": [1, 2, 4, 8], "branch_channels": 8}
        shape = _core.PyramidShape(batch=batch, ny=40, nx=50, part_channels=[32, 64], **kernels)
        given = {"shape": shape, "part": [0, 0], "scale": 0, "weight": 4 * [0], "argmax": 0}
        forward = _core.PyramidArgs(**given, features=0, mean=0, maximum=0)
        grads = {"grad_features": 0, "grad_mean": 0, "grad_maximum": 0, "grad_x": [], "grad_weight": []}
        backward = _core.PyramidBackwardArgs(**given, **grads)
        return [
            getattr(_core, f"pyramid_attention_scratch_bytes_cuda_{suffix}")(forward, 1),
            getattr(_core, f"pyramid_attention_backward_scratch_bytes_cuda_{suffix}")(backward, 1),
        ]

    once, twice = sizes(1), sizes(2)
    assert all(0 < a < b < 2 * a for a, b in zip(once, twice, strict=True))  # packed weights are shared


@pytest.mark.usefixtures("autocast")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_autocast_keeps_what_the_input_is_stored_in(tensor: Callable[..., torch.Tensor], dtype: torch.dtype) -> None:
    x, weight = tensor(2, 8, 5, 6, dtype=dtype), tensor(3, 2, 3, 3)
    out = split_depthwise.split_depthwise(x, weight)
    assert out.dtype == dtype
    weights = [tensor(4, 8, 3, 3)]
    features, mean, _ = pyramid_attention.pyramid_convolution([x], weights, [1], tensor(1))
    assert features.dtype == mean.dtype == dtype


@pytest.mark.usefixtures("autocast")
def test_autocast_of_nasn_is_that_of_convolutions(tensor: Callable[..., torch.Tensor]) -> None:
    x, y, first, second = tensor(2, 8, 5, 6), tensor(2, 8, 5, 6), tensor(8, 3, 3), tensor(8, 8)
    operations, own = ["sep_conv_3x3", "skip"], [[first, second], []]
    assert separable_node.separable_node([x, y], operations, own).dtype == torch.bfloat16
    assert supernet_node.supernet_node([x], operations, tensor(1, 2), [own]).dtype == torch.bfloat16
    genotype = [list(zip(operations, (0, 1), strict=True))]
    cell = separable_cell.separable_cell(x, y, genotype, (second, second), [own])
    assert cell.dtype == torch.bfloat16
    last = tensor(2, 8, 3, 3)
    stem = tensor(8, 2, 3, 3), tensor(8, 8, 3, 3)
    image = tensor(2, 2, 5, 6)
    module = nasn_cascade.nasn_cascade(image, genotype, stem, [(second, second)], [[own]], last)
    assert module.dtype == torch.float32
    assert relu_conv.relu_conv(x, last).dtype == torch.bfloat16
    assert relu_conv.relu_conv(x, last, image).dtype == torch.float32  # the image keeps its bits
    doubles = [t.double() for t in (x, first, second)]
    assert separable_node.separable_node(doubles[:1], operations[:1], [doubles[1:]]).dtype == torch.float64


@pytest.fixture
def torch_setting() -> Iterator[Callable[[str, object], None]]:
    """Sets a switch of torch.backends; all are as torch has them at the start again afterwards."""

    def switch(name: str, value: object) -> None:
        *path, attribute = name.split(".")
        setattr(reduce(getattr, path, torch.backends), attribute, value)

    yield switch
    if hasattr(torch.backends.cudnn, "conv"):
        switch("fp32_precision", "none")
        switch("cudnn.fp32_precision", "none")
    switch("cudnn.allow_tf32", True)
    switch("cuda.matmul.allow_tf32", False)


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ({}, True),
        ({"cudnn.allow_tf32": False}, False),
        ({"cudnn.conv.fp32_precision": "ieee"}, False),
        ({"cudnn.conv.fp32_precision": "none", "cudnn.fp32_precision": "ieee"}, False),
        ({"cudnn.conv.fp32_precision": "none", "cudnn.fp32_precision": "tf32"}, True),
        ({"cudnn.conv.fp32_precision": "none", "fp32_precision": "ieee"}, False),
        ({"cudnn.conv.fp32_precision": "none", "fp32_precision": "tf32"}, True),
        ({"fp32_precision": "ieee"}, True),  # that of convolutions says otherwise
        ({"cuda.matmul.allow_tf32": False}, True),
    ],
    ids=str,
)
def test_tf32_where_cudnn_would(
    monkeypatch: pytest.MonkeyPatch,
    tensor: Callable[..., torch.Tensor],
    torch_setting: Callable[[str, object], None],
    settings: dict[str, object],
    allowed: bool,
) -> None:
    if not hasattr(torch.backends.cudnn, "conv") and any("fp32_precision" in name for name in settings):
        pytest.skip("torch before 2.9 has no fp32_precision")
    for name, value in settings.items():
        torch_setting(name, value)
    seen: list[object] = []
    monkeypatch.setattr(separable_kernels, "launch", lambda _name, _like, args: seen.append(args.tf32))
    monkeypatch.setattr(separable_kernels, "address", lambda x: 0)
    x, weight = tensor(1, 1, 5, 6), tensor(1, 1)
    separable_kernels.forward(["conv_1x1"], [x], [[weight]], x)
    separable_kernels.backward("conv_1x1", x, [weight], x, x, None, need_weight=True)
    assert seen == [allowed, allowed]
    assert not _library.tf32_allowed(torch.zeros(1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_cpu_has_no_kernels_for_sixteen_bits(dtype: torch.dtype) -> None:
    x, weight = torch.zeros(1, 8, 5, 6, dtype=dtype), torch.zeros(3, 2, 3, 3, dtype=dtype)
    with pytest.raises(TypeError, match=rf"split_depthwise: no kernel for {dtype} on cpu"):
        split_depthwise.split_depthwise(x, weight)
    with pytest.raises(TypeError, match=rf"pyramid_attention\w*: no kernel for {dtype} on cpu"):
        pyramid_attention.pyramid_convolution([x], [torch.zeros(4, 8, 3, 3, dtype=dtype)], [1])
