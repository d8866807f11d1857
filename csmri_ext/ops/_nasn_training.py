"""`nasn_cascade` on the CPU where gradients are wanted: a forward pass that keeps its tensors, a backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from csmri_ext import _core
from csmri_ext.ops import _pixels as pixels
from csmri_ext.ops import _separable_kernels as kernels
from csmri_ext.ops import reference
from csmri_ext.ops._batching import Batching
from csmri_ext.ops._derivatives import VjpProblem
from csmri_ext.ops._library import address, addresses, launch, register
from csmri_ext.ops.separable_cell import grouped_genotype, grouped_weights

Gradients = tuple[Tensor, list[Tensor]]


class Parts:
    """The flat weights of a module, or their gradients, by what they belong to."""

    def __init__(self, flat: Sequence[Any], operations: Sequence[str]) -> None:
        per_cell = 2 + sum(map(kernels.n_weights, operations))
        self.stem, self.last = list(flat[:2]), flat[-1]
        cells = [list(flat[i : i + per_cell]) for i in range(2, len(flat) - 1, per_cell)]
        self.preprocess = [cell[:2] for cell in cells]
        self.edges = [kernels.grouped(operations, cell[2:]) for cell in cells]


def write_cascade(
    image: Tensor, weights: list[Tensor], operations: list[str], sources: list[int], edges: list[int],
    composite: bool, out: Tensor, saved: list[Tensor],
) -> None:  # fmt: skip
    """Run a module depth first into `out`; into `saved` what `empty_saved` describes, unless that is empty."""
    image, pixel = pixels.in_pixels(image)
    weights = [w.contiguous() for w in weights]
    pairs, nodes, start = list(zip(operations, sources, strict=True)), [], 0
    for n in edges:
        kept = [(kernels.CODES[o], s) for o, s in pairs[start : start + n] if o != "none"]
        nodes.append([_core.CascadeEdge(operation=code, source=source) for code, source in kept])
        start += n
    kept_tensors = [*saved[:-1], *saved[-1].chunk(len(edges), dim=1)] if saved and out.numel() else []
    args = _core.NasnCascadeArgs(
        shape=_core.CascadeShape(
            in_channels=image.shape[1],
            channels=weights[0].shape[0],
            cells=len(Parts(weights, operations).preprocess),
            composite=composite,
            nodes=nodes,
        ),
        image=address(image),
        pixel=pixel,
        out=address(out),
        out_pixel=out.shape[1],
        weights=[address(w) for w in weights],
        saved=[address(x) for x in kept_tensors],
        saved_pixel=[pixels.in_pixels(x)[1] for x in kept_tensors],
        **pixels.extents(image),
    )
    launch("nasn_cascade", image, args)


def empty_saved(image: Tensor, weights: list[Tensor], operations: list[str], edges: list[int]) -> list[Tensor]:
    """Return tensors for relu of the stem, and of each cell s_0, s_1 and its nodes, those of the last cell as one."""
    channels, cells = weights[0].shape[0], len(Parts(weights, operations).preprocess)
    batch, _, ny, nx = image.shape
    narrow = 1 + cells * (2 + len(edges)) - len(edges)
    widths = [channels] * narrow + [channels * len(edges)]
    return [pixels.empty(image, (batch, width, ny, nx)) for width in widths]


def _forward(
    image: Tensor, weights: list[Tensor], operations: list[str], sources: list[int], edges: list[int], composite: bool
) -> tuple[Tensor, list[Tensor]]:
    out, saved = _empty_outputs(image, weights, operations, sources, edges, composite)
    write_cascade(image, weights, operations, sources, edges, composite, out, saved)
    return out, saved


def _empty_outputs(
    image: Tensor, weights: list[Tensor], operations: list[str], sources: list[int], edges: list[int], composite: bool
) -> tuple[Tensor, list[Tensor]]:
    return pixels.empty(image, image.shape), empty_saved(image, weights, operations, edges)


class _Sum:
    """The gradient that has reached a tensor so far, added up in place."""

    def __init__(self, value: Tensor) -> None:
        self.value = value  # what it belongs to, relu of it
        self.total: Tensor | None = None

    def through(self, operation: str, weights: list[Tensor], grad: Tensor, need_weight: bool) -> list[Tensor]:
        """Add what `grad` of an operation's result gives; return the gradients of its weights."""
        before = self.total
        self.total = total = pixels.empty(self.value, self.value.shape) if before is None else before
        if operation != "skip":
            return kernels.backward(operation, self.value, weights, grad, total, before, need_weight)
        total.copy_(grad) if before is None else total.add_(grad)
        return []


def _backward(
    grad: Tensor, image: Tensor, saved: list[Tensor], weights: list[Tensor], operations: list[str],
    sources: list[int], edges: list[int], need_x: bool, need_weight: bool,
) -> Gradients:  # fmt: skip
    own, found = Parts(weights, operations), Parts([None] * len(weights), operations)
    grad, n = pixels.in_pixels(grad)[0], len(edges)
    joined = pixels.empty(saved[-1], saved[-1].shape)
    last = kernels.backward(kernels.RELU_CONV, saved[-1], [own.last], grad, joined, None, need_weight)
    stem, states, start = _Sum(saved[0]), [], 1
    for cell in range(len(own.preprocess)):
        at_end = cell == len(own.preprocess) - 1
        nodes = list(saved[-1].chunk(n, dim=1)) if at_end else saved[start + 2 : start + 2 + n]
        states.append([_Sum(x) for x in (*saved[start : start + 2], *nodes)])
        start += 2 + n
    for node, total in zip(states[-1][2:], joined.chunk(n, dim=1), strict=True):
        node.total = total
    for cell in reversed(range(len(states))):
        found.edges[cell] = _cell_backward(states[cell], own.edges[cell], operations, sources, edges, need_weight)
        for which in (0, 1):
            reads = cell - 2 + which
            parts = states[reads][2:] if reads >= 0 else [stem]
            found.preprocess[cell][which] = _entry_backward(
                parts, own.preprocess[cell][which], states[cell][which].total, need_weight
            )
    grad_image, found.stem = _stem_backward(stem.total, image, own.stem, grad, need_x, need_weight)
    flat = [*found.stem]
    for pair, of_cell in zip(found.preprocess, found.edges, strict=True):
        flat += [*pair, *(w for edge in of_cell for w in edge)]
    flat += last
    return grad_image, flat if need_weight else []


def _cell_backward(
    states: list[_Sum], weights: list[list[Tensor]], operations: list[str], sources: list[int], edges: list[int],
    need_weight: bool,
) -> list[list[Tensor]]:  # fmt: skip
    found: list[list[Tensor] | None] = [None] * len(weights)
    end = len(operations)
    for node in reversed(range(len(edges))):
        arrived = states[2 + node].total
        for i in range(end - edges[node], end):
            if operations[i] != "none" and arrived is not None:
                found[i] = states[sources[i]].through(operations[i], weights[i], arrived, need_weight)
        end -= edges[node]
    pairs = zip(found, weights, strict=True)
    return [[torch.zeros_like(w) for w in own if need_weight] if of is None else of for of, own in pairs]


def _entry_backward(parts: list[_Sum], weight: Tensor, grad: Tensor | None, need_weight: bool) -> Tensor | None:
    """Go through the 1x1 convolution in front of a cell, whose input is the concatenation of `parts`."""
    if grad is None:  # no node reads this state
        return torch.zeros_like(weight) if need_weight else None
    columns = weight.chunk(len(parts), dim=1)
    found = [part.through("conv_1x1", [w], grad, need_weight) for part, w in zip(parts, columns, strict=True)]
    return torch.cat([w for (w,) in found], dim=1) if need_weight else None


def _stem_backward(
    grad: Tensor | None, image: Tensor, stem: list[Tensor], residual: Tensor, need_x: bool, need_weight: bool
) -> tuple[Tensor, list[Tensor]]:
    """Go through both convolutions of the stem, composed as one; `residual` has reached the image already."""
    grad_image = pixels.empty(image, image.shape) if need_x else None
    of_no_image = image.new_empty(0)
    if grad is None:
        found = [torch.zeros_like(w) for w in stem] if need_weight else []
        return of_no_image if grad_image is None else grad_image.copy_(residual), found
    found = [w.new_empty(w.shape) for w in stem] if need_weight else []
    image, pixel = pixels.in_pixels(image)
    first, second = (w.contiguous() for w in stem)
    grad_first, grad_second = found or (None, None)
    args = _core.StemBackwardArgs(
        **addresses(image=image, first=first, second=second, grad=grad, residual=residual, grad_image=grad_image),
        **addresses(grad_first=grad_first, grad_second=grad_second),
        in_channels=image.shape[1],
        pixel=pixel,
        channels=grad.shape[1],
        grad_pixel=grad.shape[1],
        residual_pixel=pixels.in_pixels(residual)[1],
        grad_image_pixel=image.shape[1],
        **pixels.extents(image),
    )
    launch("stem_backward", image, args)
    return of_no_image if grad_image is None else grad_image, found


def _empty_gradients(
    grad: Tensor, image: Tensor, saved: list[Tensor], weights: list[Tensor], operations: Any, sources: Any, edges: Any,
    need_x: bool, need_weight: bool,
) -> Gradients:  # fmt: skip
    grad_image = pixels.empty(image, image.shape) if need_x else image.new_empty(0)
    return grad_image, [w.new_empty(w.shape) for w in weights] if need_weight else []


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, list[Tensor]]) -> None:
    image, weights, ctx.operations, ctx.sources, ctx.edges, _ = inputs
    saved = output[1]
    ctx.mark_non_differentiable(*saved)
    ctx.set_materialize_grads(False)  # else a tensor of zeros for each that was saved
    ctx.n_weights = len(weights)
    ctx.save_for_backward(image, *weights, *saved)


def _gradient(ctx: Any, grad: Tensor | None, _: Any) -> tuple[Any, ...]:
    if grad is None:
        return (None,) * 6
    image, *tensors = ctx.saved_tensors  # read once: under activation checkpointing each reading recomputes
    weights, saved = tensors[: ctx.n_weights], tensors[ctx.n_weights :]
    need_x, need_weight = ctx.needs_input_grad[0], any(ctx.needs_input_grad[1])
    grad_image, grad_weights = _nasn_cascade_backward(
        grad, image, saved, weights, ctx.operations, ctx.sources, ctx.edges, need_x, need_weight
    )
    return grad_image if need_x else None, grad_weights or [None] * len(weights), None, None, None, None


def twin_of_module(
    image: Tensor, weights: list[Tensor], operations: list[str], sources: list[int], edges: list[int]
) -> Tensor:
    """Return `reference.nasn_cascade` of the flat weights."""
    genotype, own = grouped_genotype(operations, sources, edges), Parts(weights, operations)
    cells = [grouped_weights(genotype, [w for edge in cell for w in edge]) for cell in own.edges]
    return reference.nasn_cascade(image, genotype, own.stem, own.preprocess, cells, own.last)


def _twin(
    image: Tensor, weights: list[Tensor], operations: list[str], sources: list[int], edges: list[int], composite: bool
) -> tuple[Tensor, list[Tensor]]:
    genotype, own = grouped_genotype(operations, sources, edges), Parts(weights, operations)
    before = image
    for kernel in own.stem:
        before = torch.nn.functional.conv2d(before, kernel, padding=1)
    saved, last = [before], before
    for pair, cell in zip(own.preprocess, own.edges, strict=True):
        of_cell = grouped_weights(genotype, [w for edge in cell for w in edge])
        saved += [reference.separable_node([x], ["conv_1x1"], [[w]]) for x, w in zip((before, last), pair, strict=True)]
        before, last = last, reference.separable_cell(before, last, genotype, pair, of_cell)
        saved += last.chunk(len(edges), dim=1) if len(saved) + len(edges) < _n_narrow(own, edges) else [last]
    return reference.relu_conv(last, own.last, image), [x.detach().relu() for x in saved]


def _n_narrow(own: Parts, edges: list[int]) -> int:
    return 1 + len(own.preprocess) * (2 + len(edges)) - len(edges) + 1


def _gradient_of(
    grad: Tensor, image: Tensor, saved: list[Tensor], weights: list[Tensor], operations: list[str],
    sources: list[int], edges: list[int], need_x: bool, need_weight: bool,
) -> VjpProblem:  # fmt: skip
    """Count what was saved as functions of the image and the weights."""
    wanted = image if need_x else None, weights if need_weight else []
    return twin_of_module(image, weights, operations, sources, edges), wanted, (grad,)


def flops_of_module(image: Any, weights: Any, *_: Any, **__: Any) -> int:
    """Of the function as it is written: the composite stem counts as the two convolutions that it stands for."""
    return 2 * image[0] * image[2] * image[3] * sum(int(torch.Size(w).numel()) for w in weights)


def _backward_flops(
    grad: Any, image: Any, saved: Any, weights: Any, operations: Any, sources: Any, edges: Any, need_x: bool,
    need_weight: bool, *_: Any, **__: Any,
) -> int:  # fmt: skip
    return flops_of_module(image, weights) * (1 + int(need_weight))


_nasn_cascade_backward = register(
    "nasn_cascade_backward(Tensor grad, Tensor image, Tensor[] saved, Tensor[] weights, str[] operations, "
    "int[] sources, int[] edges, bool need_x, bool need_weight) -> (Tensor, Tensor[])",
    _backward,
    fake=_empty_gradients,
    flops=_backward_flops,
    gradient_of=_gradient_of,
    devices=("CPU",),
)
nasn_cascade_training = register(
    "nasn_cascade_training(Tensor image, Tensor[] weights, str[] operations, int[] sources, int[] edges, "
    "bool composite) -> (Tensor, Tensor[])",
    _forward,
    fake=_empty_outputs,
    flops=flops_of_module,
    backward=_gradient,
    setup_context=_save,
    twin=_twin,
    batching=Batching(batched=("image",)),
    devices=("CPU",),
)
