"""What has no twin to be compared with, against the formulas of the papers."""

from __future__ import annotations

import math

import torch

from csmri_ext.nn import CSE, PGSA
from csmri_ext.nn.msst import position_code


def test_position_code_is_the_papers() -> None:
    code = position_code(torch.zeros(1, 8, 5, 7))
    assert code.shape == (5, 7, 8)
    for y, x in ((0, 0), (4, 2), (3, 6)):
        expected = []
        for place in (y, x):
            for function in (math.sin, math.cos):
                expected += [function(place * 10000 ** (-4 * j / 8)) for j in range(2)]
        torch.testing.assert_close(code[y, x], torch.tensor(expected))


def test_the_gate_of_pgsa_is_the_papers() -> None:
    """Means and maxima of a branch go through bottlenecks of their own, and the sigmoid of their sum comes out."""
    torch.manual_seed(0)
    layer = PGSA(8, 16, splits=2, groups=(1, 2))
    mean, maximum = torch.randn(3, 16), torch.randn(3, 16)
    gate = layer.gate(mean, maximum)
    for branch in (slice(0, 8), slice(8, 16)):
        expected = torch.sigmoid(layer.squeeze_mean(mean[:, branch]) + layer.squeeze_maximum(maximum[:, branch]))
        torch.testing.assert_close(gate[:, branch], expected)


def test_channel_attention_is_the_papers() -> None:
    torch.manual_seed(0)
    layer, x = CSE(8, 4), torch.randn(2, 8, 5, 6)
    hidden = torch.relu(x.mean((2, 3)) @ layer.squeeze.weight.T + layer.squeeze.bias)
    scale = torch.sigmoid(hidden @ layer.excite.weight.T + layer.excite.bias)
    torch.testing.assert_close(layer(x), x * scale[:, :, None, None])
