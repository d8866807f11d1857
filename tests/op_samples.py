"""One entry per public op: how to call it and on what. `tests/ops/test_every_op.py` does the rest.

Both sizes are odd, so that every entry meets remainders of vectors and tiles; the larger one has several tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from csmri_ext import ops
from csmri_ext.ops import reference

Result = Tensor | tuple[Tensor, ...]
Inputs = tuple[Tensor, ...]
Size = tuple[int, int]
Make = Callable[[int, torch.dtype, Size], Inputs]
SMALL, LARGE = (3, 4), (37, 70)


@dataclass(frozen=True)
class OpSample:
    """A public op as a function of its differentiable tensors.

    `call` and its plain-PyTorch `twin` take what `make(batch, dtype, size)` returns, dtype float32 or float64, size
    SMALL or LARGE: the first `n_batched` tensors have a leading batch axis, the others (weights, steps) belong to all
    images. `misfit` makes inputs whose shapes do not fit together.
    """

    name: str
    call: Callable[..., Result]
    twin: Callable[..., Result]
    make: Make
    misfit: Callable[[Inputs], Inputs]
    n_batched: int = 1

    def __str__(self) -> str:
        return self.name


def _random(seed: int, dtype: torch.dtype, *shapes: Sequence[int]) -> Inputs:
    """The same numbers whatever the dtype."""
    generator = torch.Generator().manual_seed(seed)
    wide = torch.complex128 if dtype.is_complex else torch.float64
    return tuple(torch.randn(*shape, generator=generator, dtype=wide).to(dtype) for shape in shapes)


def _narrower(inputs: Inputs, i: int = 0) -> Inputs:
    """Tensor i without its last column."""
    return (*inputs[:i], inputs[i][..., :-1], *inputs[i + 1 :])


# --- data consistency ----------------------------------------------------------------------------------------------
MASKS = {
    (axes, *size): torch.rand(shape, generator=torch.Generator().manual_seed(size[0])) < 0.5
    for size in (SMALL, LARGE)
    for axes, shape in {"x": size[1:], "y": (size[0], 1), "xy": size}.items()
}


def _mask(axes: str, like: Tensor) -> Tensor:
    return MASKS[axes, like.shape[-2], like.shape[-1]].to(like.device)


def _step(dtype: torch.dtype) -> Tensor:
    return torch.tensor(0.7, dtype=dtype)


def _images(batch: int, dtype: torch.dtype, size: Size) -> Inputs:
    return (*_random(1, dtype.to_complex(), (batch, *size), (batch, *size)), _step(dtype))


def _replicas(batch: int, dtype: torch.dtype, size: Size) -> Inputs:
    return (*_random(2, dtype, (batch, 4, *size)), *_random(3, dtype.to_complex(), (batch, *size)), _step(dtype))


def _sample(op: str, arguments: Callable[..., tuple[Any, ...]], make: Make, axes: str = "") -> OpSample:
    """The op, and its twin, called with ``arguments(*tensors)``; the first two tensors have a batch axis."""
    ours, plain = getattr(ops, op), getattr(reference, op)
    return OpSample(
        name=f"{op}-{axes}" if axes else op,
        call=lambda *tensors: ours(*arguments(*tensors)),
        twin=lambda *tensors: plain(*arguments(*tensors)),
        make=make,
        misfit=_narrower,
        n_batched=2,
    )


def _with_mask(axes: str) -> Callable[..., tuple[Any, ...]]:
    return lambda x, maps: (x, maps, _mask(axes, maps))


def _data_consistency(axes: str) -> OpSample:
    def arguments(image: Tensor, kspace: Tensor, eta: Tensor) -> tuple[Any, ...]:
        return image, kspace, _mask(axes, kspace), eta

    return _sample("data_consistency", arguments, _images, axes)


def _on_replicas(name: str, axes: str, call: Callable[..., Tensor], twin: Callable[..., Tensor]) -> OpSample:
    """An op on prepared data; `call(image, prepared, eta)` and `twin(image, kspace, mask, eta)`."""

    def prepare(kspace: Tensor) -> ops.PreparedKspace:
        return ops.prepare_data_consistency(kspace, _mask(axes, kspace))

    return OpSample(
        name=f"{name}-{axes}",
        call=lambda image, kspace, eta: call(image, prepare(kspace), eta),
        twin=lambda image, kspace, eta: twin(image, kspace, _mask(axes, kspace), eta),
        make=_replicas,
        misfit=_narrower,
        n_batched=2,
    )


def data_consistency_samples() -> list[OpSample]:
    """Every public form, and every kind of mask at least once."""
    return [
        *map(_data_consistency, ("x", "y", "xy")),
        _on_replicas("data_consistency_prepared", "x", ops.data_consistency_prepared, reference.data_consistency),
        _on_replicas(
            "data_consistency_normal_term",
            "xy",
            ops.data_consistency_normal_term,
            reference.data_consistency_normal_term,
        ),
    ]


def sense_normal_samples() -> list[OpSample]:
    """Three coils, sensitivities of each image."""

    def make(batch: int, dtype: torch.dtype, size: Size) -> Inputs:
        return _random(7, dtype.to_complex(), (batch, *size), (batch, 3, *size))

    return [_sample("sense_normal", _with_mask(axes), make, axes) for axes in ("x", "xy")]


def encode_samples() -> list[OpSample]:
    """Three coils, sensitivities of each image; without any, as `fft2c`."""

    def images(batch: int, dtype: torch.dtype, size: Size) -> Inputs:
        return _random(12, dtype.to_complex(), (batch, *size), (batch, 3, *size))

    def coil_images(batch: int, dtype: torch.dtype, size: Size) -> Inputs:
        return _random(13, dtype.to_complex(), (batch, 3, *size), (batch, 3, *size))

    return [
        _sample(op, _with_mask(axes), make, axes)
        for axes in ("x", "xy")
        for op, make in (("encode", images), ("encode_adjoint", coil_images))
    ]


# --- convolutions --------------------------------------------------------------------------------------------------
def split_depthwise_samples() -> list[OpSample]:
    """Three groups of two channels."""
    return [
        OpSample(
            name="split_depthwise",
            call=ops.split_depthwise,
            twin=reference.split_depthwise,
            make=lambda batch, dtype, size: _random(4, dtype, (batch, 6, *size), (2, 2, 3, 3)),
            misfit=lambda inputs: (inputs[0][:, :5], *inputs[1:]),
        )
    ]


def half_shuffle_attention_samples() -> list[OpSample]:
    """Four channels, one head; two heads of two. Whole windows, of which the image is repeated to make some."""

    def in_windows(x: Tensor) -> Tensor:
        ny, nx = x.shape[-2:]
        rows, columns = (torch.arange(-(-n // 8) * 8, device=x.device) % n for n in (ny, nx))
        return x[..., rows, :][..., columns]

    def make(batch: int, dtype: torch.dtype, size: Size) -> Inputs:
        x, norm, shift, query, key_value, *rest = _random(
            13, dtype, (batch, 4, *size), (4,), (4,), (4, 4), (8, 4), (4, 4), (4,)
        )
        return x, norm, shift, query / 2, key_value / 2, *rest  # scores near 1: the softmax is no maximum

    def sample(heads: int) -> OpSample:
        return OpSample(
            name=f"half_shuffle_attention-{heads}",
            call=lambda x, *weights: ops.half_shuffle_attention(in_windows(x), *weights, heads=heads),
            twin=lambda x, *weights: reference.half_shuffle_attention(in_windows(x), *weights, heads, 1e-5),
            make=make,
            misfit=lambda inputs: (inputs[0][:, :2], *inputs[1:]),
        )

    return [sample(1), sample(2)]


def hsab_feed_forward_samples() -> list[OpSample]:
    """Three channels, seven hidden ones."""
    return [
        OpSample(
            name="hsab_feed_forward",
            call=ops.hsab_feed_forward,
            twin=reference.hsab_feed_forward,
            make=lambda batch, dtype, size: _random(11, dtype, (batch, 3, *size), (7, 3), (7, 3, 3), (3, 7)),
            misfit=lambda inputs: (inputs[0][:, :2], *inputs[1:]),
        )
    ]


def pyramid_attention_samples() -> list[OpSample]:
    """Two parts, two branches, with and without the gate."""
    groups = (1, 2)

    def gate(mean: Tensor, maximum: Tensor) -> Tensor:
        return torch.sigmoid(mean + 2 * maximum)

    def convolution(a: Tensor, b: Tensor, scales: Tensor, v: Tensor, w: Tensor) -> Result:
        return ops.pyramid_convolution([a, b], [v, w], groups, scales)

    def convolution_twin(a: Tensor, b: Tensor, scales: Tensor, v: Tensor, w: Tensor) -> Result:
        return reference.pyramid_convolution([a, b], [v, w], groups, scales)

    def attention(a: Tensor, b: Tensor, scales: Tensor, v: Tensor, w: Tensor) -> Result:
        return ops.pyramid_attention([a, b], [v, w], groups, gate, scales)

    def attention_twin(a: Tensor, b: Tensor, scales: Tensor, v: Tensor, w: Tensor) -> Result:
        return reference.pyramid_attention([a, b], [v, w], groups, gate, scales)

    def make(batch: int, dtype: torch.dtype, size: Size) -> Inputs:
        return _random(5, dtype, (batch, 2, *size), (batch, 2, *size), (2,), (2, 4, 3, 3), (2, 2, 5, 5))

    return [
        OpSample("pyramid_convolution", convolution, convolution_twin, make, _narrower, n_batched=2),
        OpSample("pyramid_attention", attention, attention_twin, make, _narrower, n_batched=2),
    ]


def separable_node_samples() -> list[OpSample]:
    """Two operations with weights, and one without."""
    names = ("dil_2_conv_3x3", "conv_9x1_1x9", "skip")

    def call(x: Tensor, y: Tensor, z: Tensor, *w: Tensor) -> Tensor:
        return ops.separable_node([x, y, z], names, [w[:2], w[2:], []])

    def twin(x: Tensor, y: Tensor, z: Tensor, *w: Tensor) -> Tensor:
        return reference.separable_node([x, y, z], names, [w[:2], w[2:], []])

    def make(batch: int, dtype: torch.dtype, size: Size) -> Inputs:
        images = [(batch, c, *size) for c in (2, 3, 3)]
        return _random(6, dtype, *images, (2, 3, 3), (3, 2), (3, 9), (3, 9))

    return [OpSample("separable_node", call, twin, make, _narrower, n_batched=3)]


def separable_cell_samples() -> list[OpSample]:
    """Two nodes, the second of which reads the first."""
    genotype = ([("sep_conv_3x3", 0), ("skip", 1)], [("conv_9x1_1x9", 2), ("dil_3_conv_3x3", 1)])

    def arguments(before: Tensor, last: Tensor, *w: Tensor) -> tuple[Any, ...]:
        return before, last, genotype, w[:2], [[w[2:4], []], [w[4:6], w[6:8]]]

    def make(batch: int, dtype: torch.dtype, size: Size) -> Inputs:
        separable = [(2, 3, 3), (2, 2)]
        shapes = [(2, 3), (2, 2), *separable, (2, 9), (2, 9), *separable]
        return _random(8, dtype, (batch, 3, *size), (batch, 2, *size), *shapes)

    return [_sample("separable_cell", arguments, make)]


def nasn_cascade_samples() -> list[OpSample]:
    """Two cells; a gradient is wanted of all, so that these are steps of training."""
    genotype = ([("sep_conv_3x3", 0), ("skip", 1)], [("dil_3_conv_3x3", 2)])

    def arguments(image: Tensor, *w: Tensor) -> tuple[Any, ...]:
        cells = [w[3:9], w[9:]]
        own = [[[c[2:4], []], [c[4:6]]] for c in cells]
        return image, genotype, w[:2], [c[:2] for c in cells], own, w[2]

    def call(*tensors: Tensor) -> Tensor:
        return ops.nasn_cascade(*arguments(*tensors))

    def twin(*tensors: Tensor) -> Tensor:
        return reference.nasn_cascade(*arguments(*tensors))

    def make(batch: int, dtype: torch.dtype, size: Size) -> Inputs:
        edges = [(2, 3, 3), (2, 2)] * 2
        ends = [(2, 2, 3, 3), (2, 2, 3, 3), (2, 4, 3, 3)]
        return _random(14, dtype, (batch, 2, *size), *ends, (2, 2), (2, 2), *edges, (2, 2), (2, 4), *edges)

    return [OpSample("nasn_cascade", call, twin, make, lambda inputs: _narrower(inputs, 3))]


def supernet_node_samples() -> list[OpSample]:
    """Two edges, every kind of operation; alphas that are no softmax."""
    names = ("dil_2_conv_3x3", "conv_9x1_1x9", "skip", "none")

    def arguments(x: Tensor, y: Tensor, alphas: Tensor, *w: Tensor) -> tuple[Any, ...]:
        return [x, y], names, alphas, [[w[:2], w[2:4], [], []], [w[4:6], w[6:], [], []]]

    def make(batch: int, dtype: torch.dtype, size: Size) -> Inputs:
        images, weights = [(batch, 2, *size)] * 2, [(2, 3, 3), (2, 2), (2, 9), (2, 9)]
        return _random(10, dtype, *images, (2, 4), *weights, *weights)

    return [_sample("supernet_node", arguments, make)]


def relu_conv_samples() -> list[OpSample]:
    """With a residual."""

    def make(batch: int, dtype: torch.dtype, size: Size) -> Inputs:
        return _random(9, dtype, (batch, 3, *size), (batch, 2, *size), (2, 3, 3, 3))

    return [_sample("relu_conv", lambda x, residual, weight: (x, weight, residual), make)]


SAMPLES: list[OpSample] = [
    *data_consistency_samples(),
    *sense_normal_samples(),
    *encode_samples(),
    *split_depthwise_samples(),
    *half_shuffle_attention_samples(),
    *hsab_feed_forward_samples(),
    *pyramid_attention_samples(),
    *separable_node_samples(),
    *separable_cell_samples(),
    *supernet_node_samples(),
    *relu_conv_samples(),
    *nasn_cascade_samples(),
]


def outputs(result: Result) -> tuple[Tensor, ...]:
    """What an op returned, as a tuple."""
    return (result,) if isinstance(result, Tensor) else tuple(result)


def random_loss(result: Result, seed: int = 0) -> Tensor:
    """A real number that depends on every element of every output in its own way."""
    generator = torch.Generator().manual_seed(seed)
    total: Any = 0
    for out in outputs(result):
        parts = torch.view_as_real(out) if out.is_complex() else out
        factors = torch.randn(parts.shape, generator=generator, dtype=torch.float64)
        total = total + (factors.to(parts.device, parts.dtype) * parts).sum()
    return total
