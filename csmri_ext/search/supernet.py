"""`Supernet`: every candidate operation on every edge of a NasN cell, weighted by what the search learns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from csmri_ext import ops
from csmri_ext.errors import InputError, unknown
from csmri_ext.nn import NasNode, ProximalSteps, Reconstructor, as_channels, as_complex
from csmri_ext.nn.nas_cell import NasEntry
from csmri_ext.physics import Encoding

SPACES: dict[str, tuple[str, ...]] = {
    "A": ("sep_conv_3x3", "dil_2_conv_3x3", "dil_3_conv_3x3", "skip", "none"),
    "B": ("sep_conv_3x3", "dil_2_conv_3x3", "conv_9x1_1x9", "skip", "none"),
    "extended": ("sep_conv_3x3", "dil_2_conv_3x3", "dil_3_conv_3x3", "conv_9x1_1x9", "skip", "none"),
}
"""Candidate operations of the paper's search spaces."""

MAX_TERMS = 32  # of `csmri_ext.ops.supernet_node`: edges times operations other than none
_ALPHA_SCALE = 1e-3


class SupernetCell(nn.Module):
    """A cell in which every node reads all inputs and all nodes before it, through every candidate operation.

    Parameters
    ----------
    nodes
        Number of nodes.
    operations
        Candidates, the same on every edge.
    channels
        Channels of a node.
    in_channels
        Channels of the outputs of the cell before the last, and of the last.
    """

    def __init__(self, nodes: int, operations: Sequence[str], channels: int, in_channels: tuple[int, int]) -> None:
        super().__init__()
        self.operations = tuple(operations)
        self.before, self.last = (NasEntry(wide, channels) for wide in in_channels)
        self.nodes = nn.ModuleList(NasNode(self.operations * (2 + i), channels) for i in range(nodes))

    def forward(self, before: Sequence[Tensor], last: Sequence[Tensor], strengths: Sequence[Tensor]) -> list[Tensor]:
        """Compute the nodes from the parts of both inputs, as `NasCell.features`.

        Parameters
        ----------
        before, last
            Tensors ``(batch, channels, ny, nx)`` that stand for their concatenation.
        strengths
            Per node the factors of its operations, ``(edges, operations)``.
        """
        features = [self.before(before), self.last(last)]
        n = len(self.operations)
        for node, of_node in zip(self.nodes, strengths, strict=True):
            assert isinstance(node, NasNode)
            own = [list(weights.parameters()) for weights in node.weights]
            edges = [own[i : i + n] for i in range(0, len(own), n)]
            features.append(ops.supernet_node(features, self.operations, of_node, edges))
        return features[2:]


class SupernetModule(nn.Module):
    """`csmri_ext.models.nasn.ReconstructionModule` with cells that are still open.

    Parameters
    ----------
    nodes, operations
        As in `SupernetCell`.
    cells, channels, in_chans
        As in `ReconstructionModule`.
    """

    def __init__(self, nodes: int, operations: Sequence[str], cells: int, channels: int, in_chans: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_chans, channels, 3, padding=1, bias=False),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        )
        widths = [channels, channels] + [channels * nodes] * cells  # both inputs of the first cell are the stem
        self.cells = nn.ModuleList(
            SupernetCell(nodes, operations, channels, (widths[i], widths[i + 1])) for i in range(cells)
        )
        self.last = nn.Conv2d(widths[-1], in_chans, 3, padding=1, bias=False)

    def forward(self, image: Tensor, strengths: Sequence[Tensor]) -> Tensor:
        """``(batch, in_chans, ny, nx)`` to the same shape; `strengths` as in `SupernetCell`."""
        before = last = [self.stem(image)]
        for cell in self.cells:
            before, last = last, cell(before, last, strengths)
        joined = torch.cat(last, 1)
        if image.device.type == "cpu":  # on a GPU torch's own: the fused op has not been measured in a search there
            return ops.relu_conv(joined, self.last.weight, image)
        result: Tensor = image + self.last(torch.relu(joined))
        return result


class Supernet(Reconstructor):
    """NasN with all candidate operations of a search space at once (NasN, relaxation of the search space).

    Node i is ``sum over edges j and operations o of softmax(alpha_ij)_o * o(input_j)``. The alphas are shared by all
    cells and cascades, the weights of the operations are not. Data consistency follows every module as in `NasN`.

    Parameters
    ----------
    operations
        Name in `SPACES`, or the candidates.
    nodes, cells, cascades, channels
        Nodes of a cell, cells of a module, modules, channels of a node. The search takes one module, the network that
        is trained afterwards three.
    in_chans, peak
        As in `NasN`.

    Attributes
    ----------
    alphas
        ``(edges, operations)``; edges of the first node first, each node's in the order of its inputs.

    Raises
    ------
    InputError
        An unknown space; no nodes, cells or cascades; more nodes than `csmri_ext.ops.supernet_node` can join.
    """

    def __init__(
        self,
        operations: str | Sequence[str] = "A",
        *,
        nodes: int = 3,
        cells: int = 3,
        cascades: int = 1,
        channels: int = 32,
        in_chans: int = 2,
        peak: float | None = 6.0,
    ) -> None:
        super().__init__(in_chans=in_chans, peak=peak)
        if isinstance(operations, str):
            if operations not in SPACES:
                raise unknown("search space", operations, SPACES)
            operations = SPACES[operations]
        if min(nodes, cells, cascades, channels) < 1:
            raise InputError(
                f"{nodes} nodes, {cells} cells, {cascades} cascades, {channels} channels: at least 1 of each is needed"
            )
        most = MAX_TERMS // sum(name != "none" for name in operations) - 1
        if nodes > most:
            raise InputError(
                f"{nodes} nodes: with {len(operations)} operations on every edge at most {most} are possible"
            )
        self.operations, self.nodes = tuple(operations), nodes
        self.alphas = nn.Parameter(_ALPHA_SCALE * torch.randn(sum(self.edges), len(self.operations)))
        self.reconstructions = nn.ModuleList(
            SupernetModule(nodes, self.operations, cells, channels, in_chans) for _ in range(cascades)
        )
        self.data_steps = ProximalSteps(cascades)

    @property
    def edges(self) -> list[int]:
        """Number of edges into each node."""
        return [2 + i for i in range(self.nodes)]

    def weights(self) -> list[nn.Parameter]:
        """All parameters but the alphas."""
        return [p for p in self.parameters() if p is not self.alphas]

    def reconstruct(self, encoding: Encoding, image: Tensor) -> Tensor:
        """Alternate modules and data consistency."""
        strengths = self.alphas.softmax(1).split(self.edges)
        for k, module in enumerate(self.reconstructions):
            image = self.data_steps(encoding, as_complex(module(as_channels(image, self.in_chans), strengths)), k)
        return image

    def loss(self, kspace: Tensor, mask: Tensor, target: Tensor, sens_maps: Tensor | None = None) -> Tensor:
        """Mean absolute error of real and imaginary parts, where the zero-filled image has the maximum `peak`.

        Parameters
        ----------
        kspace, mask, sens_maps
            As in `forward`.
        target
            The true image, complex, ``(batch, ny, nx)``, in the units of `kspace`.
        """
        encoding = self.encode(kspace, mask, sens_maps)
        difference = self.reconstruct(encoding, encoding.zero_filled) - target / encoding.scale
        return as_channels(difference, self.in_chans).abs().mean()
