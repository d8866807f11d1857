from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from baselines import networks
from csmri_ext.models.start_weights import load_fitting_weights
from csmri_ext.models.weight_files import load_weights, save_weights
from csmri_ext.nn import DataConsistency


def without_axes(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As files were written when single numbers had no axis."""
    old = {name: x.reshape(()) if x.shape == (1,) else x for name, x in state.items()}
    assert any(x.ndim == 0 for x in old.values())
    return old


def other_numbers(model: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.25)
    return model


@pytest.mark.parametrize("name", ["admm_csnet", "hqs_net", "ista_net", "ista_net_plus", "modl"])
def test_old_weights_load(name: str, tmp_path: Path) -> None:
    small = {"stages": 1, "chans": 4}
    trained = other_numbers(networks.create(name, **small))
    save_file(without_axes(trained.state_dict()), tmp_path / "old.safetensors")
    for load in (load_weights, load_fitting_weights):
        model = networks.create(name, **small)
        assert not load(model, tmp_path / "old.safetensors")
        assert all(torch.equal(x, trained.state_dict()[k]) for k, x in model.state_dict().items())
    model = networks.create(name, **small)
    model.load_state_dict(without_axes(trained.state_dict()))
    assert all(torch.equal(x, trained.state_dict()[k]) for k, x in model.state_dict().items())
    inside = torch.nn.ModuleList([networks.create(name, **small)])
    inside.load_state_dict({f"0.{k}": x for k, x in without_axes(trained.state_dict()).items()})


def test_old_step_loads() -> None:
    layer = DataConsistency(0.4, learnable=True)
    layer.load_state_dict({"theta": torch.tensor(1.5)})
    assert layer.eta.item() == pytest.approx(float(torch.sigmoid(torch.tensor(1.5))))


@pytest.mark.parametrize("name", networks.names())
def test_parameters_can_be_stored_and_sharded(name: str, tmp_path: Path) -> None:
    """Contiguous and with an axis: what safetensors and FSDP2 ask for."""
    with torch.device("meta"):
        parameters = dict(networks.create(name).named_parameters())
    assert all(p.is_contiguous() and p.ndim for p in parameters.values())
    if name in ("dccnn3", "modl3"):
        model = networks.create(name)
        save_file(model.state_dict(), tmp_path / "plain.safetensors")
        save_weights(model, tmp_path / "ours.safetensors")
        assert load_file(tmp_path / "plain.safetensors").keys() == load_file(tmp_path / "ours.safetensors").keys()
