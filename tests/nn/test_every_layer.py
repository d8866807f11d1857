"""What every layer of `csmri_ext.nn` must do: copy, pickle, switch to the twins, change dtype, trace."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import csmri_ext
from csmri_ext.nn import CSE, HSAB, PGSA, DataConsistency, NasCell, SplitDepthwiseConv, UNet
from csmri_ext.ops import hsab_feed_forward_is_faster

MASK = torch.tensor([True, False, True, True, False, False, True, True])

GENOTYPE = ([("sep_conv_3x3", 0), ("skip", 1)], [("conv_9x1_1x9", 2), ("dil_2_conv_3x3", 1)])


def images(dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(2, 2, 6, 8, generator=generator, dtype=torch.complex128)
    return (*wide.to(dtype.to_complex()), MASK)


def two_states(dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    (x,) = channels(8)(dtype)
    return x, x.flip(1)


def channels(n: int) -> Callable[[torch.dtype], tuple[Tensor, ...]]:
    def make(dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
        return (torch.randn(2, n, 9, 10, generator=torch.Generator().manual_seed(n), dtype=torch.float64).to(dtype),)

    return make


# name: constructor, inputs of a dtype, whether it runs ops of ours
LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[torch.dtype], tuple[Tensor, ...]], bool]] = {
    "CSE": (lambda: CSE(8), channels(8), False),
    "DataConsistency": (DataConsistency, images, True),
    "DataConsistency, learnable": (lambda: DataConsistency(0.4, learnable=True), images, True),
    "HSAB": (lambda: HSAB(8, 2), channels(8), hsab_feed_forward_is_faster(torch.zeros(1))),
    "NasCell": (lambda: NasCell(GENOTYPE, 4, (8, 8)), two_states, True),
    "PGSA": (lambda: PGSA(8, 16, groups=(1, 2, 4, 4)), channels(8), True),
    "SplitDepthwiseConv": (lambda: SplitDepthwiseConv(8), channels(8), True),
    "UNet": (lambda: UNet(2, 2, 8, reduction=4), channels(2), False),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def build(name: str) -> tuple[nn.Module, Callable[[torch.dtype], tuple[Tensor, ...]], bool]:
    torch.manual_seed(0)
    construct, make, ours = LAYERS[name]
    return construct().eval(), make, ours


class CountOurOps(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, func: object, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        self.count += func.namespace == "csmri_ext"
        return func(*args, **(kwargs or {}))


@every_layer
def test_copies_pickles_and_state_dicts(name: str) -> None:
    layer, make, _ = build(name)
    expected = layer(*make(torch.float32))
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    torch.manual_seed(1)
    fresh = LAYERS[name][0]().eval()
    fresh.load_state_dict(torch.load(file, weights_only=True))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), fresh):
        assert torch.equal(other(*make(torch.float32)), expected)
        assert repr(other) == repr(layer)


@every_layer
def test_reference_ops_switches_the_layer(name: str) -> None:
    layer, make, ours = build(name)
    with CountOurOps() as kernels:
        expected = layer(*make(torch.float32))
    with csmri_ext.reference_ops(), CountOurOps() as twins:
        torch.testing.assert_close(layer(*make(torch.float32)), expected)
    assert (kernels.count > 0) == ours
    assert twins.count == 0


@every_layer
def test_trains_and_follows_to_float64(name: str) -> None:
    layer, make, _ = build(name)
    layer.train()
    first, *others = make(torch.float32)
    layer(first.requires_grad_(), *others).abs().sum().backward()
    assert first.grad is not None and first.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    out = layer.eval()(*make(torch.float32))
    wide = layer.double()(*make(torch.float64))
    assert wide.dtype in (torch.float64, torch.complex128)
    torch.testing.assert_close(out.to(wide.dtype), wide, rtol=1e-4, atol=1e-5)


@every_layer
def test_compiles_without_graph_breaks(name: str) -> None:
    layer, make, _ = build(name)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*make(torch.float32)), layer(*make(torch.float32)))


@every_layer
def test_channels_last_changes_nothing(name: str) -> None:
    layer, make, _ = build(name)
    inputs = make(torch.float32)
    expected = layer(*inputs)
    layer = layer.to(memory_format=torch.channels_last)
    given = [x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x for x in inputs]
    torch.testing.assert_close(layer(*given), expected)


@pytest.mark.parametrize("name", [name for name in LAYERS if not name.startswith("DataConsistency")])
def test_memory_of_the_result(name: str) -> None:
    """channels_last goes through, but for two layers whose kernels work on planes, as docs/ops.md says."""
    layer, make, _ = build(name)
    layer = layer.to(memory_format=torch.channels_last)
    out = layer(*(x.contiguous(memory_format=torch.channels_last) for x in make(torch.float32)))
    planes = name in ("PGSA", "SplitDepthwiseConv")
    assert (out.stride(1) == 1) != planes, "channels innermost; a layer that pads returns a part of what it made"


@every_layer
def test_activation_in_place_may_follow(name: str) -> None:
    layer, make, _ = build(name)
    layer.train()
    gradients = []
    for inplace in (True, False):
        first, *others = make(torch.float32)
        out = layer(first.requires_grad_(), *others)
        real = torch.view_as_real(out) if out.is_complex() else out
        nn.functional.leaky_relu(real, 0.2, inplace).square().sum().backward()
        gradients.append([first.grad, *(p.grad.clone() for p in layer.parameters() if p.grad is not None)])
        layer.zero_grad()
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_cell_in_one_op_before_an_activation_in_place() -> None:
    """As on a GPU."""
    torch.manual_seed(0)
    cell = NasCell(GENOTYPE, 4, (8, 8))
    gradients = []
    for inplace in (True, False):
        before, last = two_states()
        out = cell.joined(before.requires_grad_(), last)
        nn.functional.leaky_relu(out, 0.2, inplace).square().sum().backward()
        gradients.append([before.grad, *(p.grad.clone() for p in cell.parameters())])
        cell.zero_grad()
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
