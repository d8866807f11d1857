from __future__ import annotations

import pytest

from csmri_ext.bridge.acquisition import middle_slices


@pytest.mark.parametrize(
    ("available", "wanted", "chosen"),
    [
        (9, 3, range(3, 6)),
        (10, 3, range(3, 6)),
        (2, 5, range(2)),
        (4, None, range(4)),
        (1, 1, range(1)),
        (10, 0.5, range(2, 7)),
        (10, 0.01, range(4, 5)),
        (10, 1.0, range(10)),
    ],
)
def test_slices_come_from_the_middle(available: int, wanted: int | float | None, chosen: range) -> None:
    assert middle_slices(available, wanted) == chosen


@pytest.mark.parametrize("wanted", [0, -1, 0.0, 1.5])
def test_neither_a_number_nor_a_share(wanted: int | float) -> None:
    with pytest.raises(ValueError, match=f"{wanted} slices; expected a number from 1"):
        middle_slices(10, wanted)
