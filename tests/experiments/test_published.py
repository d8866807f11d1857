"""The published numbers of the experiments are those of the papers, and counts of ours are theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from baselines.experiments.tables import EXPERIMENTS
from csmri_ext.complexity import count_parameters
from csmri_ext.experiments.published import read_scores
from csmri_ext.experiments.tables import cost
from csmri_ext.models import build
from csmri_ext.training import RECIPES

COLLECTION = Path(__file__).parents[3] / "shared/vectors/published_scores.json"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_published_counts_are_ours(name: str) -> None:
    """To the printed digits, but for the one that we call a misprint."""
    experiment = EXPERIMENTS[name]
    assert experiment.recipe in RECIPES
    for network, published in experiment.networks.items():
        if published.parameters and not published.parameters.endswith("?"):
            ours = count_parameters(build(experiment.model(network), experiment.overrides(network, real=True)))
            scale = {"M": 1e6, "K": 1e3}[published.parameters[-1]]
            digits = len(published.parameters.split(".")[-1]) - 1 if "." in published.parameters else 0
            assert abs(ours / scale - float(published.parameters[:-1])) <= 0.75 * 10**-digits, network
        if published.flops:
            assert cost(experiment, network, real=False).flops / 1e9 == pytest.approx(
                float(published.flops.removesuffix("G").removesuffix("G?")), abs=0.0067
            )
    for scores in experiment.scores.values():
        assert set(scores) == {setting.title for setting in experiment.settings}
        for members in scores.values():
            assert set(members) <= {*experiment.networks, *experiment.methods}


def test_every_published_score_is_there() -> None:
    """Counted, and compared digit by digit where the collection of the papers' numbers is at hand."""
    held = [
        (name, images, title, network, metric, score)
        for name, experiment in EXPERIMENTS.items()
        if not experiment.sweep  # those repeat numbers of table 1
        for images, settings in experiment.scores.items()
        for title, networks in settings.items()
        for network, metrics in networks.items()
        for metric, score in metrics.items()
    ]
    assert sum(1 + bool(score.sd) for *_, score in held) == 376
    if not COLLECTION.is_file():
        return
    collected = json.loads(COLLECTION.read_text())
    ga_hqs = {
        (images, f"{kind.replace('radial', 'radial_golden')} {r}", network, metric): value
        for title, metrics in collected["GA-HQS"]["table1"].items()
        for images, kind, r in [title.split()]
        for metric, values in metrics.items()
        for network, value in values.items()
    }
    ours = {
        ({"NIfTI": "IXI", "fastMRI HDF5": "FastMRI"}[images], title, network, metric): score.value
        for name, images, title, network, metric, score in held
        if name == "ga-hqs-table1"
    }
    assert ours == ga_hqs
    ablation = collected["GA-HQS"]["table2 (IXI equispaced 4x)"]
    of_ablation = [one for one in held if one[0] == "ga-hqs-ablation"]
    assert {(network, metric): score.value for *_, network, metric, score in of_ablation} == {
        (network, metric): value for metric, values in ablation.items() for network, value in values.items()
    }
    tables = {"nasn-table1": "table1 knee", "nasn-nodes": "table2 nodes", "nasn-space": "table3 spaces"}
    tables |= {"nasn-brain": "table4 brain", "nasn-cross-knees": "table5 cross", "nasn-cross-brains": "table5 cross"}
    lines = {
        (table, network.replace(" (A)", "")): line
        for table, networks in collected["NasN"].items()
        for network, line in networks.items()
    }
    of_part = {"nasn-cross-knees": "knee: ", "nasn-cross-brains": "brain: "}
    compared = set()
    for name, _, _, network, metric, score in held:
        if name in tables:
            key = tables[name], of_part.get(name, "") + network
            unit = {"mse": "mse_e-10", "nmse": "nmse_e-2"}.get(metric, metric)
            assert (float(score.mean), float(score.sd)) == (lines[key][unit], lines[key][f"{metric}_sd"]), key
            compared |= {(key, unit), (key, f"{metric}_sd")}
    assert compared == {(key, cell) for key, line in lines.items() for cell in line}


def test_scores_are_written_as_printed() -> None:
    scores = read_scores("""
        MSE / 1e-10      PSNR
 a      2.351 ± 5.355    28.10?
""")
    assert str(scores["a"]["mse"]) == "(2.351 ± 5.355)e-10" and scores["a"]["mse"].value == 2.351e-10
    assert str(scores["a"]["psnr"]) == "28.10 ?" and scores["a"]["psnr"].doubtful
    for wrong in ("PSNR  SSIM\na  1.0", "PSNR\na  x", "PNSR\na  1"):
        with pytest.raises(ValueError, match=r"shorter|could not convert|no metric"):
            read_scores(wrong if wrong[0] == " " else "  " + wrong)
