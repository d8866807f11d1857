"""`nasn_cascade`: a whole NasN reconstruction module, depth first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from csmri_ext.ops import _nasn_training as training
from csmri_ext.ops import _pixels as pixels
from csmri_ext.ops import _separable_kernels as kernels
from csmri_ext.ops import reference
from csmri_ext.ops._arguments import require_tensors
from csmri_ext.ops._batching import Batching
from csmri_ext.ops._library import autocasting, convolution_dtype, register, without_autocast
from csmri_ext.ops.separable_cell import (
    Genotype,
    check_genotype,
    flattened,
    write_cell,
)
from csmri_ext.ops.separable_node import check_tensors, check_weights


def nasn_cascade(
    image: Tensor,
    genotype: Genotype,
    stem: Sequence[Tensor],
    preprocess: Sequence[Sequence[Tensor]],
    weights: Sequence[Sequence[Sequence[Sequence[Tensor]]]],
    last: Tensor,
    *,
    composite: bool = True,
) -> Tensor:
    """Stem, cells and final convolution of a NasN module, added to the image, in one pass (NasN, section 3).

    ``C_{-1} = C_0 = stem_1 * stem_0 * image`` (dense 3x3, no activation), ``C_l = separable_cell(C_{l-2}, C_{l-1})``,
    result ``image + last * relu(C_cells)``. On the CPU every layer keeps only the rows that the next ones still read,
    so that all of them together stay in the cache; where gradients are wanted, they are written to memory besides. On
    CUDA the kernels of the nodes run back to back, image after image, through buffers of one image: inference only.

    Parameters
    ----------
    image
        float32 or float64, on CUDA also 16 bits, ``(batch, in_channels, ny, nx)``; channels_last is fast. On CUDA the
        weights of a float32 image may be of 16 bits, as under autocast: the result is then added to it in float32.
    genotype
        As in `separable_cell`, the same for all cells. At most eight nodes.
    stem
        ``(channels, in_channels, 3, 3)`` and ``(channels, channels, 3, 3)``.
    preprocess, weights
        Per cell, as in `separable_cell`.
    last
        ``(in_channels, channels * nodes, 3, 3)``.
    composite
        Compute the stem as one 5x5 convolution, composed in double precision: the same function in a sixth of the
        arithmetic. Its rounding differs. On the CPU only; on CUDA the stem is cuDNN's.

    Returns
    -------
        Shape of `image`, channels_last. Equivalent to `reference.nasn_cascade`. On the CPU differentiable twice.

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit together.
    RuntimeError
        If a gradient is wanted on CUDA.
    """
    grouped = [[[list(edge) for edge in node] for node in cell] for cell in weights]
    require_tensors("nasn_cascade", image=image, stem=stem, preprocess=preprocess, weights=grouped, last=last)
    if autocasting(image.device):
        arguments = genotype, list(stem), [list(pair) for pair in preprocess], grouped, last
        dtype = convolution_dtype(image)
        wide = image.to(torch.promote_types(image.dtype, dtype))
        return cast(
            Tensor, without_autocast(partial(nasn_cascade, wide, composite=composite), dtype, image, *arguments)
        )
    check(image, genotype, stem, preprocess, grouped, last)
    if reference.active():
        return reference.nasn_cascade(image, genotype, stem, preprocess, grouped, last)
    flat = list(stem)
    for pair, cell in zip(preprocess, grouped, strict=True):
        flat += [*pair, *(w for node in cell for edge in node for w in edge)]
    flat.append(last)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (image, *flat)):
        if image.is_cuda:
            raise RuntimeError(
                "nasn_cascade has no gradient on CUDA: call it under torch.no_grad, or use separable_cell"
            )
        with_tensors: tuple[Tensor, Any] = training.nasn_cascade_training(image, flat, *flattened(genotype), composite)
        return with_tensors[0]
    result: Tensor = _nasn_cascade(image, flat, *flattened(genotype), composite)
    return result


def check(
    image: Tensor,
    genotype: Genotype,
    stem: Sequence[Tensor],
    preprocess: Sequence[Sequence[Tensor]],
    weights: list[list[list[list[Tensor]]]],
    last: Tensor,
) -> None:
    """Raise TypeError or ValueError unless everything fits together."""
    name = "nasn_cascade"
    of_cells = [w for cell in weights for node in cell for edge in node for w in edge]
    tensors = [*stem, *(w for pair in preprocess for w in pair), *of_cells, last]
    keeps_bits = image.is_cuda and image.dtype == torch.float32 and stem[0].dtype in (torch.bfloat16, torch.float16)
    check_tensors(name, tensors if keeps_bits else [image, *tensors])
    if image.ndim != 4 or stem[0].ndim != 4:
        raise ValueError(f"{name}: image {tuple(image.shape)}, stem {tuple(stem[0].shape)}; expected four axes each")
    channels, inputs = stem[0].shape[0], image.shape[1]
    wide = channels * len(genotype)
    shapes = [tuple(stem[0].shape), tuple(stem[1].shape), tuple(last.shape)]
    expected = [(channels, inputs, 3, 3), (channels, channels, 3, 3), (inputs, wide, 3, 3)]
    if shapes != expected:
        raise ValueError(f"{name}: stem and last have shapes {shapes}, expected {expected}")
    if not 1 <= len(weights) == len(preprocess) or len(genotype) > kernels.MAX_TERMS:
        raise ValueError(
            f"{name}: {len(weights)} cells with weights, {len(preprocess)} with preprocess, {len(genotype)} nodes; "
            f"expected equally many cells, at least one, and at most {kernels.MAX_TERMS} nodes"
        )
    for i, (pair, cell) in enumerate(zip(preprocess, weights, strict=True)):
        for w, columns in zip(pair, (channels if i < 2 else wide, channels if i < 1 else wide), strict=True):
            if check_weights(name, "conv_1x1", columns, [w]) != channels:
                raise ValueError(f"{name}: preprocess of cell {i} has {w.shape[0]} outputs, expected {channels}")
        check_genotype(name, genotype, cell, channels)


def _forward(
    image: Tensor, weights: list[Tensor], operations: list[str], sources: list[int], edges: list[int], composite: bool
) -> Tensor:
    if image.is_cuda:
        return _layer_by_layer(image, weights, operations, sources, edges)
    out = pixels.empty(image, image.shape)
    training.write_cascade(image, weights, operations, sources, edges, composite, out, [])
    return out


def _layer_by_layer(
    image: Tensor, weights: list[Tensor], operations: list[str], sources: list[int], edges: list[int]
) -> Tensor:
    """Run a module through buffers of one image: two outputs of cells, and the two states that a cell starts from."""
    out = pixels.empty(image, image.shape)
    image = pixels.in_pixels(image)[0]
    stem, of_cells, last = weights[:2], weights[2:-1], weights[-1]
    per_cell = 2 + sum(map(kernels.n_weights, operations))

    def buffer(channels: int) -> Tensor:
        return pixels.empty(stem[0], (1, channels, *image.shape[2:]))

    state_before, state_last = (buffer(stem[0].shape[0]) for _ in range(2))
    wide = [buffer(last.shape[1]) for _ in range(2)]
    for b in range(image.shape[0]):
        one, result = image.narrow(0, b, 1), out.narrow(0, b, 1)
        before = one.to(stem[0].dtype)
        for kernel in stem:
            before = torch.nn.functional.conv2d(before, kernel, padding=1)
        output = before
        for i in range(0, len(of_cells), per_cell):
            joined = wide[i // per_cell % 2]  # free again once the states hold what the cell takes from `before`
            own = of_cells[i : i + per_cell]
            write_cell(before, output, own, operations, sources, edges, (joined, state_before, state_last))
            before, output = output, joined
        if image.dtype == last.dtype:
            kernels.relu_conv(output, last, one, result)
        else:
            change = pixels.empty(last, result.shape)
            kernels.relu_conv(output, last, None, change)
            torch.add(one, change, out=result)
    return out


def _twin(
    image: Tensor, weights: list[Tensor], operations: list[str], sources: list[int], edges: list[int], composite: bool
) -> Tensor:
    return training.twin_of_module(image, weights, operations, sources, edges)


_nasn_cascade = register(
    "nasn_cascade(Tensor image, Tensor[] weights, str[] operations, int[] sources, int[] edges, bool composite) "
    "-> Tensor",
    _forward,
    fake=lambda image, weights, operations, sources, edges, composite: pixels.empty(image, image.shape),
    flops=training.flops_of_module,
    twin=_twin,  # nobody's gradient comes here, but nested transforms of torch.func may
    batching=Batching(batched=("image",)),
)
