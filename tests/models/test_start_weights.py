"""What a training takes over from a file: mu goes with the weights, whether it is learned or constant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from csmri_ext import models
from csmri_ext.models import Description, load_fitting_weights, save_weights
from csmri_ext.models.start_weights import mu_of, start_weights
from csmri_ext.phantom import coil_maps
from csmri_ext.physics import make_mask

SMALL: dict[str, Any] = {"cascades": 2, "cells": 1, "channels": 8}


def written(path: Path, **options: Any) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    model = models.build("nasn_2nodes", SMALL | options).eval()
    if options.get("trainable_mu"):
        with torch.no_grad():
            model.data_steps.log_mu += torch.tensor([0.4, -0.7])
    save_weights(model, path, Description.of(model, "nasn_2nodes", SMALL | options).metadata())
    return model, path


def measured() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    maps = torch.from_numpy(coil_maps((24, 24), 3, 0)).to(torch.complex64)
    return torch.randn(1, 3, 24, 24, dtype=torch.complex64), make_mask("random", (24, 24), 2, seed=1), maps


@pytest.mark.parametrize(
    ("of_file", "of_model"),
    [
        ({"mu": [0.3, 0.02]}, {"trainable_mu": True}),
        ({"mu": [0.3, 0.02]}, {}),
        ({"trainable_mu": True}, {}),
        ({"trainable_mu": True, "mu": [0.3, 0.02]}, {}),
        ({"trainable_mu": True, "mu": 0.2}, {"trainable_mu": True}),
        ({"mu": 0.2}, {"trainable_mu": True}),
        ({}, {}),
    ],
)
@torch.inference_mode()
def test_the_start_reconstructs_as_the_file_does(
    of_file: dict[str, Any], of_model: dict[str, Any], tmp_path: Path
) -> None:
    source, path = written(tmp_path / "w.safetensors", **of_file)
    mu, _ = mu_of(path, learns=bool(of_model))
    model = models.build("nasn_2nodes", SMALL | of_model | ({} if mu is None else {"mu": mu}))
    load_fitting_weights(model, path)
    torch.testing.assert_close(model.eval()(*measured()), source(*measured()), rtol=1e-4, atol=1e-5)


def test_what_is_told_of_mu(tmp_path: Path) -> None:
    _, constants = written(tmp_path / "a.safetensors", mu=[0.3, 0.02])
    _, any_noise = written(tmp_path / "b.safetensors", mu=0.2, trainable_mu=True)
    assert mu_of(constants, learns=True) == ([0.3, 0.02], "mu 0.3,0.02 of the file, where its learning starts")
    mu, told = mu_of(any_noise, learns=False)
    assert mu is None
    assert "--set trainable_mu=true keeps it" in told


def test_layers_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    _, path = written(tmp_path / "w.safetensors", mu=[0.3, 0.02])
    with torch.device("meta"):
        deeper = models.build("nasn_2nodes", SMALL | {"cascades": 12, "trainable_mu": True})
    found = start_weights(deeper, path, "nasn_2nodes")
    assert found.misfits == [
        *(f"reconstructions.{k} is not in the file" for k in range(2, 12)),
        "data_steps.log_mu (12,) is not in the file",
    ]
    line = found.told("w.safetensors", "mu of the file")
    assert line.startswith(
        "note: w.safetensors: mu of the file; all but these fit: reconstructions.2 is not in the file; "
    )
    assert line.endswith("; and 4 more")
    assert start_weights(models.build("nasn_2nodes", SMALL), path).told(path) == ""
