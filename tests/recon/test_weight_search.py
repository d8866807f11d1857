from __future__ import annotations

import json
import math

import numpy as np
import pytest
from made_slices import make_slice

from csmri_ext.iterative.tv import tv
from csmri_ext.recon.weight_search import DEFAULT_GRID, tune_weight

TARGET = np.ones((4, 4))


def squared_error(target, recon):
    return float(np.sum((target - recon) ** 2))


def best_at(*optima):
    """Problems whose reconstruction is perfect at one weight, and the reconstruction."""
    return [(math.log(optimum), TARGET) for optimum in optima], lambda p, w: TARGET + abs(math.log(w) - p)


def test_least_mean_error_wins():
    problems, reconstruct = best_at(0.01, 0.01, 0.02)
    search = tune_weight(reconstruct, problems, metric=squared_error)
    assert search.weight == 0.01
    assert search.weights == DEFAULT_GRID
    assert search.errors.shape == (len(DEFAULT_GRID), 3)
    assert search.errors[search.weights.index(0.01), 0] == 0
    assert not search.at_edge


@pytest.mark.parametrize(("optimum", "first", "last"), [(0.0004, 0.00025, 0.1), (0.3, 0.001, 0.8)])
def test_grid_grows_until_the_best_weight_is_inside(optimum, first, last):
    problems, reconstruct = best_at(optimum)
    search = tune_weight(reconstruct, problems, metric=squared_error)
    assert search.weights[0] == first
    assert search.weights[-1] == last
    assert search.weights == tuple(sorted(search.weights))
    assert not search.at_edge
    assert search.errors.shape == (len(search.weights), 1)


def test_growth_is_limited_and_said():
    problems, reconstruct = best_at(1e6)
    search = tune_weight(reconstruct, problems, metric=squared_error, extensions=2)
    assert search.weights[-1] == search.weight == 0.4
    assert search.at_edge
    assert "at the edge of the grid" in str(search)


def test_grid_of_one_weight_is_that_weight():
    problems, reconstruct = best_at(0.5)
    assert tune_weight(reconstruct, problems, [0.02], squared_error).weight == 0.02


def test_table_is_json_and_has_one_chosen_row():
    problems, reconstruct = best_at(0.05, 0.05)
    search = tune_weight(reconstruct, problems, [0.1, 0.05, 0.02], squared_error)
    rows = json.loads(json.dumps(search.table))
    assert [row["weight"] for row in rows] == [0.02, 0.05, 0.1]
    assert [row["chosen"] for row in rows] == [False, True, False]
    assert rows[1]["squared_error"] == 0 < rows[0]["squared_error"]
    assert str(search) == (
        "weight 0.05 (least mean squared_error of 2 validation problems, 3 weights from 0.02 to 0.1)"
    )


def test_leave_one_out_ignores_the_problem_itself():
    problems, reconstruct = best_at(0.002, 0.05, 0.05)
    search = tune_weight(reconstruct, problems, metric=squared_error)
    assert search.weight_without(0) == 0.05
    assert search.weight_without(1) not in (0.002, 0.05)
    with pytest.raises(ValueError, match="no second problem"):
        tune_weight(reconstruct, problems[:1], metric=squared_error).weight_without(0)


def test_not_finite_images_never_win():
    problems, _ = best_at(0.01)
    search = tune_weight(
        lambda p, w: np.full((4, 4), np.nan) if w < 0.02 else TARGET + w, problems, metric=squared_error
    )
    assert search.weight == 0.02
    with pytest.raises(ValueError, match="finite image"):
        tune_weight(lambda p, w: TARGET * np.nan, problems, metric=squared_error)


def test_progress_counts_reconstructions():
    problems, reconstruct = best_at(0.01, 0.02)
    calls = []
    tune_weight(reconstruct, problems, metric=squared_error, progress=lambda: calls.append(1))
    assert len(calls) == 2 * len(DEFAULT_GRID)


@pytest.mark.parametrize(
    ("problems", "grid", "message"),
    [([], [0.1], "no validation"), ([(0, TARGET)], [], "grid"), ([(0, TARGET)], [0.0, 1.0], "positive")],
)
def test_bad_input_is_named(problems, grid, message):
    with pytest.raises(ValueError, match=message):
        tune_weight(lambda p, w: TARGET, problems, grid, squared_error)


def test_shapes_must_fit():
    with pytest.raises(ValueError, match=r"\(3, 3\) does not fit its target \(4, 4\)"):
        tune_weight(lambda p, w: np.ones((3, 3)), [(0, TARGET)], metric=squared_error)


def test_tv_weight_of_noisy_data_is_larger():
    def search(noise):
        made = [make_slice((48, 48), mask="points", acceleration=2, noise=noise, seed=seed) for seed in (1, 2)]
        problems = [(one, np.abs(one.image)[None]) for one in made]
        return tune_weight(lambda p, w: tv(p.kspace, p.mask, weight=w, iterations=60)[None], problems)

    clean, noisy = search(0.0), search(0.3)
    assert clean.metric == "nmse"
    assert noisy.weight > clean.weight
