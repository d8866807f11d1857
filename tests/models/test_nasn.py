from __future__ import annotations

import pytest
import torch
from tolerance import assert_as_accurate, relative_error

import csmri_ext
from csmri_ext import ops
from csmri_ext.models import GENOTYPES, NasN
from csmri_ext.models.nasn import ReconstructionModule


@pytest.mark.parametrize("name", GENOTYPES)
def test_inference_and_training_agree_with_reference(name: str) -> None:
    torch.manual_seed(0)
    module = ReconstructionModule(GENOTYPES[name], cells=3, channels=16).eval()
    image = torch.randn(2, 2, 33, 29)
    with csmri_ext.reference_ops(), torch.no_grad():
        twin = module(image)
        truth = module.double()(image.double())
        module.float()
    trained = module(image)
    on_cuda = ops.relu_conv(module._cells_on_cuda(image), module.last.weight, image)
    with torch.inference_mode():
        inferred = module(image).clone()
    assert trained.requires_grad
    assert_as_accurate(on_cuda, twin, truth, "layer by layer")
    assert_as_accurate(trained, twin, truth, "depth first, with gradients")
    assert_as_accurate(inferred, twin, truth, "depth first")


def test_whole_network_without_gradients() -> None:
    torch.manual_seed(0)
    model = NasN("brain", cascades=2, cells=2, channels=8)
    mask = torch.rand(24) < 0.5
    kspace = mask * torch.randn(1, 30, 24, dtype=torch.complex64)
    trained = model(kspace, mask).detach()
    with torch.no_grad():
        assert relative_error(model(kspace, mask), trained.to(torch.complex128)) < 1e-5


def test_more_cascades_start_where_trained_ones_end() -> None:
    torch.manual_seed(0)
    trained = NasN("brain", cascades=1, cells=1, channels=8)
    grown = NasN("brain", cascades=3, cells=1, channels=8, start="identity")
    grown.load_state_dict(grown.state_dict() | trained.state_dict())
    mask = torch.rand(24) < 0.5
    kspace = mask * torch.randn(2, 30, 24, dtype=torch.complex64)
    torch.testing.assert_close(grown(kspace, mask), trained(kspace, mask))
    with pytest.raises(ValueError, match="start is 'zero', expected identity or literal"):
        NasN("brain", start="zero")
