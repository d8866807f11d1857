from __future__ import annotations

import pickle

import pytest
import torch

import csmri_ext
from csmri_ext.nn import DataConsistency
from csmri_ext.ops import data_consistency, prepare_data_consistency


def make() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    image, kspace = torch.randn(2, 2, 8, 12, dtype=torch.complex64)
    return image, kspace, torch.rand(12) < 0.5


def test_equals_the_function_with_and_without_preparation() -> None:
    image, kspace, mask = make()
    layer = DataConsistency(0.3)
    expected = data_consistency(image, kspace, mask, 0.3)
    assert torch.equal(layer(image, kspace, mask), expected)
    assert torch.equal(layer(image, prepare_data_consistency(kspace, mask)), expected)
    assert torch.equal(layer(image, kspace, mask, 1.0), DataConsistency()(image, kspace, mask))
    with csmri_ext.reference_ops():
        torch.testing.assert_close(layer(image, kspace, mask), expected)


def test_learnable_step() -> None:
    image, kspace, mask = make()
    layer = DataConsistency(0.3, learnable=True)
    assert [name for name, _ in layer.named_parameters()] == ["theta"]
    assert layer.eta.item() == pytest.approx(0.3)
    before = layer(image, kspace, mask)
    torch.testing.assert_close(before, DataConsistency(0.3)(image, kspace, mask))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    (before - kspace).abs().square().mean().backward()
    optimizer.step()
    assert layer.eta.item() != pytest.approx(0.3)
    assert not list(DataConsistency().parameters())
    double = layer.double()
    assert double(image.to(torch.complex128), kspace.to(torch.complex128), mask).dtype == torch.complex128


def test_a_free_step_takes_the_weight_of_varnet() -> None:
    image, kspace, mask = make()
    layer = DataConsistency(learnable=True, bounded=False)
    assert layer.eta.item() == 1
    dc_weight = torch.nn.Parameter(torch.tensor([1.7]))
    layer.load_state_dict({"theta": dc_weight.detach()})
    assert torch.equal(layer(image, kspace, mask), data_consistency(image, kspace, mask, dc_weight))
    layer(image, kspace, mask).abs().sum().backward()
    assert layer.theta.grad is not None


def test_prepared_data_pickle() -> None:
    image, kspace, mask = make()
    layer = DataConsistency(0.4)
    prepared = pickle.loads(pickle.dumps(prepare_data_consistency(kspace, mask)))
    assert torch.equal(layer(image, prepared), layer(image, kspace, mask))


def test_misuse() -> None:
    image, kspace, mask = make()
    layer = DataConsistency()
    with pytest.raises(TypeError, match="mask is needed"):
        layer(image, kspace)
    with pytest.raises(TypeError, match="brings its mask"):
        layer(image, prepare_data_consistency(kspace, mask), mask)
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.0"):
        DataConsistency(1.0, learnable=True)
