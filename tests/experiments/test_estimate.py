"""The time of an experiment is measured with less work than the experiment itself."""

from dataclasses import replace

import pytest
from torch import nn

from csmri_ext.experiments.estimate import measure
from csmri_ext.experiments.experiment import experiments
from csmri_ext.training import RECIPES


@pytest.mark.parametrize(("steps", "passes"), [(1, 1), (20, 1), (21, 4)])
def test_a_short_training_is_measured_by_one_pass(steps: int, passes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = experiments()["nasn-nodes"]
    recipe = replace(RECIPES[experiment.recipe], steps=steps)
    count = 0

    def counted(network: nn.Module, *_: object) -> None:
        nonlocal count
        count += 1

    import csmri_ext.models

    build = csmri_ext.models.build

    def watched(*args: object, **named: object) -> nn.Module:
        network: nn.Module = build(*args, **named)  # type: ignore[arg-type]
        network.register_forward_pre_hook(counted)
        return network

    monkeypatch.setattr(csmri_ext.models, "build", watched)
    pace = measure(experiment, "nasn_2nodes", recipe, (32, 32), "cpu", real=True)
    assert count == passes
    assert pace.step > 0 and pace.slice > 0
