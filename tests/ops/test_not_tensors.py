"""NumPy's arrays and other things that are no tensors: one line that names the op, the argument and what it is."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from op_samples import SAMPLES, SMALL, OpSample
from torch import Tensor

from csmri_ext import ops

every_op = pytest.mark.parametrize("op", [op for op in SAMPLES if "half_shuffle" not in op.name], ids=str)


def refusal(call: object, *arguments: object, **named: object) -> str:
    with pytest.raises(TypeError) as raised:
        call(*arguments, **named)  # type: ignore[operator]
    message = str(raised.value)
    assert "\n" not in message
    return message


@every_op
def test_arrays_are_refused_by_name(op: OpSample) -> None:
    inputs = op.make(1, torch.float32, SMALL)
    for i, x in enumerate(inputs):
        message = refusal(op.call, *inputs[:i], x.numpy(), *inputs[i + 1 :])
        is_step = i == 2 and "data_consistency" in op.name
        expected = (
            "eta is a ndarray, expected one real number" if is_step else r".+ is a numpy\.ndarray, expected a torch"
        )
        assert re.match(rf"\w+: {expected}", message)


def data() -> tuple[Tensor, Tensor, Tensor]:
    image, kspace = torch.randn(2, 1, 6, 8, dtype=torch.complex64)
    return image, kspace, torch.rand(8) < 0.5


@pytest.mark.parametrize("eta", [None, "0.5", 1j, [0.5], np.zeros(1)], ids=repr)
def test_a_step_that_is_no_number(eta: object) -> None:
    assert "eta is a " in refusal(ops.data_consistency, *data(), eta)


def test_numbers_of_numpy_are_steps() -> None:
    image, kspace, mask = data()
    expected = ops.data_consistency(image, kspace, mask, 0.5)
    for eta in (np.float32(0.5), np.float64(0.5)):
        assert torch.equal(ops.data_consistency(image, kspace, mask, eta), expected)


def test_masks_that_must_be_there() -> None:
    image, kspace, _ = data()
    assert "mask is None, expected a torch.Tensor" in refusal(ops.sense_normal, image, None, None)
    assert "mask is None, expected a torch.Tensor" in refusal(ops.prepare_data_consistency, kspace, None)
    ops.encode(image, None, None)


def test_data_that_are_not_prepared() -> None:
    image, kspace, _ = data()
    for op in (ops.data_consistency_prepared, ops.data_consistency_normal_term):
        assert "what prepare_data_consistency returns" in refusal(op, image, kspace, 0.5)


def test_elements_of_lists_are_named() -> None:
    x = torch.zeros(1, 2, 3, 4)
    weights = [[], [x.new_zeros(2, 9), np.zeros((2, 9), np.float32)]]
    message = refusal(ops.separable_node, [x, x], ["skip", "conv_9x1_1x9"], weights)
    assert message.startswith("separable_node: weights[1][1] is a numpy.ndarray")


def test_attention() -> None:
    c = 4
    weights = [torch.zeros(shape) for shape in ((c,), (c,), (c, c), (2 * c, c), (c, c), (c,))]
    message = refusal(ops.half_shuffle_attention, np.zeros((1, c, 8, 8), np.float32), *weights, heads=1)
    assert message.startswith("half_shuffle_attention: x is a numpy.ndarray")


def test_cascade() -> None:
    x = torch.zeros(1, 2, 3, 4)
    message = refusal(ops.nasn_cascade, x, [], [np.zeros(1)], [], [], x)
    assert message.startswith("nasn_cascade: stem[0] is a numpy.ndarray")
