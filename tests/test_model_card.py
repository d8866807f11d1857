"""`benchmarks.model_card`: weights into the package, with a card that says where they are from."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from baselines import networks
from benchmarks import model_card
from csmri_ext import models
from csmri_ext.models import read_description, save_weights
from csmri_ext.training import RECIPES


def test_model_card_says_where_weights_are_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = {"name": "dccnn3", "data": "procedural phantom, 9 subjects from seed 1000", "seed": 4}
    recipe = {**asdict(RECIPES["phantom"]), "steps": 70}
    (tmp_path / "run.json").write_text(json.dumps({**run, "recipe": recipe}))
    (tmp_path / "summary.json").write_text(json.dumps({"steps": 70, "seconds": 3723, "threads": 1, "val_psnr": 30.0}))
    (tmp_path / "dccnn3.safetensors").write_bytes(b"numbers")
    scores = {"tv": [[30.0, 31.0], [0.9, 0.8]], "dccnn3": [[31.5, 32.0], [0.95, 0.85]]}
    (tmp_path / "quality.json").write_text(json.dumps({"random 4x": {"weight": 0.01, "scores": scores}}))
    monkeypatch.setattr(model_card, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(sys, "argv", ["model_card", str(tmp_path), "--quality", f"Chest={tmp_path / 'quality.json'}"])
    model_card.main()
    assert (tmp_path / "weights" / "dccnn3.safetensors").read_bytes() == b"numbers"
    card = (tmp_path / "weights" / "dccnn3.md").read_text()
    for said in (
        "csmri train --model dccnn3 --steps 70 --threads 1 --volumes 9`",
        "random, equispaced_fraction, radial_golden (2 times) at 4x, 8x",
        "sections of 160 (7 times), 256, 320 pixels",
        "1:02:03",
        "not for clinical use",
        "Chest, 2 slices",
    ):
        assert said in card
    assert "| random 4x | 30.50 / 0.850 | 31.75 / 0.900 |" in card
    recipe = {**asdict(RECIPES["measured"]), "coils": [1, 8]}
    (tmp_path / "run.json").write_text(json.dumps({**run, "recipe": recipe, "overrides": {"width": 8}}))
    model_card.main()
    card = (tmp_path / "weights" / "dccnn3.md").read_text()
    assert "csmri train --model dccnn3 --recipe measured --coils 1 8 --set width=8 --threads 1 --volumes 9`" in card
    assert "coils 1, 8; sensitivities estimated" in card
    assert "No image of a person was used" in card


@pytest.mark.parametrize("without", ["summary.json", "quality.json", "run.json"])
def test_a_card_that_cannot_be_made_leaves_the_weights_as_they_were(
    without: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = {"name": "dccnn3", "data": "knees", "seed": 4, "recipe": {**asdict(RECIPES["phantom"]), "steps": 70}}
    (tmp_path / "run.json").write_text(json.dumps(run))
    (tmp_path / "summary.json").write_text(json.dumps({"steps": 70, "seconds": 3723, "threads": 1}))
    (tmp_path / "quality.json").write_text(
        json.dumps({"random 4x": {"weight": 0.01, "scores": {"dccnn3": [[1], [1]]}}})
    )
    (tmp_path / "dccnn3.safetensors").write_bytes(b"new numbers")
    shipped = tmp_path / "weights"
    shipped.mkdir()
    for name in ("dccnn3.safetensors", "dccnn3.md"):
        (shipped / name).write_text("earlier")
    (tmp_path / without).write_text("{}")
    monkeypatch.setattr(model_card, "WEIGHTS", shipped)
    monkeypatch.setattr(sys, "argv", ["model_card", str(tmp_path), "--quality", f"Chest={tmp_path / 'quality.json'}"])
    with pytest.raises((KeyError, StopIteration)):
        model_card.main()
    assert {path.name: path.read_text() for path in shipped.iterdir()} == {
        "dccnn3.safetensors": "earlier",
        "dccnn3.md": "earlier",
    }


def test_model_card_ships_learned_mu_as_constants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"cells": 1, "cascades": 2, "channels": 8}
    learned = models.create("nasn_knee", trainable_mu=True, **small)
    with torch.no_grad():
        learned.data_steps.log_mu.copy_(torch.tensor([0.05, 0.4]).log())
    told = json.dumps({**small, "trainable_mu": True})
    models.save_weights(learned, tmp_path / "nasn_knee.safetensors", {"architecture": "nasn_knee", "overrides": told})
    run = {"name": "nasn_knee", "data": "procedural phantom, 9 subjects from seed 1000", "seed": 4}
    run |= {"recipe": asdict(RECIPES["measured"]), "overrides": json.loads(told)}
    (tmp_path / "run.json").write_text(json.dumps(run))
    (tmp_path / "summary.json").write_text(json.dumps({"steps": 16000, "seconds": 3, "threads": 1, "val_psnr": 30.0}))
    monkeypatch.setattr(model_card, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(sys, "argv", ["model_card", str(tmp_path), "--fixed-mu"])
    model_card.main()
    shipped = models.load(tmp_path / "weights" / "nasn_knee.safetensors")
    assert isinstance(shipped, models.NasN)
    assert shipped.data_steps.log_mu.exp().tolist() == pytest.approx([0.05, 0.4])
    assert set(shipped.state_dict()) == set(learned.state_dict()) - {"data_steps.log_mu"}
    kspace, mask = torch.randn(3, 16, 16, dtype=torch.complex64), torch.rand(16) < 0.5
    maps = torch.randn(3, 16, 16, dtype=torch.complex64)
    with torch.inference_mode():
        a, b = (model.eval()(kspace[None] * mask, mask, maps[None]) for model in (shipped, learned))
    assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)
    card = (tmp_path / "weights" / "nasn_knee.md").read_text()
    assert "these weights are of one with cells 1, cascades 2, channels 8, mu 0.05,0.4." in card
    assert "trainable_mu=true" in card


def test_model_card_names_the_images_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = {"name": "dccnn3", "data": "images, from a.safetensors (sha256 ab12)", "seed": 4}
    (tmp_path / "run.json").write_text(json.dumps({**run, "recipe": asdict(RECIPES["phantom"])}))
    (tmp_path / "summary.json").write_text(json.dumps({"steps": 16000, "seconds": 3, "threads": 1, "val_psnr": 30.0}))
    save_weights(networks.create("dccnn3"), tmp_path / "dccnn3.safetensors", {"architecture": "dccnn3"})
    monkeypatch.setattr(model_card, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(sys, "argv", ["model_card", str(tmp_path), "--data", "photographs"])
    model_card.main()
    card = (tmp_path / "weights" / "dccnn3.md").read_text()
    assert "- Data: photographs, from a.safetensors (sha256 ab12).\n" in card
    assert "--init a.safetensors --threads 1 --data images`" in card
    assert "No image of a person" not in card
    assert "trained on these images" in card
    described = read_description(tmp_path / "weights" / "dccnn3.safetensors")
    assert described.data == "photographs, from a.safetensors (sha256 ab12)"
