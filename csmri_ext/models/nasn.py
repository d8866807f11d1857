"""NasN: cascades of searched reconstruction modules and data consistency."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from csmri_ext import ops
from csmri_ext.models.genotypes import GENOTYPES, check_genotype
from csmri_ext.models.hqs import STARTS
from csmri_ext.nn import NasCell, ProximalSteps, Reconstructor, as_channels, as_complex
from csmri_ext.nn.nas_cell import NasNode
from csmri_ext.physics import Encoding


class ReconstructionModule(nn.Module):
    """Stem of two 3x3 convolutions, cells, ReLU and a 3x3 convolution back to the image, added to it (NasN, section 3).

    Parameters
    ----------
    genotype
        Of all cells, see `csmri_ext.models.genotypes`.
    cells, channels
        Number of cells and channels of each node.
    in_chans
        Channels of the image.
    """

    def __init__(
        self, genotype: Sequence[Sequence[tuple[str, int]]], cells: int = 3, channels: int = 32, in_chans: int = 2
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_chans, channels, 3, padding=1, bias=False),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        )
        self.cells = nn.ModuleList()
        before = last = channels  # both inputs of the first cell are the stem
        for _ in range(cells):
            cell = NasCell(genotype, channels, (before, last))
            self.cells.append(cell)
            before, last = last, cell.out_channels
        self.last = nn.Conv2d(last, in_chans, 3, padding=1, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """``(batch, in_chans, ny, nx)`` to the same shape. But for training on CUDA one op, `ops.nasn_cascade`."""
        tensors = (image, *self.parameters())
        if image.is_cuda and torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
            return ops.relu_conv(self._cells_on_cuda(image), self.last.weight, image)
        return self._cascade(image)

    def flops(self, x: torch.Size) -> int:
        """Multiply-adds, for `csmri_ext.metrics.count_flops`; no layer has a bias."""
        pixels = x[0] * x[-2] * x[-1]
        ends = pixels * sum(layer.weight.numel() for layer in (*self._stem(), self.last))
        return ends + sum(cell.flops(*shapes) for cell, *shapes in self._cells_and_shapes(x))

    def relu_outputs(self, x: torch.Size) -> int:
        """Elements that pass a ReLU: those of the cells, and the one before the last convolution."""
        rectified = x[0] * x[-2] * x[-1] * self.last.in_channels
        return rectified + sum(cell.relu_outputs(*shapes) for cell, *shapes in self._cells_and_shapes(x))

    def _stem(self) -> list[nn.Conv2d]:
        return [layer for layer in self.stem if isinstance(layer, nn.Conv2d)]

    def _cells_and_shapes(self, x: torch.Size) -> Iterator[tuple[NasCell, torch.Size, torch.Size]]:
        before = last = torch.Size((x[0], self._stem()[-1].out_channels, *x[2:]))
        for cell in self._cells():
            yield cell, before, last
            before, last = last, torch.Size((x[0], cell.out_channels, *x[2:]))

    def _cells_on_cuda(self, image: Tensor) -> Tensor:
        before = last = self.stem(image)
        for cell in self._cells():
            before, last = last, cell.joined(before, last)
        return last

    def _cells(self) -> list[NasCell]:
        return [cell for cell in self.cells if isinstance(cell, NasCell)]

    def _cascade(self, image: Tensor) -> Tensor:
        cells = self._cells()
        return ops.nasn_cascade(
            image,
            cells[0].genotype,
            [layer.weight for layer in self._stem()],
            [(cell.before.weight, cell.last.weight) for cell in cells],
            [[[list(own.parameters()) for own in n.weights] for n in c.nodes if isinstance(n, NasNode)] for c in cells],
            self.last.weight,
        )


class NasN(Reconstructor):
    """The network found by neural architecture search: ``x <- DC(R(x))`` in each cascade (NasN, section 3).

    DC replaces the acquired samples (eq. 7, noiseless); with several coils it is the proximal step (`ProximalSteps`).

    Parameters
    ----------
    genotype
        Name in `GENOTYPES`, or nested pairs as `check_genotype` takes them.
    cascades, cells, channels
        Number of reconstruction modules, of cells in each, and of channels in each node; weights are never shared.
    mu, trainable_mu
        Of the data steps: one number, or one for each cascade; whether they are learned. See `ProximalSteps`.
    start
        ``"literal"``: random, as torch draws layers. ``"identity"``: the last convolution of each module is zero at
        first, so that a module does nothing; more cascades than a file of weights has then go on from its image.
    in_chans, peak
        As in `Reconstructor`; the paper's code scales to a maximum of 6.

    Raises
    ------
    ValueError
        An unknown or impossible genotype or start; no cascades or cells.
    """

    def __init__(
        self,
        genotype: str | Sequence[Sequence[tuple[str, int]]] = "knee",
        *,
        cascades: int = 3,
        cells: int = 3,
        channels: int = 32,
        mu: float | Sequence[float] | None = None,
        trainable_mu: bool = False,
        start: str = "literal",
        in_chans: int = 2,
        peak: float | None = 6.0,
    ) -> None:
        super().__init__(in_chans=in_chans, peak=peak)
        if isinstance(genotype, str) and genotype not in GENOTYPES:
            raise ValueError(f"genotype is {genotype!r}, expected one of {', '.join(GENOTYPES)} or a list of nodes")
        if cascades < 1 or cells < 1:
            raise ValueError(f"{cascades} cascades of {cells} cells: at least one of each is needed")
        if channels < 1:
            raise ValueError(f"channels is {channels}, expected at least 1")
        if start not in STARTS:
            raise ValueError(f"start is {start!r}, expected {' or '.join(STARTS)}")
        self.genotype = check_genotype(GENOTYPES[genotype] if isinstance(genotype, str) else genotype)
        modules = [ReconstructionModule(self.genotype, cells, channels, in_chans) for _ in range(cascades)]
        if start == "identity":
            for module in modules:
                nn.init.zeros_(module.last.weight)
        self.reconstructions = nn.ModuleList(modules)
        self.data_steps = ProximalSteps(cascades, mu, trainable=trainable_mu)

    def reconstruct(self, encoding: Encoding, image: Tensor) -> Tensor:
        """Alternate reconstruction modules and data consistency."""
        for k, module in enumerate(self.reconstructions):
            image = self.data_steps(encoding, as_complex(module(as_channels(image, self.in_chans))), k)
        return image
