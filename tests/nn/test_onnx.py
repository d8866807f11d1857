"""What ONNX takes of the package: layers through their twins, and no whole network, as docs/derivatives.md says."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch

import csmri_ext
from csmri_ext import nn
from csmri_ext.models import create

onnx_reference = pytest.importorskip("onnx.reference")
pytest.importorskip("onnxscript")

LAYERS: dict[str, Callable[[], torch.nn.Module]] = {
    "SplitDepthwiseConv": lambda: nn.SplitDepthwiseConv(32),
    "PGSA": lambda: nn.PGSA(32, 32),
    "CSE": lambda: nn.CSE(32),
    "HSAB": lambda: nn.HSAB(32, 2),
    "MSST": lambda: nn.MSST(32),
}


def exported(module: torch.nn.Module, *inputs: torch.Tensor) -> torch.onnx.ONNXProgram:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about its own passes
        program = torch.onnx.export(module, inputs, dynamo=True, verbose=False)
    assert program is not None
    return program


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_exports_through_its_twin(name: str) -> None:
    torch.manual_seed(0)
    layer, x = LAYERS[name]().eval(), torch.randn(1, 32, 24, 24)
    with csmri_ext.reference_ops(), torch.no_grad():
        model = exported(layer, x).model_proto
        expected = layer(x).numpy()
    run = onnx_reference.ReferenceEvaluator(model).run
    (found,) = run(None, {model.graph.input[0].name: x.numpy()})
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_network_does_not_since_onnx_has_no_complex_numbers() -> None:
    kspace, mask = torch.randn(1, 32, 32, dtype=torch.complex64), torch.rand(32) < 0.5
    with csmri_ext.reference_ops(), pytest.raises(torch.onnx.OnnxExporterError, match="complex"):
        exported(create("nasn_2nodes").eval(), kspace, mask)
