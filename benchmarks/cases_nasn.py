"""Cases of the NasN operators: a node, a cell's training, the end of a module, and a whole module depth first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.timing import Case
from csmri_ext import ops
from csmri_ext.ops import reference

SIDE, CHANNELS, CELLS = 320, 32, 3
NODE = ("dil_2_conv_3x3", "dil_3_conv_3x3")
KNEE = (
    (("sep_conv_3x3", 0), ("dil_2_conv_3x3", 1)),
    (("dil_2_conv_3x3", 0), ("dil_3_conv_3x3", 2)),
    (("dil_3_conv_3x3", 2), ("dil_3_conv_3x3", 3)),
)


def _last(*shape: int) -> Tensor:
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def _operation() -> list[Tensor]:
    return [torch.randn(CHANNELS, 3, 3) / 3, torch.randn(CHANNELS, CHANNELS) / CHANNELS**0.5]


def _inference(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    def call() -> Any:
        with torch.inference_mode():
            return function(*arguments)

    return call


def _training(function: Callable[[list[Tensor]], Tensor], leaves: Sequence[Tensor], grad: Tensor) -> Callable[[], Any]:
    own = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    return lambda: torch.autograd.grad(function(own), own, grad)


def _error(value: Tensor, truth: Tensor) -> float:
    return float((value.double() - truth).norm() / truth.norm())


def node(training: bool) -> Callable[[bool], Case]:
    """Build a stand-alone node of two dilated operations."""

    def build(compiled: bool) -> Case:
        leaves = [_last(1, CHANNELS, SIDE, SIDE) for _ in NODE] + [w for _ in NODE for w in _operation()]
        planar = [t.contiguous() for t in leaves]
        grad = _last(1, CHANNELS, SIDE, SIDE)

        def of(op: Any) -> Callable[[list[Tensor]], Tensor]:
            return lambda t: op(t[:2], NODE, (t[2:4], t[4:6]))

        def way(op: Any, tensors: list[Tensor]) -> Callable[[], Any]:
            return _training(of(op), tensors, grad) if training else _inference(of(op), tensors)

        rivals = {"eager NCHW": way(reference.separable_node, planar)}
        rivals["eager channels_last"] = way(reference.separable_node, leaves)
        if compiled:
            rivals["torch.compile"] = way(torch.compile(reference.separable_node), leaves)
        flops = 2 * len(NODE) * (9 * CHANNELS + CHANNELS**2) * SIDE * SIDE
        return Case(
            name=f"K4 node, dilations 2 and 3, {'forward + backward' if training else 'forward'}",
            ours=way(ops.separable_node, leaves),
            rivals=rivals,
            n_bytes=4 * CHANNELS * SIDE * SIDE * (9 if training else 3),
            flops=3 * flops if training else flops,
            target="1.5x channels_last; aim 2.5x",
            check=lambda: _error(
                of(ops.separable_node)(leaves), of(reference.separable_node)([t.double() for t in leaves])
            ),
        )

    return build


def relu_conv(training: bool) -> Callable[[bool], Case]:
    """Build the end of a module, 96 channels to 2."""

    def build(compiled: bool) -> Case:
        channels = CHANNELS * len(KNEE)
        leaves = [_last(1, channels, SIDE, SIDE), torch.randn(2, channels, 3, 3) / 30, _last(1, 2, SIDE, SIDE)]
        grad = _last(1, 2, SIDE, SIDE)

        def way(op: Any, tensors: list[Tensor]) -> Callable[[], Any]:
            return _training(lambda t: op(*t), tensors, grad) if training else _inference(op, *tensors)

        rivals = {"eager NCHW": way(reference.relu_conv, [t.contiguous() for t in leaves])}
        rivals["eager channels_last"] = way(reference.relu_conv, leaves)
        if compiled:
            rivals["torch.compile"] = way(torch.compile(reference.relu_conv), leaves)
        flops = 2 * 9 * 2 * channels * SIDE * SIDE
        return Case(
            name=f"relu_conv, {channels} channels to 2, {'forward + backward' if training else 'forward'}",
            ours=way(ops.relu_conv, leaves),
            rivals=rivals,
            n_bytes=4 * SIDE * SIDE * ((3 * channels + 6) if training else (channels + 4)),
            flops=3 * flops if training else flops,
            target="",
            check=lambda: _error(ops.relu_conv(*leaves), reference.relu_conv(*[t.double() for t in leaves])),
        )

    return build


SPACE_A = ("sep_conv_3x3", "dil_2_conv_3x3", "dil_3_conv_3x3", "skip", "none")


def supernet_node(compiled: bool) -> Case:
    """Build node 3 of the search network: four edges, the five operations of space A on each."""
    edges = 4
    leaves = [_last(1, CHANNELS, SIDE, SIDE) for _ in range(edges)] + [torch.randn(edges, len(SPACE_A)).softmax(1)]
    leaves += [w for _ in range(3 * edges) for w in _operation()]
    planar = [t.contiguous() for t in leaves]
    grad = _last(1, CHANNELS, SIDE, SIDE)

    def of(op: Any) -> Callable[[list[Tensor]], Tensor]:
        def call(t: list[Tensor]) -> Tensor:
            w = t[edges + 1 :]
            weights = [[w[i : i + 2], w[i + 2 : i + 4], w[i + 4 : i + 6], [], []] for i in range(0, len(w), 6)]
            result: Tensor = op(t[:edges], SPACE_A, t[edges], weights)
            return result

        return call

    ours, twin = of(ops.supernet_node), of(reference.supernet_node)
    rivals = {"eager NCHW": _training(twin, planar, grad), "eager channels_last": _training(twin, leaves, grad)}
    if compiled:
        rivals["torch.compile"] = _training(of(torch.compile(reference.supernet_node)), leaves, grad)
    return Case(
        name="supernet node 3, 4 edges x 5 operations, forward + backward",
        ours=_training(ours, leaves, grad),
        rivals=rivals,
        n_bytes=4 * CHANNELS * SIDE * SIDE * (3 * edges + 2),
        flops=3 * 2 * edges * 3 * (9 * CHANNELS + CHANNELS**2) * SIDE * SIDE,
        target="3x best torch form; aim 6x",
        check=lambda: _error(ours(leaves), twin([t.double() for t in leaves])),
    )


class _Module:
    """The weights of a module of the knee genotype."""

    def __init__(self) -> None:
        wide = CHANNELS * len(KNEE)
        self.stem = [torch.randn(CHANNELS, 2, 3, 3) / 4, torch.randn(CHANNELS, CHANNELS, 3, 3) / 17]
        self.preprocess = [
            [torch.randn(CHANNELS, n) / n**0.5 for n in (CHANNELS if i < 2 else wide, CHANNELS if i < 1 else wide)]
            for i in range(CELLS)
        ]
        self.weights = [[[_operation() for _ in node] for node in KNEE] for _ in range(CELLS)]
        self.last = torch.randn(2, wide, 3, 3) / 30
        self.flat = [*self.stem, self.last, *(w for pair in self.preprocess for w in pair)]
        self.flat += [w for cell in self.weights for node in cell for edge in node for w in edge]

    def arguments(self, image: Tensor) -> tuple[Any, ...]:
        return image, KNEE, self.stem, self.preprocess, self.weights, self.last

    def layers(self, image: Tensor, cell: Any, end: Any) -> Tensor:
        """Run the module layer by layer."""
        before = image
        for weight in self.stem:
            before = torch.nn.functional.conv2d(before, weight, padding=1)
        output = before
        for pair, own in zip(self.preprocess, self.weights, strict=True):
            before, output = output, cell(before, output, KNEE, pair, own)
        result: Tensor = end(output, self.last, image)
        return result

    def flops(self, batch: int) -> int:
        return 2 * sum(w.numel() for w in self.flat) * batch * SIDE * SIDE


def _saved_by_composite_stem(batch: int) -> int:
    """Flops that a stem of one 5x5 convolution has less than one of two 3x3."""
    return 2 * (9 * CHANNELS - 32) * CHANNELS * batch * SIDE * SIDE


def module_forward(batch: int) -> Callable[[bool], Case]:
    """Build a whole module, depth first."""

    def build(compiled: bool) -> Case:
        module, image = _Module(), _last(batch, 2, SIDE, SIDE)
        rivals = {
            "eager NCHW": _inference(reference.nasn_cascade, *module.arguments(image.contiguous())),
            "eager channels_last": _inference(reference.nasn_cascade, *module.arguments(image)),
        }
        if compiled:
            rivals["torch.compile"] = _inference(torch.compile(reference.nasn_cascade), *module.arguments(image))

        def check() -> float:
            single = module.arguments(image[:1, :, :80, :80])
            convert = lambda x: x.double() if isinstance(x, Tensor) else [convert(y) for y in x]  # noqa: E731
            double = [single[0].double(), KNEE, *(convert(x) for x in single[2:])]
            return _error(ops.nasn_cascade(*single), reference.nasn_cascade(*double))

        return Case(
            name=f"NasN module, 3 cells, batch {batch}, forward",
            ours=_inference(ops.nasn_cascade, *module.arguments(image)),
            rivals=rivals,
            n_bytes=2 * 4 * 2 * batch * SIDE * SIDE,
            flops=module.flops(batch) - _saved_by_composite_stem(batch),
            target="2.5x best of eager, 2.2x torch.compile; aim 3.5x, 3.2x",
            check=check,
        )

    return build


def module_training(compiled: bool) -> Case:
    """Build a whole module, forward and backward."""
    module, image, grad = _Module(), _last(1, 2, SIDE, SIDE), _last(1, 2, SIDE, SIDE)
    for weight in module.flat:
        weight.requires_grad_()

    def way(cell: Any, end: Any, x: Tensor, change: Callable[[Any], Any] = lambda layers: layers) -> Callable[[], Any]:
        layers = change(module.layers)
        return lambda: torch.autograd.grad(layers(x, cell, end), module.flat, grad)

    twins = reference.separable_cell, reference.relu_conv
    rivals = {"eager NCHW": way(*twins, image.contiguous()), "eager channels_last": way(*twins, image)}
    if compiled:
        rivals["torch.compile"] = way(*twins, image, torch.compile)
    flops, ours = module.flops(1), way(ops.separable_cell, ops.relu_conv, image)
    if not image.is_cuda:
        flops -= _saved_by_composite_stem(1)
        ours = lambda: torch.autograd.grad(ops.nasn_cascade(*module.arguments(image)), module.flat, grad)  # noqa: E731
    return Case(
        name="NasN module, 3 cells, batch 1, forward + backward",
        ours=ours,
        rivals=rivals,
        n_bytes=4 * 2 * 3 * SIDE * SIDE,
        flops=3 * flops,
        target="1.5x best of eager; aim 2.5x",
    )


def cases() -> dict[str, Callable[[bool], Case]]:
    """All cases of this file by short name."""
    return {
        "separable_node forward 1": node(False),
        "separable_node training 1": node(True),
        "supernet_node training 1": supernet_node,
        "relu_conv forward 1": relu_conv(False),
        "relu_conv training 1": relu_conv(True),
        "nasn_cascade forward 1": module_forward(1),
        "nasn_cascade forward 8": module_forward(8),
        "nasn module training 1": module_training,
    }
