"""`NasCell`: a cell of NasN, whatever its genotype."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from csmri_ext import ops
from csmri_ext.nn.layer_input import require_input

SEPARABLE = ("sep_conv_3x3", "dil_2_conv_3x3", "dil_3_conv_3x3")
MAX_PARTS = 8  # more are concatenated first, though `csmri_ext.ops.separable_node` would take them
OPERATIONS = (*SEPARABLE, "conv_9x1_1x9", "skip", "none")


class NasNode(nn.Module):
    """Sum of operations, one per input (NasN, section on the search space).

    ``sep_conv_3x3``, ``dil_2_conv_3x3``, ``dil_3_conv_3x3``: ReLU, depth-wise 3x3 convolution of dilation 1, 2, 3,
    ReLU, 1x1 convolution. ``conv_9x1_1x9``: ReLU, depth-wise 9x1, ReLU, depth-wise 1x9 convolution. ``skip``: the
    input; ``none``: zero.

    Parameters
    ----------
    operations
        One name per input.
    channels
        Channels of every input and of the output.

    Attributes
    ----------
    weights
        Per operation: depth-wise ``(channels, 3, 3)`` and point-wise ``(channels, channels)``; column and row
        ``(channels, 9)``; or nothing.

    Raises
    ------
    ValueError
        An unknown operation, or none at all.
    """

    def __init__(self, operations: Sequence[str], channels: int) -> None:
        super().__init__()
        unknown = set(operations) - set(OPERATIONS)
        if unknown or not operations:
            raise ValueError(f"a node has operations {tuple(operations)}; known are {', '.join(OPERATIONS)}")
        self.operations, self.channels = tuple(operations), channels
        shapes = {name: [(channels, 3, 3), (channels, channels)] for name in SEPARABLE}
        shapes["conv_9x1_1x9"] = [(channels, 9), (channels, 9)]
        self.weights = nn.ModuleList(
            nn.ParameterList(torch.empty(shape) for shape in shapes.get(name, [])) for name in operations
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as `torch.nn.Conv2d` does, uniform with bound ``1 / sqrt(fan in)``."""
        for weight in self.parameters():
            bound = 1 / math.sqrt(weight[0].numel())
            nn.init.uniform_(weight, -bound, bound)

    def forward(self, *inputs: Tensor) -> Tensor:
        """As many ``(batch, channels, ny, nx)`` as operations to one of the same shape."""
        return ops.separable_node(inputs, self.operations, [list(own.parameters()) for own in self.weights])

    def flops(self, x: torch.Size, *_: torch.Size) -> int:
        """Multiply-adds, for `csmri_ext.metrics.count_flops`."""
        return x[0] * x[-2] * x[-1] * sum(weight.numel() for weight in self.parameters())

    def relu_outputs(self, x: torch.Size, *_: torch.Size) -> int:
        """Elements that pass a ReLU: two per channel and pixel of each convolution."""
        return 2 * x.numel() * sum(name not in ("skip", "none") for name in self.operations)

    def extra_repr(self) -> str:
        """Describe the layer in one line."""
        return f"{', '.join(self.operations)}, channels={self.channels}"


class NasEntry(nn.Module):
    """ReLU and a 1x1 convolution on what a cell before has put out: ``W relu(x)``.

    Parameters
    ----------
    in_channels, channels
        Channels of the output of the cell before (of all parts together), and of a node.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(in_channels)
        self.weight = nn.Parameter(torch.empty(channels, in_channels).uniform_(-bound, bound))

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Tensors ``(batch, channels_p, ny, nx)`` that stand for their concatenation to ``(batch, channels, ...)``."""
        if len(parts) > MAX_PARTS:
            parts = [torch.cat(list(parts), 1)]
        weights = self.weight.split([part.shape[1] for part in parts], dim=1)
        return ops.separable_node(parts, ["conv_1x1"] * len(parts), [[weight] for weight in weights])

    def flops(self, *parts: torch.Size) -> int:
        """Multiply-adds, for `csmri_ext.metrics.count_flops`."""
        return parts[0][0] * parts[0][-2] * parts[0][-1] * self.weight.numel()

    def relu_outputs(self, *parts: torch.Size) -> int:
        """Elements that pass the ReLU."""
        return sum(part.numel() for part in parts)


class NasCell(nn.Module):
    """Nodes over the outputs of the two cells before, each fed by these or by earlier nodes (NasN, section 3).

    Both inputs pass ReLU and a 1x1 convolution to `channels`; node i sums its operations over any of these two and the
    nodes before; the output is the concatenation of all nodes.

    Parameters
    ----------
    genotype
        One entry per node: pairs of an operation (see `NasNode`) and the input it reads, 0 for the cell before the
        last, 1 for the last, ``2 + j`` for node j of this cell. `csmri_ext.models.genotypes` has named ones.
    channels
        Channels of a node.
    in_channels
        Channels of the two inputs, the cell before the last first.

    Raises
    ------
    ValueError
        A node that reads an input which does not exist yet, or an unknown operation.
    """

    def __init__(
        self,
        genotype: Sequence[Sequence[tuple[str, int]]],
        channels: int = 32,
        in_channels: tuple[int, int] = (32, 32),
    ) -> None:
        super().__init__()
        self.genotype = tuple(tuple(edge for edge in node) for node in genotype)
        self.inputs = tuple(tuple(source for _, source in node) for node in genotype)
        for i, sources in enumerate(self.inputs):
            if not all(0 <= source < i + 2 for source in sources):
                raise ValueError(f"node {i} reads inputs {sources}; at that point only 0 to {i + 1} exist")
        self.before, self.last = (NasEntry(wide, channels) for wide in in_channels)
        self.nodes = nn.ModuleList(NasNode([name for name, _ in node], channels) for node in genotype)
        self.out_channels = channels * len(genotype)

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        """Two ``(batch, in_channels, ny, nx)`` to ``(batch, channels * nodes, ny, nx)``."""
        for name, x, entry in (("before", before, self.before), ("last", last, self.last)):
            require_input("NasCell", x, entry.weight, entry.weight.shape[1], name)
        if before.is_cuda:  # nodes write into their slices; on the CPU nodes apart are faster to train, and counted
            return self.joined(before, last)
        return torch.cat(self.features([before], [last]), 1)

    def joined(self, before: Tensor, last: Tensor) -> Tensor:
        """Do the same by one op, without a concatenation."""
        return ops.separable_cell(before, last, self.genotype, *self.operands())

    def operands(self) -> tuple[tuple[Tensor, Tensor], list[list[list[Tensor]]]]:
        """Return the weights as `csmri_ext.ops.separable_cell` takes them: preprocess; per node and operation."""
        nodes = [node for node in self.nodes if isinstance(node, NasNode)]
        weights: list[list[list[Tensor]]] = [[list(own.parameters()) for own in node.weights] for node in nodes]
        return (self.before.weight, self.last.weight), weights

    def flops(self, before: torch.Size, last: torch.Size) -> int:
        """Multiply-adds, for `csmri_ext.metrics.count_flops`."""
        x = self._node_shape(before)
        nodes = sum(node.flops(x) for node in self.nodes if isinstance(node, NasNode))
        return self.before.flops(before) + self.last.flops(last) + nodes

    def relu_outputs(self, before: torch.Size, last: torch.Size) -> int:
        """Elements that pass a ReLU."""
        x = self._node_shape(before)
        nodes = sum(node.relu_outputs(x) for node in self.nodes if isinstance(node, NasNode))
        return self.before.relu_outputs(before) + self.last.relu_outputs(last) + nodes

    def _node_shape(self, x: torch.Size) -> torch.Size:
        return torch.Size((x[0], self.out_channels // len(self.nodes), *x[2:]))

    def features(self, before: Sequence[Tensor], last: Sequence[Tensor]) -> list[Tensor]:
        """Return the nodes' outputs apart; either input may come as parts that stand for their concatenation."""
        features = [self.before(before), self.last(last)]
        for node, sources in zip(self.nodes, self.inputs, strict=True):
            features.append(node(*(features[source] for source in sources)))
        return features[2:]
