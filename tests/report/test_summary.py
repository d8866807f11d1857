from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from csmri_ext.report.rows import Comparison, Panel, Row
from csmri_ext.report.summary import (
    Setting,
    best_first,
    sampled_fraction,
    sampling_words,
    shown_columns,
    si,
    summarise,
    three_digits,
)


def row(method: str, psnr: float | None, *, volume: str = "a", ssim: float | None = 0.9, **changes: object) -> Row:
    values: dict[str, Any] = {
        "mask": "random",
        "acceleration": 4.0,
        "slices": 2,
        "mse": None if psnr is None else 10 ** (-psnr / 10),
        "nmse": None if psnr is None else 2 * 10 ** (-psnr / 10),
        "seconds": 1.0,
        "parameters": 0,
        "flops": None,
    }
    return Row(method=method, volume=volume, psnr=psnr, ssim=None if psnr is None else ssim, **{**values, **changes})


def test_mean_and_deviation_over_volumes() -> None:
    (group,) = summarise([row("tv", 30.0, volume="a"), row("tv", 34.0, volume="b"), row("tv", 35.0, volume="c")])
    mean = group.lines[0].means["psnr"]
    assert mean.mean == pytest.approx(33.0)
    assert mean.sd == pytest.approx(np.std([30, 34, 35], ddof=1))
    assert group.lines[0].means["seconds"].mean == 0.5  # per slice


def test_one_volume_has_no_deviation() -> None:
    (group,) = summarise([row("tv", 30.0)])
    assert group.lines[0].means["psnr"].sd is None


def test_best_is_marked_in_the_right_direction_and_ties_share_it() -> None:
    rows = [row("a", 30.0, ssim=0.8), row("b", 31.001, ssim=0.7), row("c", 31.002, ssim=0.75)]
    lines = {line.method: line for line in summarise(rows)[0].lines}
    assert "psnr" in lines["b"].best  # equal at the two digits shown
    assert "psnr" in lines["c"].best
    assert lines["a"].best == {"ssim"}
    assert "nmse" in lines["c"].best
    assert "seconds" not in lines["a"].best | lines["b"].best | lines["c"].best


def test_a_single_method_is_not_best() -> None:
    assert summarise([row("tv", 30.0)])[0].lines[0].best == set()


def test_means_and_ranks_are_over_the_volumes_that_all_have() -> None:
    (group,) = summarise([row("a", 30.0, volume="x"), row("a", 31.0, volume="y"), row("b", 40.0, volume="x")])
    a, b = group.lines
    assert (a.complete, b.complete) == (True, False)
    assert group.common == ["x"]
    assert (a.means["psnr"].mean, b.means["psnr"].mean) == (30.0, 40.0)
    assert "psnr" in b.best
    assert a.best == {"ssim"}
    assert group.words() == "partial; means over the 1 of 2 volumes that all have"
    assert b.remark(group) == "1 of 2 volumes"


def test_a_method_without_a_common_volume_is_not_ranked() -> None:
    rows = [row(method, 30.0 + i, volume=v) for i, method in enumerate("ab") for v in "xy"]
    (group,) = summarise([*rows, row("c", 50.0, volume="z")])
    a, b, c = group.lines
    assert (a.ranked, b.ranked, c.ranked) == (True, True, False)
    assert "psnr" in b.best
    assert c.best == set()
    assert "not ranked" in c.remark(group)
    assert [line.method for line in best_first(group.lines)] == ["b", "a", "c"]


def test_what_is_planned_and_missing_makes_a_group_partial() -> None:
    rows = [row("a", 30.0, volume="x"), row("a", 31.0, volume="y"), row("b", 40.0, volume="x")]
    plan = [{"method": name, "mask": "random", "acceleration": 4.0, "volumes": ["x", "y", "z"]} for name in "abc"]
    (group,) = summarise(rows, plan)
    assert group.partial
    assert group.absent == ["c"]
    assert [line.remark(group) for line in group.lines] == ["2 of 3 volumes", "1 of 3 volumes"]
    assert group.words() == "partial; means over the 1 of 3 volumes that all have; nothing yet of c"
    (whole,) = summarise(rows[:2], [{**plan[0], "volumes": ["x", "y"]}])
    assert not whole.partial
    assert whole.words() == ""


def test_source_of_the_sensitivities_stands_in_the_line() -> None:
    sources = ["bart ecalib -m 1 -r 24", "adaptive estimate from the calibration region", "file", None]
    lines = [summarise([row("a", 30.0, details={"sens_maps": source})])[0].lines[0].sens_maps for source in sources]
    assert lines == ["ESPIRiT (bart ecalib)", "own estimate", "from file", ""]


def test_marks_say_which_direction_is_better() -> None:
    marks = {column.key: column.mark for column in shown_columns([row("a", 30.0)])}
    assert (marks["psnr"], marks["ssim"], marks["nmse"], marks["mse"], marks["seconds"]) == ("↑", "↑", "↓", "↓", "")


def test_nan_is_never_best() -> None:
    (group,) = summarise([row("a", math.nan), row("b", 10.0)])
    assert "psnr" not in group.lines[0].best
    assert "psnr" in group.lines[1].best


def test_data_without_reference_form_their_own_group_and_show_no_metric() -> None:
    rows = [row("tv", None, kspace_residual=0.1), row("tv", 30.0, volume="b")]
    assert [group.has_reference for group in summarise(rows)] == [False, True]
    assert [column.key for column in shown_columns(rows[:1])] == ["kspace_residual", "seconds"]


def test_settings_keep_their_order() -> None:
    rows = [row("tv", 30.0, acceleration=8.0), row("tv", 30.0, acceleration=4.0), row("tv", 30.0, mask="radial_lines")]
    assert [group.setting.title for group in summarise(rows)] == [
        "random, R = 8",
        "random, R = 4",
        "radial_lines, R = 4",
    ]
    assert Setting("acquired", None).title == "acquired"


def test_sampled_fraction_from_panels_then_from_provenance() -> None:
    sampling = np.zeros((8, 8), dtype=bool)
    sampling[:, ::4] = True
    panel = Panel("a", 0, "random", 4.0, sampling, "0", None, {"tv": np.zeros((8, 8), np.float32)})
    masks = [{"kind": "random", "acceleration": 4.0, "sampled": 0.3}]
    setting = Setting("random", 4.0)
    assert sampled_fraction(Comparison([], [panel], {"masks": masks}), setting) == 0.25
    assert sampled_fraction(Comparison([], [], {"masks": masks}), setting) == 0.3
    assert sampled_fraction(Comparison([], [], {}), setting) is None
    assert sampling_words(0.25) == "effective acceleration 4.00, 25.0 % of k-space sampled"
    assert sampling_words(None) == ""


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (999, "999"), (999.6, "1 k"), (446792, "447 k"), (1.23e6, "1.23 M"), (9.2e10, "92 G")]
)
def test_si(value: float, text: str) -> None:
    assert si(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.0099, "0.00990"), (2.4, "2.40"), (99.96, "100"), (1234.5, "1.23e+03")])
def test_three_digits(value: float, text: str) -> None:
    assert three_digits(value) == text
