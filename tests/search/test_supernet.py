from __future__ import annotations

import pytest
import torch
from search_samples import MadeSamples
from tolerance import assert_as_accurate, relative_error

import csmri_ext
from csmri_ext.errors import InputError
from csmri_ext.models import NasN
from csmri_ext.search import SPACES, Supernet, derive


def problem(space: str, dtype: torch.dtype = torch.float32) -> tuple[Supernet, list[torch.Tensor]]:
    torch.manual_seed(1)
    net = Supernet(space, nodes=2, cells=2, cascades=2, channels=4)
    torch.nn.init.normal_(net.alphas)
    sample = MadeSamples(0)[0]
    complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64
    data = [sample.kspace.to(complex_dtype)[None], sample.mask[None], sample.target.to(complex_dtype)[None]]
    return net.to(dtype), data


@pytest.mark.parametrize("space", SPACES)
def test_gradients_are_those_of_plain_pytorch(space: str) -> None:
    def gradients(dtype: torch.dtype, bits: int = 0) -> list[torch.Tensor]:
        net, data = problem(space, dtype)
        data[0] = data[0] * (1 + bits * torch.finfo(torch.float32).eps)
        return list(torch.autograd.grad(net.loss(*data), [net.alphas, *net.weights()]))

    fused = gradients(torch.float32)
    with csmri_ext.reference_ops():
        # the last bits of the data say how far float32 is from the truth, more than one run does
        twins, truth = [gradients(torch.float32, bits) for bits in range(5)], gradients(torch.float64)
    for i, (values, right) in enumerate(zip(fused, truth, strict=True)):
        farthest = max((twin[i] for twin in twins), key=lambda value: relative_error(value, right))
        assert_as_accurate(values, farthest, right, f"gradient {i}")
    assert float(fused[0].norm()) > 0


def test_a_decided_supernet_is_the_derived_network() -> None:
    """With all strength on the derived operations, and on none elsewhere, the super-network is the NasN of its cell."""
    torch.manual_seed(0)
    net = Supernet("extended", nodes=3, cells=2, channels=4)
    genotype = derive(net.alphas, net.operations)
    decided = torch.full_like(net.alphas, -1e4)
    decided[:, net.operations.index("none")] = 0
    first = 0
    for node, edges in zip(genotype, net.edges, strict=True):
        for operation, source in node:
            decided[first + source] = -1e4
            decided[first + source, net.operations.index(operation)] = 0
        first += edges
    net.alphas.data = decided

    model = NasN(genotype, cascades=1, cells=2, channels=4)
    ours, theirs = net.reconstructions[0], model.reconstructions[0]
    theirs.stem.load_state_dict(ours.stem.state_dict())
    theirs.last.load_state_dict(ours.last.state_dict())
    for mine, cell in zip(ours.cells, theirs.cells, strict=True):
        cell.before.load_state_dict(mine.before.state_dict())
        cell.last.load_state_dict(mine.last.state_dict())
        for i, node in enumerate(genotype):
            for e, (operation, source) in enumerate(node):
                number = source * len(net.operations) + net.operations.index(operation)
                cell.nodes[i].weights[e].load_state_dict(mine.nodes[i].weights[number].state_dict())
    sample = MadeSamples(0)[0]
    kspace, mask = sample.kspace[None], sample.mask[None]
    torch.testing.assert_close(net(kspace, mask), model(kspace, mask), rtol=1e-5, atol=1e-5)


def test_the_loss_is_the_papers() -> None:
    net, (kspace, mask, target) = problem("A")
    scale = 1 / net.encode(kspace, mask).scale  # the network sees neither the unit nor the phase
    difference = torch.view_as_real(scale * (net(kspace, mask) - target))
    torch.testing.assert_close(net.loss(kspace, mask, target), difference.abs().mean())
    torch.testing.assert_close(net.loss(7 * kspace, mask, 7 * target), net.loss(kspace, mask, target))


def test_impossible_supernets() -> None:
    with pytest.raises(InputError, match="unknown search space 'C'; known: A, B, extended"):
        Supernet("C")
    with pytest.raises(InputError, match="0 nodes"):
        Supernet("A", nodes=0)
    with pytest.raises(InputError, match="6 nodes: with 6 operations on every edge at most 5"):
        Supernet("extended", nodes=6)
    assert Supernet("extended", nodes=5, cells=1, channels=2).alphas.shape == (20, 6)
