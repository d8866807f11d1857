from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from csmri_ext.physics import calibration_block, describe_mask, make_mask, mask_hash


def test_hash_is_sha256_of_bytes() -> None:
    mask = torch.tensor([True, False, True])
    assert mask_hash(mask) == hashlib.sha256(b"\1\0\1").hexdigest()
    assert mask_hash(mask.numpy()) == mask_hash(mask.float()) == mask_hash(mask)
    grid = torch.rand(6, 4) < 0.5
    assert mask_hash(grid.T) == mask_hash(grid.T.contiguous())


def test_description_of_columns() -> None:
    mask = make_mask("equispaced_fraction", (320,), 4, seed=0)
    facts = describe_mask(mask)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["shape"] == [320]
    assert facts["sampled"] == 80
    assert facts["fraction"] == 0.25
    assert facts["acceleration"] == 4.0
    assert facts["hash"] == "61d5f0506bf98ec7"
    assert facts["center"] == [28]  # the 26 columns of the centre, and one of the comb on either side


def test_description_of_a_plane() -> None:
    mask = torch.zeros(10, 12, dtype=torch.bool)
    mask[3:7, 4:8] = True
    facts = describe_mask(mask[None, None])
    assert facts == facts | {"shape": [10, 12], "sampled": 16, "fraction": 16 / 120, "acceleration": 7.5}
    assert facts["center"] == [4, 4]


def test_empty_and_full() -> None:
    assert describe_mask(np.zeros(5, dtype=bool)) | {"hash": ""} == {
        "shape": [5],
        "sampled": 0,
        "fraction": 0.0,
        "acceleration": float("inf"),
        "center": [0],
        "hash": "",
    }
    assert describe_mask(np.ones((5, 8), dtype=bool))["center"] == [5, 8]


@pytest.mark.parametrize(
    ("sampled", "block"),
    [
        ("0011100", slice(2, 5)),
        ("0001000", slice(3, 4)),
        ("0111000", slice(2, 4)),  # 3 is the zero frequency: an even block has one sample more in front of it
        ("0011000", slice(2, 4)),
        ("0001111", slice(3, 4)),
        ("1110111", slice(3, 3)),
        ("00111100", slice(2, 6)),
        ("00011000", slice(3, 5)),
        ("11111111", slice(0, 8)),
    ],
)
def test_block_of_columns(sampled: str, block: slice) -> None:
    mask = np.array([flag == "1" for flag in sampled])
    (found,) = calibration_block(mask)
    assert found == block


def test_block_prefers_a_square_to_a_cross() -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[32] = mask[:, 32] = True  # as radial masks have it
    mask[28:36, 27:37] = True
    assert calibration_block(mask) == (slice(28, 36), slice(27, 37))


def test_columns_of_a_plane() -> None:
    columns = make_mask("equispaced", (80,), 4, 0.1, seed=0, offset=2)
    rows, found = calibration_block(columns.expand(30, 80))
    assert rows == slice(0, 30)
    assert (found,) == calibration_block(columns)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**49 - 1))
def test_block_is_the_best_of_all(ny: int, nx: int, bits: int) -> None:
    mask = np.array([bits >> i & 1 for i in range(ny * nx)], dtype=bool).reshape(ny, nx)
    best = (0, 0)
    for h in range(1, ny + 1):
        for w in range(1, nx + 1):
            top, left = ny // 2 - h // 2, nx // 2 - w // 2
            if mask[top : top + h, left : left + w].all():
                best = max(best, (min(h, w), h * w))
    blocks = calibration_block(mask)
    sides = [block.stop - block.start for block in blocks]
    assert len(blocks) == (1 if ny == 1 else 2)
    assert (min(sides) if ny > 1 else min(1, *sides), int(np.prod(sides))) == best
    assert mask.reshape(mask.shape[-len(blocks) :] if ny > 1 else (nx,))[blocks].all()


def test_bad_masks() -> None:
    with pytest.raises(ValueError, match=r"a mask has only 0 and 1, got float32 values from 0\.0 to 0\.5"):
        mask_hash(torch.tensor([0.0, 0.5]))
    with pytest.raises(ValueError, match=r"\(nx,\) or \(ny, nx\), got \(2, 3, 4\)"):
        describe_mask(torch.ones(2, 3, 4, dtype=torch.bool))
