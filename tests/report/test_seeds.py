from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from csmri_ext.report.rows import Row
from csmri_ext.report.seeds import over_seeds, same_but_for_the_seed
from csmri_ext.report.summary import summarise
from csmri_ext.report.table import print_tables


def network(method: str, seed: int, **changed: Any) -> dict[str, Any]:
    run = {"seed": seed, "steps": 100, "val_psnr": 30.0 + seed}
    facts = {"method": method, "architecture": "nasn", "recipe": {"loss": "l1"}, "data": "phantom", "run": run}
    return facts | changed


def test_what_differs_in_more_than_the_seed_is_no_group() -> None:
    networks = [
        network("a", 0),
        network("b", 1),
        network("longer", 2, run={"seed": 2, "steps": 200}),
        network("other", 3, data="knees"),
        network("twin", 1),  # the same seed again tells nothing new, but belongs to the group
        {"method": "theirs", "architecture": "ista_net"},
        network("lonely", 4, architecture="unet"),
    ]
    assert same_but_for_the_seed(networks) == [{"a": 0, "b": 1, "twin": 1}]
    assert same_but_for_the_seed(networks[:1]) == []


def rows(scores: dict[str, list[float]]) -> list[Row]:
    return [
        Row(method, "random", 4.0, f"v{i}", 2, 0.1, 0.2, psnr, psnr / 50, 1.0, 1000, None)
        for method, values in scores.items()
        for i, psnr in enumerate(values)
    ]


def test_mean_and_spread_over_seeds() -> None:
    groups = summarise(rows({"a": [30.0, 32.0], "b": [31.0, 33.0], "tv": [20.0, 20.0]}))
    (one,) = over_seeds(groups, [network("a", 0), network("b", 7)])
    assert (one.methods, one.seeds) == (("a", "b"), (0, 7))
    assert one.psnr == pytest.approx((31.5, 0.5**0.5))  # means of 31 and 32
    assert "nasn, 2 seeds (a, b) at" in one.words() and "PSNR 31.50 ± 0.71 dB" in one.words()
    assert over_seeds(groups, [network("a", 0), network("gone", 7)]) == []


def test_the_terminal_says_it() -> None:
    console = Console(file=StringIO(), width=200)
    provenance = {"networks": [network("a", 0), network("b", 1)]}
    print_tables(rows({"a": [30.0], "b": [31.0]}), "metric", console, provenance)
    assert "nasn, 2 seeds (a, b)" in console.file.getvalue()  # type: ignore[attr-defined]
