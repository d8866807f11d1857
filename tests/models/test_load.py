"""A file of weights alone gives the network back, and says what it is; nothing in it is executed."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from published_weights import ista_state
from safetensors.torch import save_file

from baselines import networks
from csmri_ext import models
from csmri_ext.errors import InputError
from csmri_ext.models import Description, load_fitting_weights, read_description, save_weights
from csmri_ext.plugins import Plugin, plugins

SMALL = {"cascades": 1, "cells": 1, "channels": 8}
CELL = [[["sep_conv_3x3", 0], ["dil_2_conv_3x3", 1]], [["skip", 0], ["dil_3_conv_3x3", 2]]]


def written(path: Path, architecture: str, overrides: dict[str, object]) -> tuple[torch.nn.Module, Path]:
    torch.manual_seed(3)
    model = models.build(architecture, overrides).eval()
    described = Description.of(model, architecture, overrides, data="a phantom", recipe={"steps": 5}, run={"seed": 1})
    save_weights(model, path, described.metadata())
    return model, path


@pytest.mark.parametrize(
    ("architecture", "overrides"),
    [
        ("nasn", {"genotype": CELL, **SMALL, "peak": 2.5}),
        ("nasn_knee", {**SMALL, "in_chans": 1}),
        ("ga_hqs", {"stages": 1, "replicas": 4, "splits": 2}),
        ("dccnn3", {}),
        ("ista_net_plus", {"stages": 2, "chans": 6}),
    ],
)
def test_a_file_is_enough(tmp_path: Path, architecture: str, overrides: dict[str, object]) -> None:
    model, path = written(tmp_path / "any name.safetensors", architecture, overrides)
    again = models.load(path)
    assert type(again) is type(model)
    assert not again.training
    kspace, mask = torch.randn(1, 16, 16, dtype=torch.complex64), torch.arange(16) % 2 == 0
    with torch.inference_mode():
        torch.testing.assert_close(again(kspace, mask), model(kspace, mask), rtol=0, atol=0)


def test_a_file_describes_itself_and_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    overrides = {"genotype": CELL, **SMALL}
    _, first = written(tmp_path / "a.safetensors", "nasn", overrides)
    _, second = written(tmp_path / "b.safetensors", "nasn", dict(reversed(list(overrides.items()))))
    assert first.read_bytes() == second.read_bytes()
    found = read_description(first)
    assert (found.architecture, found.in_chans, found.scaling, found.data) == ("nasn", 2, 6.0, "a phantom")
    assert found.genotype == CELL
    assert found.recipe == {"steps": 5}
    assert found.run == {"seed": 1}
    assert found.version


def test_who_may_read_a_file_is_up_to_the_umask(tmp_path: Path) -> None:
    """Some writers of safetensors make files that nobody else may read."""
    before = os.umask(0o027)
    try:
        _, path = written(tmp_path / "a.safetensors", "nasn_2nodes", SMALL)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_files_of_before_say_it_in_their_run(tmp_path: Path) -> None:
    model = models.build("nasn_2nodes", SMALL)
    run = {"name": "nasn_2nodes", "overrides": SMALL, "data": "files", "recipe": {"steps": 3}, "seed": 4}
    save_weights(model, tmp_path / "old.safetensors", {"name": "nasn_2nodes", "run": json.dumps(run)})
    assert isinstance(models.load(tmp_path / "old.safetensors"), models.NasN)
    found = read_description(tmp_path / "old.safetensors")
    assert (found.data, found.recipe, found.run) == ("files", {"steps": 3}, {"seed": 4})


def test_shipped_weights_are_files_like_any_other() -> None:
    from importlib.resources import as_file, files

    with as_file(files("csmri_ext").joinpath("weights", "nasn_knee.safetensors")) as path:
        loaded = models.load(path)
    for a, b in zip(loaded.parameters(), models.create("nasn_knee", pretrained=True).parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_file_that_says_nothing_needs_a_name(tmp_path: Path) -> None:
    model = models.build("nasn_2nodes")
    save_file(model.state_dict(), tmp_path / "bare.safetensors")
    with pytest.raises(InputError, match=r"bare\.safetensors does not say which network .*--model NAME"):
        models.load(tmp_path / "bare.safetensors")
    models.load(tmp_path / "bare.safetensors", "nasn_2nodes")
    with pytest.raises(InputError, match=r"bare\.safetensors: weights of another model"):
        models.load(tmp_path / "bare.safetensors", "nasn_4nodes")


def test_a_state_dict_and_a_checkpoint_of_a_run(tmp_path: Path) -> None:
    model = models.build("nasn_2nodes", SMALL)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    settings = {"name": "nasn_2nodes", **SMALL}
    state = {f"network.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": {"settings": settings}}, tmp_path / "last.ckpt")
    loaded = models.load(tmp_path / "last.ckpt")
    for a, b in zip(loaded.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    described = read_description(tmp_path / "last.ckpt")
    assert (described.architecture, described.overrides) == ("nasn_2nodes", SMALL)
    assert read_description(tmp_path / "state.pt") == Description()
    with pytest.raises(InputError, match=r"state\.pt does not say"):
        models.load(tmp_path / "state.pt")
    with pytest.raises(InputError, match=r"last\.ckpt holds weights of nasn_2nodes, not of hqs"):
        models.load(tmp_path / "last.ckpt", "hqs")


class Boom:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("executed"),))


def test_pickled_objects_are_refused_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evil.pkl").write_bytes(pickle.dumps({"state_dict": {"a": torch.zeros(1)}, "x": Boom()}))
    for model in (None, "ista_net_plus", "hqs"):
        with pytest.raises(InputError, match=r"evil\.pkl: cannot read weights"):
            models.load("evil.pkl", model)
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"architecture": "resnet"}, "not known here: unknown network 'resnet'"),
        ({"architecture": "nasn_knee", "overrides": '{"layers": 3}'}, "cannot be built as nasn_knee: .*layers"),
        ({"architecture": "nasn_knee", "overrides": "[1]"}, "metadata cannot be read"),
        ({"architecture": "nasn_knee", "overrides": "{"}, "metadata cannot be read"),
    ],
)
def test_what_a_file_says_wrong_is_told(tmp_path: Path, metadata: dict[str, str], message: str) -> None:
    save_weights(torch.nn.Linear(1, 1), tmp_path / "w.safetensors", metadata)
    with pytest.raises(InputError, match=rf"w\.safetensors.*{message}"):
        models.load(tmp_path / "w.safetensors")


def test_fine_tuning_takes_what_fits_and_names_the_rest(tmp_path: Path) -> None:
    source, path = written(tmp_path / "a.safetensors", "nasn", {"genotype": CELL, **SMALL})
    target = models.build("nasn", {"genotype": CELL, **SMALL, "cells": 2})
    misfits = load_fitting_weights(target, path)
    assert any(text == "reconstructions.0.cells.1 is not in the file" for text in misfits)
    for name, tensor in source.state_dict().items():
        if tensor.shape == target.state_dict()[name].shape:
            torch.testing.assert_close(target.state_dict()[name], tensor, rtol=0, atol=0)
        else:
            assert any(text.startswith(f"{name} is ") for text in misfits)
    assert load_fitting_weights(models.build("nasn", {"genotype": CELL, **SMALL}), path) == []
    with pytest.raises(InputError, match="none of its weights fits"):
        load_fitting_weights(torch.nn.Linear(2, 2), path)


def test_fine_tuning_from_published_weights(tmp_path: Path) -> None:
    torch.save(ista_state(), tmp_path / "published.pkl")
    target = models.build("ista_net_plus", {"in_chans": 1, "stages": 3, "chans": 4})
    misfits = load_fitting_weights(target, tmp_path / "published.pkl", "ista_net_plus")
    assert misfits == ["stages.2 is not in the file"]
    published = models.load(tmp_path / "published.pkl", "ista_net_plus")
    for name, tensor in published.state_dict().items():
        torch.testing.assert_close(target.state_dict()[name], tensor, rtol=0, atol=0)
    torch.save(target.state_dict(), tmp_path / "ours.pt")
    assert load_fitting_weights(target, tmp_path / "ours.pt", "ista_net_plus") == []


def test_networks_of_other_packages_are_told_where_they_live(monkeypatch: pytest.MonkeyPatch) -> None:
    says = "dccnn3 is no model of csmri_ext but a network of baselines.networks: baselines.networks.create('dccnn3')"
    with pytest.raises(InputError, match=re.escape(says)):
        models.create("dccnn3")
    monkeypatch.setattr("csmri_ext.plugins._PLUGINS", {**plugins(), "mine": Plugin(lambda name: torch.nn.Identity())})
    with pytest.raises(InputError, match=re.escape("csmri_ext.models.build('mine') makes it")):
        models.create("mine")
    with pytest.raises(
        InputError, match=r"nasn_knee is a model of csmri_ext: csmri_ext\.models\.create\('nasn_knee'\)"
    ):
        networks.create("nasn_knee")


@pytest.mark.parametrize("create", [models.create, networks.create, models.build])
def test_unknown_names_come_with_what_has_weights(create: Callable[[str], object]) -> None:
    with pytest.raises(InputError, match=r"\(has weights\)") as raised:
        create("no such network")
    assert "(no weights)" in str(raised.value)
