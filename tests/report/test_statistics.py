"""Differences between methods: the numbers by hand, and what is said of them."""

from __future__ import annotations

import json
import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import wilcoxon

from csmri_ext.report.rows import Row
from csmri_ext.report.statistics import (
    FEWEST_VOLUMES,
    LEVEL_OF_SIGNIFICANCE,
    as_provenance,
    best_baseline,
    conclusion,
    holm,
    paired_differences,
)
from csmri_ext.report.summary import summarise


def rows(scores: dict[str, list[float]], acceleration: float = 4.0, learned: tuple[str, ...] = ("net",)) -> list[Row]:
    """PSNR by method and volume; SSIM follows it."""
    return [
        Row(
            method,
            "random",
            acceleration,
            f"v{i}",
            2,
            0.1,
            0.2,
            psnr,
            psnr / 50,
            1.0,
            1000 if method in learned else 0,
            None,
            slice_psnr=[psnr - 1, psnr + 1],
            slice_ssim=[psnr / 50] * 2,
        )
        for method, values in scores.items()
        for i, psnr in enumerate(values)
    ]


def exact_signed_rank(differences: list[float]) -> float:
    """Two-sided p of the signed-rank statistic over all signs, for differences without ties."""
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    observed = min(sum(ranks[np.array(differences) > 0]), sum(ranks[np.array(differences) < 0]))
    n = len(differences)
    sums = [sum(r for r, sign in zip(ranks, signs, strict=True) if sign) for signs in product((0, 1), repeat=n)]
    return min(1.0, 2 * sum(s <= observed for s in sums) / len(sums))


TV = [30.0, 25.0, 34.0, 28.5, 31.2, 27.3, 33.9]
GAINS = [1.7, 1.1, 2.4, 0.9, 2.0, -0.3, 1.5]


def test_difference_interval_and_test_by_hand() -> None:
    both = {"tv": TV, "net": [a + b for a, b in zip(TV, GAINS, strict=True)]}
    differences = paired_differences(summarise(rows(both)))
    psnr, ssim = differences
    assert (psnr.metric, ssim.metric) == ("psnr", "ssim")
    assert ssim.mean == pytest.approx(np.mean(GAINS) / 50)
    assert ssim.spread == pytest.approx(psnr.spread / 50)
    assert (psnr.method, psnr.baseline, psnr.volumes) == ("net", "tv", 7)
    assert psnr.mean == pytest.approx(np.mean(GAINS))
    assert (psnr.lowest, psnr.highest) == pytest.approx((-0.3, 2.4))
    assert psnr.p == pytest.approx(exact_signed_rank(GAINS))
    assert psnr.p_holm == psnr.p, "a single comparison needs no correction"
    assert psnr.spread == pytest.approx(np.std(both["net"], ddof=1))
    assert psnr.interval is not None
    low, high = psnr.interval
    rng = np.random.default_rng(7)
    means = np.mean(rng.choice(GAINS, size=(20000, 7)), axis=1)
    assert low == pytest.approx(np.percentile(means, 2.5), abs=0.25)
    assert high == pytest.approx(np.percentile(means, 97.5), abs=0.25)
    assert paired_differences(summarise(rows(both))) == differences, "the same rows give the same interval"


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_all_comparisons_of_a_metric_are_corrected_together() -> None:
    scores = {"tv": TV, **{f"net{i}": [a + b + 0.01 * i for a, b in zip(TV, GAINS, strict=True)] for i in range(3)}}
    one_setting = rows(scores, learned=("net0", "net1", "net2"))
    two_settings = one_setting + rows(scores, 8.0, learned=("net0", "net1", "net2"))
    for data, family in ((one_setting, 3), (two_settings, 6)):
        found = [one for one in paired_differences(summarise(data)) if one.metric == "psnr"]
        assert len(found) == family
        assert min(one.p_holm for one in found) == pytest.approx(min(1.0, family * min(one.p for one in found)))


def test_the_baseline_learns_nothing_where_it_can() -> None:
    (group,) = summarise(rows({"net": [40.0], "tv": [30.0], "zero-filled": [20.0]}))
    assert best_baseline(group, group.lines).method == "tv"
    (group,) = summarise(rows({"a": [40.0], "b": [30.0]}, learned=("a", "b")))
    assert best_baseline(group, group.lines).method == "a"
    (group,) = summarise(rows({"a": [40.0]}))
    assert best_baseline(group, group.lines) is None


def test_few_volumes_conclude_nothing() -> None:
    for n in range(1, FEWEST_VOLUMES):
        groups = summarise(rows({"tv": TV[:n], "net": [value + 5 for value in TV[:n]]}))
        differences = paired_differences(groups)
        assert all(one.interval is None and one.p is None and not one.conclusive for one in differences)
        assert "nothing can be concluded about other subjects" in conclusion(groups, differences)
        assert "p =" not in differences[0].words()


def test_words_of_a_difference() -> None:
    groups = summarise(rows({"tv": TV, "net": [a + b for a, b in zip(TV, GAINS, strict=True)]}))
    differences = paired_differences(groups)
    words = differences[0].words()
    assert words.startswith("+1.33 dB [+")
    assert words.endswith(f", n = 7; spread between subjects {np.std(np.add(TV, GAINS), ddof=1):.2f} dB")
    assert "p = 0.031" in words
    said = conclusion(groups, differences)
    assert said.startswith("PSNR, paired: net against tv at random, R = 4: +1.33 dB [")
    assert "may be chance" not in said


def test_a_difference_that_may_be_chance_is_called_so() -> None:
    gains = [1.0, -1.1, 0.9, -0.8, 1.2, -0.7, 0.1]
    groups = summarise(rows({"tv": TV, "net": [a + b for a, b in zip(TV, gains, strict=True)]}))
    assert "(may be chance)" in conclusion(groups, paired_differences(groups))


def test_too_few_volumes_for_so_many_comparisons() -> None:
    """All seven differences have one sign, p = 2 / 2^7: three comparisons leave that below 0.05, four do not."""
    for settings, said in ((1, ""), (2, " (too few volumes for 4 comparisons: p cannot be below 0.062)")):
        scores = {"zero-filled": [value - 2 for value in TV], "tv": TV, "net": [value + 1 for value in TV]}
        groups = summarise([row for i in range(settings) for row in rows(scores, 4.0 + i)])
        differences = paired_differences(groups)
        assert {one.p_holm for one in differences} == {2 * settings * 2 / 2**7}
        assert conclusion(groups, differences).count(said or "may be chance") == (settings if said else 0)
        assert ("too few" in conclusion(groups, differences)) == bool(said)


def test_where_nothing_beats_the_baseline_this_is_said() -> None:
    groups = summarise(rows({"tv": TV, "net": [value - 1 for value in TV]}))
    said = conclusion(groups, paired_differences(groups))
    assert "nothing is above tv at random, R = 4, the nearest is net: −1.00 dB" in said
    groups = summarise([*groups[0].rows, *rows({"tv": TV, "net": [value - 1 for value in TV]}, 8.0)])
    assert ". Nothing is above tv at random, R = 8" in conclusion(groups, paired_differences(groups))


def test_equal_methods_infinite_scores_and_nan() -> None:
    groups = summarise(rows({"tv": TV, "twin": TV, "perfect": [math.inf] * 7, "lost": [math.nan] * 7}))
    by_method = {one.method: one for one in paired_differences(groups) if one.metric == "psnr"}
    assert "lost" not in by_method
    assert set(by_method) | {"perfect"} == {"tv", "twin", "perfect"}
    differences = paired_differences(summarise(rows({"tv": TV, "twin": TV})))
    assert {one.p for one in differences} == {1.0}
    assert {one.interval for one in differences} == {(0.0, 0.0)}


def test_only_common_volumes_are_paired() -> None:
    scores = {"tv": TV, "net": [a + b for a, b in zip(TV, GAINS, strict=True)][:-1]}
    (psnr,) = (one for one in paired_differences(summarise(rows(scores))) if one.metric == "psnr")
    assert psnr.volumes == 6
    assert psnr.mean == pytest.approx(np.mean(GAINS[:-1]))


def test_entry_of_the_provenance_is_json_with_scores_per_slice() -> None:
    groups = summarise(rows({"tv": TV, "net": [value + 1 for value in TV]}))
    entry = json.loads(json.dumps(as_provenance(groups, paired_differences(groups)), allow_nan=False))
    assert {one["metric"] for one in entry["differences"]} == {"psnr", "ssim"}
    tv, tv_ssim = (one for one in entry["slices"] if one["method"] == "tv")
    assert (tv["metric"], tv_ssim["metric"]) == ("psnr", "ssim")
    per_slice = [value + step for value in TV for step in (-1, 1)]
    assert tv["slices"] == 14
    assert tv["mean"] == pytest.approx(np.mean(per_slice))
    assert tv["quartiles"] == pytest.approx(np.percentile(per_slice, (25, 50, 75)))
    assert tv_ssim["mean"] == pytest.approx(np.mean(TV) / 50)


def test_fewer_volumes_could_never_be_significant() -> None:
    """All differences of one sign is the most that there can be."""
    for n, conclusive in ((FEWEST_VOLUMES - 1, False), (FEWEST_VOLUMES, True)):
        assert (wilcoxon(np.arange(1.0, n + 1)).pvalue < LEVEL_OF_SIGNIFICANCE) == conclusive
