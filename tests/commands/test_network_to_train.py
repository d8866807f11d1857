"""``csmri train --init``, ``--freeze`` and ``--set``: what does not go is one line, before anything is written."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from csmri_ext import models, plugins
from csmri_ext.commands.train import main
from csmri_ext.models import Description, save_weights
from csmri_ext.phantom import write_phantom
from csmri_ext.recon import methods

SMALL = {"cascades": 2, "cells": 1, "channels": 8}
SIZES = ["--set", "cascades=2", "cells=1", "channels=8"]
QUICK = ["--steps", "1", "--batch-size", "1", "--sizes", "32", "--steps-per-epoch", "1", "--device", "cpu"]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    for seed in range(2):
        write_phantom(tmp_path / "data" / f"{seed}.h5", 1, size=32, seed=seed)
    model = models.build("nasn_2nodes", SMALL)
    said = Description.of(model, "nasn_2nodes", SMALL | {"mu": [0.3, 0.02]})
    save_weights(model, "first.safetensors", said.metadata())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "hqs", "--init", "first.safetensors"], "none of its weights fits hqs; theta (9,) is not in"),
        (["--model", "hqs", "--freeze", "thetas"], "--freeze thetas: hqs has no part of this name; it has"),
        (["--model", "ista_net_plus", "--freeze", "stages"], "--freeze leaves nothing to train"),
        (["--init", "first.safetensors", "--freeze", "data_step"], "nasn_2nodes has no part of this name"),
        (["--model", "nasn_knee", "--set", "genotype=brain"], "--model nasn --set genotype=NAME, or --genotype FILE"),
        (["--model", "nasn", "--set", "genotype=liver"], "genotype is 'liver', expected one of knee, brain"),
        (["--model", "nasn_knee", "--set", "channels=0"], "channels is 0, expected a whole number of at least 1"),
        (["--model", "dccnn3", "--set", "blocks=-1"], "blocks is -1, expected a whole number of at least 1"),
        (["--model", "modl", "--set", "stages=0"], "stages is 0, expected a whole number of at least 1"),
        (["--model", "ga_hqs", "--set", "stages=1.5"], "--set stages=1.5: expected a whole number, as in stages=8"),
        (["--model", "ga_hqs", "--set", "stages=none"], "--set stages=none: expected a whole number, as in stages=8"),
        (["--model", "ga_hqs", "--set", "width=wide"], "--set width=wide: expected a whole number, or none"),
        (["--model", "ga_hqs", "--set", "peak=inf"], "peak is inf, expected a positive number or None"),
        (
            ["--model", "nasn_knee", "--set", "mu=0.1,0.2"],
            "mu has 2 numbers, (0.1, 0.2); expected one, or one for each",
        ),
        (["--model", "nasn_knee", "--set", "mu=0.1,x,1"], "expected a number, or numbers with commas between, or none"),
        (["--model", "nasn_knee", "--set", "mu=true"], "expected a number, or numbers with commas between, or none"),
        (["--model", "nasn_knee", "--set", "mu=0.1,0,1"], "mu is (0.1, 0, 1), expected a positive number"),
        (["--model", "nasn_knee", "--set", "mu=0.1,inf,1"], "mu is (0.1, inf, 1), expected a positive number"),
    ],
)
def test_one_line_and_no_folder(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--data", "data", "--out", "run", *QUICK]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert sorted(path.name for path in Path().iterdir()) == ["data", "first.safetensors"]


def test_training_starts_from_the_mu_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", "nasn_2nodes", *SIZES, "trainable_mu=true", "--init", "first.safetensors"]
    assert main([*words, "--data", "data", "--out", "run", "--learning-rate", "1e-6", *QUICK]) == 0
    told = capsys.readouterr().err
    assert "note: first.safetensors: mu 0.3,0.02 of the file, where its learning starts\n" in told
    log_mu = load_file("run/nasn_2nodes.safetensors")["data_steps.log_mu"]
    torch.testing.assert_close(log_mu, torch.tensor([math.log(0.3), math.log(0.02)]), rtol=1e-4, atol=1e-4)
    overrides = json.loads(Path("run/run.json").read_text())["overrides"]
    assert overrides == SMALL | {"trainable_mu": True, "mu": [0.3, 0.02]}
    # and back: what was learned stays as constants
    back = ["--model", "nasn_2nodes", *SIZES, "--init", "run/nasn_2nodes.safetensors", "--out", "back"]
    assert main([*back, "--data", "data", *QUICK]) == 0
    assert "mu 0.3,0.02, as the file learned it, as constants" in capsys.readouterr().err
    assert models.load("back/nasn_2nodes.safetensors").data_steps.log_mu.exp().tolist() == pytest.approx(
        [0.3, 0.02], rel=1e-3
    )  # type: ignore[union-attr]


def test_a_network_whose_constructor_computes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    methods.load_all()
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))
    monkeypatch.setattr(plugins, "_PLUGINS", dict(plugins._PLUGINS))
    Path("computing.py").write_text(
        "import torch\n"
        "from csmri_ext.nn import Reconstructor\n"
        "from csmri_ext.recon.methods import register_network\n"
        "class Computing(Reconstructor):\n"
        "    def __init__(self, count: int = 2) -> None:\n"
        "        super().__init__()\n"
        "        self.steps = torch.nn.ParameterList([float(x) * torch.ones(1) for x in torch.linspace(1, 2, count)])\n"
        "    def reconstruct(self, encoding, image):\n"
        "        return image * sum(self.steps)\n"
        "def register():\n"
        "    register_network('computing', lambda name, **options: Computing(**options), 'a sum')\n"
    )
    words = ["--plugin", "computing:register", "--model", "computing", "--data", "data", "--out", "run", *QUICK]
    assert main([*words, "--set", "count=3"]) == 0
    assert len(load_file("run/computing.safetensors")) == 3
    capsys.readouterr()
    assert main([*words[:-2], "--out", "other", "--set", "count=-1"]) == 2
    assert "computing with count=-1: " in capsys.readouterr().err and not Path("other").exists()
