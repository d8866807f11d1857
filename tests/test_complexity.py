from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from csmri_ext.metrics import count_flops, count_parameters
from csmri_ext.physics import Encoding

PIXELS = 320 * 320


def conv(c_in: int, c_out: int, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, padding=dilation, dilation=dilation)


class Cascade(nn.Module):
    """x + network(x) on the channels (re, im), three times, each followed by data consistency."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, kspace: Tensor, mask: Tensor, sens_maps: Tensor | None = None) -> Tensor:
        operator = Encoding(None, mask, sens_maps)
        start = image = operator.adjoint(kspace)
        for network in self.networks:
            channels = torch.view_as_real(image).permute(0, 3, 1, 2)
            image = torch.view_as_complex((channels + network(channels)).permute(0, 2, 3, 1).contiguous())
            image = image + start - operator.normal(image)
        return image


class ResidualBlock(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(conv(32, 32), nn.ReLU(), conv(32, 32))

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class RecursiveDilated(nn.Module):
    """RDN: one block of dilations 1, 2, 3, run `recursions` times."""

    def __init__(self, recursions: int) -> None:
        super().__init__()
        self.recursions = recursions
        self.first = nn.Sequential(conv(2, 32), nn.ReLU())
        self.block = nn.Sequential(*[layer for d in (1, 2, 3) for layer in (conv(32, 32, d), nn.ReLU())])
        self.last = conv(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        start = h = self.first(x)
        for _ in range(self.recursions):
            h = self.block(h) + start
        return self.last(h)


def dccnn(blocks: int) -> Cascade:
    return Cascade([nn.Sequential(conv(2, 32), *[ResidualBlock() for _ in range(blocks)], conv(32, 2)) for _ in "123"])


class TestPaperB:
    """The NasN paper's Table: parameters in thousands and operations in 1e9 at 320 x 320."""

    @pytest.mark.parametrize(("blocks", "parameters", "flops"), [(3, 170_022, 17.41), (11, 613_926, 62.87)])
    def test_dccnn(self, blocks: int, parameters: int, flops: float) -> None:
        model = dccnn(blocks)
        assert count_parameters(model) == parameters
        assert count_flops(model, (320, 320)) == parameters * PIXELS
        assert round(count_flops(model, (320, 320)) / 1e9, 2) == flops

    def test_modl_shares_one_network(self) -> None:
        model = dccnn(3)
        model.networks = nn.ModuleList([model.networks[0]] * 3)
        assert count_parameters(model) == 56_674
        assert round(count_flops(model, (320, 320)) / 1e9, 2) == 17.41

    @pytest.mark.parametrize(("recursions", "plain", "with_relu"), [(3, 25.933, 26.03), (8, 68.548, 68.79)])
    def test_rdn_counts_its_relus(self, recursions: int, plain: float, with_relu: float) -> None:
        model = Cascade([RecursiveDilated(recursions) for _ in "123"])
        assert count_parameters(model) == 86_790
        assert round(count_flops(model, (320, 320)) / 1e9, 3) == plain
        assert round(count_flops(model, (320, 320), relu=True) / 1e9, 2) == with_relu


@pytest.mark.parametrize(
    ("layer", "shape", "flops"),
    [
        (nn.Conv2d(4, 8, 3, padding=1, bias=False), (1, 4, 5, 6), 8 * 4 * 9 * 30),
        (nn.Conv2d(4, 8, 3, padding=1), (1, 4, 5, 6), (8 * 4 * 9 + 8) * 30),
        (nn.Conv2d(4, 8, 3, stride=2), (3, 4, 5, 7), 3 * (8 * 4 * 9 + 8) * 2 * 3),
        (nn.Conv2d(8, 8, (9, 1), padding=(4, 0), groups=8, bias=False), (1, 8, 5, 6), 8 * 9 * 30),
        (nn.Conv2d(8, 4, 1, groups=2), (1, 8, 5, 6), (4 * 4 + 4) * 30),
        (nn.ConvTranspose2d(6, 3, 2, stride=2, bias=False), (1, 6, 5, 6), 4 * 6 * 3 * 30),
        (nn.ConvTranspose2d(6, 3, 2, stride=2), (1, 6, 5, 6), 4 * 6 * 3 * 30 + 3 * 120),
        (nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2, bias=False), (1, 6, 5, 6), 4 * 6 * 2 * 30),
        (nn.Conv1d(2, 3, 5), (1, 2, 9), (3 * 2 * 5 + 3) * 5),
        (nn.Conv3d(2, 3, 2, bias=False), (1, 2, 3, 3, 3), 3 * 2 * 8 * 8),
        (nn.Linear(7, 5), (4, 6, 7), (7 * 5 + 5) * 24),
        (nn.Linear(7, 5, bias=False), (7,), 35),
        (nn.Sequential(nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Sigmoid()), (1, 4, 8, 8), 0),
    ],
    ids=str,
)
def test_layers(layer: nn.Module, shape: tuple[int, ...], flops: int) -> None:
    assert count_flops(layer, shape) == flops
    assert count_flops(layer, shape, relu=True) == flops


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.LeakyReLU(), nn.PReLU(), nn.ReLU(inplace=True)], ids=str)
def test_relus(layer: nn.Module) -> None:
    assert count_flops(layer, (2, 3, 4)) == 0
    assert count_flops(layer, (2, 3, 4), relu=True) == 24


class Declared(nn.Module):
    """A layer that a kernel computes: it has a convolution only to hold weights."""

    def __init__(self) -> None:
        super().__init__()
        self.holder = nn.Conv2d(3, 3, 3)
        self.relu = nn.ReLU()

    def forward(self, features: list[Tensor], *, scale: Tensor) -> Tensor:
        return self.relu(self.holder(features[0])) * scale

    def flops(self, *input_shapes: torch.Size) -> int:
        assert [tuple(shape) for shape in input_shapes] == [(1, 3, 8, 8), (1, 1)]
        return 1000

    def relu_outputs(self, *input_shapes: torch.Size) -> int:
        return 7


class AroundDeclared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = Declared()
        self.after = nn.Linear(6, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.layer([x], scale=torch.ones(1, 1)))


def test_declared_counts_replace_those_of_the_children() -> None:
    assert count_flops(AroundDeclared(), (1, 3, 8, 8)) == 1000 + 3 * 6 * 6
    assert count_flops(AroundDeclared(), (1, 3, 8, 8), relu=True) == 1007 + 3 * 6 * 6


class LooksAtValues(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.max().item() > 0 else x


def test_modules_that_look_at_values() -> None:
    assert count_flops(LooksAtValues(), (2, 4)) == 2 * 20


def test_kspace_shapes() -> None:
    model = dccnn(1)
    one = count_flops(model, (12, 10))
    assert count_flops(model, (1, 12, 10)) == one
    assert count_flops(model, (3, 12, 10)) == 3 * one
    assert count_flops(model, (2, 5, 12, 10)) == 2 * one  # coils are combined before the network
    with pytest.raises(ValueError, match=r"k-space has shape .*, got \(12,\)"):
        count_flops(model, (12,))


def test_module_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_flops(model, (1, 1, 8, 8))
    assert model.training
    assert not any(layer._forward_hooks for layer in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_double_precision_modules() -> None:
    assert count_flops(nn.Linear(3, 2).double(), (3,)) == 8


def test_parameters() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trained = nn.Parameter(torch.zeros(3, 4))
            self.fixed = nn.Parameter(torch.zeros(5), requires_grad=False)
            self.complex = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
            self.shared = self.trained
            self.buffer: Any
            self.register_buffer("buffer", torch.zeros(9))

    assert count_parameters(Mixed()) == 12 + 4
